// Turns the output of a test file into what a person reads: comments, and each innermost result
// that failed. Counts the file's tests, which are the results at its top level.

/** Prints lines with `print`. Call it before the parser gets any input. */
export function show(parser, file, print) {
  showWithin(parser, [file], print, () => {})
}

/** How many tests passed, failed and were skipped; updated while the parser gets its input. */
export function countIn(parser) {
  const counted = { passed: 0, failed: 0, skipped: 0 }
  parser.on('assert', test => {
    counted[test.skip || test.todo ? 'skipped' : test.ok ? 'passed' : 'failed']++
  })
  return counted
}

export function summary({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

// The "not ok" of a subtest only repeats the failed result inside it.
function showWithin(parser, path, print, tellParent) {
  let isShown = false
  parser.on('comment', text => {
    if (!isOfTap(text)) print(`        ${text.replace(/^# /, '').trimEnd()}`)
  })
  parser.on('child', child =>
    showWithin(child, [...path, child.name], print, () => {
      isShown = true
      tellParent()
    })
  )
  parser.on('assert', result => {
    if (!result.ok && !result.skip && !result.todo && !isShown) {
      print(failureText([...path, result.name], result.diag))
      tellParent()
    }
    isShown = false
  })
}

// Lines that tap itself writes between the results.
function isOfTap(comment) {
  return /^# (Subtest|time=|\{ total|error thrown in teardown)/.test(comment)
}

function failureText(path, diag) {
  const { source, found, wanted, diff, at, stack, stdio, cwd, externalID, command, args, ...rest } =
    diag ?? {}
  const place = at?.fileName ? `${at.fileName}:${at.lineNumber}` : undefined
  const details = [
    place,
    diff ??
      (found !== undefined || wanted !== undefined
        ? `found ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`
        : undefined),
    Object.keys(rest).length > 0 ? JSON.stringify(rest, null, 2) : undefined,
    source,
    stack
  ]
  return [
    '',
    `not ok: ${path.join(' › ')}`,
    ...details.filter(detail => detail !== undefined).map(indent)
  ].join('\n')
}

function indent(text) {
  return String(text)
    .trimEnd()
    .split('\n')
    .map(line => `    ${line}`)
    .join('\n')
}
