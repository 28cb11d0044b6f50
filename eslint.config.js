import neostandard from 'neostandard'

const ignores = ['dist/**', '.data/**', '.tap/**', 'node_modules/**']

export default [
  // Prettier formats; these rules are about meaning.
  ...neostandard({ ts: true, noStyle: true, ignores }),
  {
    rules: {
      // Prettier keeps code within the width, and leaves comments, strings and regular expressions
      // alone.
      'max-len': [
        'error',
        {
          code: 100,
          ignoreUrls: true,
          ignoreStrings: true,
          ignoreTemplateLiterals: true,
          ignoreRegExpLiterals: true
        }
      ]
    }
  },
  {
    files: ['**/*.ts'],
    rules: {
      // TypeBox names a schema and its type alike: `const Post = Type.Object(…)`, `type Post =
      // Static<typeof Post>`.
      '@typescript-eslint/no-redeclare': 'off',
      // `void promise` as a statement says that nobody waits for it, on purpose.
      'no-void': ['error', { allowAsStatement: true }],
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', prefer: 'type-imports' }
      ]
    }
  }
]
