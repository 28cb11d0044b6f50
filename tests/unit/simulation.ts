// The service in the simulator (tests/simulation): the seeds that every change must pass.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MUTATIONS } from '../simulation/mutations.js'

/** Seeds beyond these are not known to be clean. */
const SEEDS = 2000

const program = fileURLToPath(new URL('../simulation/simulate.js', import.meta.url))

function simulate(
  ...args: string[]
): Promise<{ readonly output: string; readonly status: number | null }> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      // tap makes every Node process of a test load a module of its own.
      env: { ...process.env, NODE_OPTIONS: '' }
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.once('close', status => {
      resolve({ output, status })
    })
  })
}

t.test(
  'a run with the same seed gives the same trace, byte for byte, in two processes',
  async t => {
    const [first, second] = await Promise.all([
      simulate('--seed', '7', '--trace'),
      simulate('--seed', '7', '--trace')
    ])
    const traceOf = ({ output }: { readonly output: string }): string =>
      output.split('\n').slice(0, -2).join('\n')
    t.equal(traceOf(first), traceOf(second))
    t.ok(traceOf(first).length > 1000, 'there is a trace')
  }
)

t.test('a run does not depend on earlier runs in its process', async t => {
  const [alone, after] = await Promise.all([
    simulate('--seeds', '12..12', '--jobs', '1', '--trace'),
    simulate('--seeds', '10..12', '--jobs', '1', '--trace')
  ])
  const trace = alone.output.split('\n').slice(0, -2).join('\n')
  t.ok(after.output.includes(trace))
})

t.test('each deliberate defect still fits the service', async t => {
  for (const { name, file, find } of MUTATIONS) {
    const compiled = readFileSync(
      fileURLToPath(new URL(`../../src/${file}`, import.meta.url)),
      'utf8'
    )
    t.equal(compiled.split(find).length, 2, `${name}: ${file} has its text once`)
  }
})

t.test('a deliberate defect is found, so the tests that follow can fail', async t => {
  const { output, status } = await simulate(
    '--mutation',
    'skip the WAIT',
    '--seeds',
    '1..50',
    '--jobs',
    '1',
    '--until-failure'
  )
  t.equal(status, 1, output)
})

t.test('failures that were found earlier do not come back', async t => {
  const { output, status } = await simulate('--regressions')
  t.equal(status, 0, output)
})

t.test(`${SEEDS} seeds keep every promise`, async t => {
  const { output, status } = await simulate('--seeds', `1..${SEEDS}`)
  t.equal(status, 0, output)
  t.comment(output.trim().split('\n').at(-1) ?? '')
})
