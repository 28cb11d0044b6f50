// A client that sends one signal. What readers get of it is checked in room-reader.ts.
import { type SignalRequest } from './plan.js'
import { Request } from './request.js'
import { type World } from './world.js'

export function sendSignal(world: World, action: SignalRequest): Request {
  const { room, user, data, instance } = action
  world.signals.set(data, action)
  return new Request(world, {
    name: `${data} to ${room}`,
    instance,
    hasKey: false,
    finalCodes: new Set(),
    send: async ({ signals }) => {
      await signals.send({ room, user, kind: 'typing', data })
      return { status: 200, seq: 0 }
    },
    onAnswer: answer => {
      if ('code' in answer && answer.code !== 'RATE_LIMITED') {
        world.oracle.onRefused({ text: data }, answer)
      }
    }
  })
}
