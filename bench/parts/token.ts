// What a token costs: POSTs to a service that requires none, and to one beside it on the same
// cluster that requires a token signed with HS256. The writers are the same people, each with a
// token of their own, which a service verifies once and then remembers.
import { signToken } from '../../src/cli/sign-token.js'
import { Service } from '../../tests/support/service.js'
import { newRoom } from '../names.js'
import { type Part } from '../part.js'
import { Program } from '../program.js'
import type { HttpLoad, HttpLoadMethods, Writer } from '../programs/http-load.js'
import { atMost, ratios, row } from '../table.js'
import { between, cpuSeconds } from '../usage.js'

const CONNECTIONS = 64
const TEXT_BYTES = 100
const TOKEN_S = 3600
const SECRET = 'a secret that only the benchmark knows'

type Posted = { readonly rate: number; readonly cpuUs: number; readonly failed: number }

export const token: Part = {
  name: 'token',
  about: 'POSTs with a token beside POSTs without',
  rounds: 7,
  seconds: 4,
  run: async bench => {
    const dialogs = await bench.dialogs()
    const guarded = new Service({
      redisNodes: dialogs.redisUrls,
      env: { AUTH_JWT_SECRET: SECRET }
    })
    await guarded.start()
    await bench.keep(guarded)
    const load = await bench.keep(new Program<HttpLoadMethods>('http-load'))

    const people = Array.from({ length: CONNECTIONS }, (_, index) => ({ user: `user-${index}` }))
    const owners = await Promise.all(
      people.map(async ({ user }): Promise<Writer> => {
        const rights = { user, write: ['*'], ttlS: TOKEN_S }
        return { user, token: await signToken(SECRET, rights) }
      })
    )
    const measure = async (
      url: string,
      pid: number | undefined,
      writers: readonly Writer[]
    ): Promise<Posted> => {
      const options: HttpLoad = {
        url,
        connections: CONNECTIONS,
        posts: { room: newRoom(), textBytes: TEXT_BYTES, writers },
        seconds: bench.scale.seconds
      }
      await load.call('run', { ...options, seconds: bench.size(1, 0.1) })
      const before = cpuSeconds(pid)
      const { answered, failed, seconds } = await load.call('run', options)
      const used = between(before, cpuSeconds(pid))
      return {
        rate: answered / seconds,
        cpuUs: used === undefined ? Number.NaN : (used / answered) * 1e6,
        failed
      }
    }
    const measured = await bench.interleave<Posted>([
      { name: 'without', measure: () => measure(dialogs.url, dialogs.pid, people) },
      { name: 'with', measure: () => measure(guarded.url, guarded.pid, owners) }
    ])

    const without = measured.get('without') ?? []
    const withTokens = measured.get('with') ?? []
    const rates = (samples: readonly Posted[]): number[] => samples.map(({ rate }) => rate)
    const cpu = (samples: readonly Posted[]): number[] => samples.map(({ cpuUs }) => cpuUs)
    const failed = [...without, ...withTokens].reduce((sum, sample) => sum + sample.failed, 0)
    return {
      tables: [
        {
          title: `one room, ${CONNECTIONS} people`,
          rows: [
            row('without tokens', '/s', rates(without)),
            row('with tokens', '/s', rates(withTokens)),
            row('processor time of the service for a POST without', 'µs', cpu(without)),
            row('processor time of the service for a POST with', 'µs', cpu(withTokens)),
            row(
              'with over without, processor time',
              '×',
              ratios(cpu(withTokens), cpu(without)),
              atMost(1.1)
            )
          ],
          notes: [
            `${CONNECTIONS} connections, kept alive; texts of ${TEXT_BYTES} bytes; ${failed} POSTs failed.`
          ]
        }
      ]
    }
  }
}
