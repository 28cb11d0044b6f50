import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', '.data/**', '.tap/**', 'node_modules/**'] }),
  {
    files: ['**/*.ts'],
    rules: {
      // TypeBox names a schema and its type alike: `const Post = Type.Object(…)`, `type Post = Static<typeof Post>`.
      '@typescript-eslint/no-redeclare': 'off',
      // `void promise` as a statement says that nobody waits for it, on purpose.
      'no-void': ['error', { allowAsStatement: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports', prefer: 'type-imports' }]
    }
  }
]
