// The slowest answers: POSTs to a hundred rooms from 64, 256 and 1,024 connections, each of which
// sends the next POST when the last is answered, from the first second of a process on. A mean
// hides what a few people wait for.
import { newRoom } from '../names.js'
import { type Part } from '../part.js'
import { Program } from '../program.js'
import type { HttpLoaded, HttpLoadMethods } from '../programs/http-load.js'
import { atMost, ratios, row, type Table } from '../table.js'

const CONNECTIONS = [64, 256, 1024]
const ROOMS = 100
const USERS = 50
const TEXT_BYTES = 100
const SPREAD_MAX = 6

export const tails: Part = {
  name: 'tails',
  about: 'the slowest answers to POSTs, from the first second of a process on',
  rounds: 3,
  seconds: 10,
  run: async bench => {
    const dialogs = await bench.dialogs()
    const load = await bench.keep(new Program<HttpLoadMethods>('http-load'))
    const loads = await bench.interleave<HttpLoaded>(
      CONNECTIONS.map(connections => ({
        name: `${connections} connections`,
        measure: async () => {
          await dialogs.restart()
          return await load.call('run', {
            url: dialogs.url,
            connections: bench.size(connections, 8),
            seconds: bench.scale.seconds,
            posts: { room: newRoom(), rooms: ROOMS, users: USERS, textBytes: TEXT_BYTES }
          })
        }
      }))
    )
    return { tables: [...loads].map(([name, samples]) => tableOf(name, samples)) }
  }
}

function tableOf(name: string, loads: readonly HttpLoaded[]): Table {
  const samples = (figure: keyof HttpLoaded): number[] => loads.map(load => load[figure])
  return {
    title: `${name}, ${ROOMS} rooms × ${USERS} users, the process has just started`,
    rows: [
      row('p50', 'ms', samples('p50Ms')),
      row('p99', 'ms', samples('p99Ms')),
      row('p99.9', 'ms', samples('p999Ms')),
      row('longest', 'ms', samples('maxMs')),
      row('p99.9 over p50', '×', ratios(samples('p999Ms'), samples('p50Ms')), atMost(SPREAD_MAX)),
      row(
        'answered',
        '/s',
        loads.map(({ answered, seconds }) => answered / seconds)
      )
    ],
    notes: [`${samples('failed').reduce((sum, failed) => sum + failed, 0)} requests failed.`]
  }
}
