// A client that follows a person's dialogs, and checks what it is told. At each event, as long as
// nothing was lost, the number of unread messages must be what the log says. When the faults have
// stopped, this must be so for every dialog.
import { EventSource } from './event-source.js'
import { type DialogState } from './dialogs-model.js'
import { type Follow } from './plan.js'
import { type World } from './world.js'

type Body = DialogState & { readonly rooms?: readonly string[] }

export class PersonReader {
  readonly name: string
  readonly user: string
  /** What it was last told about each dialog. */
  readonly dialogs = new Map<string, DialogState>()
  readonly source: EventSource
  isLive = false
  readonly #world: World

  constructor(world: World, name: string, { user, instance, bytesPerMs }: Follow) {
    this.#world = world
    this.name = name
    this.user = user
    this.source = new EventSource(world, {
      name,
      instance,
      bytesPerMs,
      open: (instance, socket, lastId) => instance.openPersonStream(socket, user, lastId),
      onEvent: (event, id, data) => {
        this.#event(event, id, data)
      },
      onEnd: () => {
        this.isLive = false
      }
    })
  }

  #event(event: string, id: string | undefined, data: string): void {
    const { trace, oracle, dialogs } = this.#world
    const body = JSON.parse(data) as Body
    trace.note(`${this.name} gets ${event} ${id ?? ''} ${data.slice(0, 120)}`)
    if (id === undefined) oracle.violation(`${this.name} gets ${event} without an id`)
    switch (event) {
      case 'room':
        this.dialogs.set(body.room, body)
        return dialogs.onTold(this.name, this.user, body)
      case 'left':
        this.dialogs.delete(body.room)
        return
      case 'live':
        if (this.isLive) oracle.violation(`${this.name} is told twice that it is live`)
        this.isLive = true
        // Rooms that the person left while the stream was away.
        for (const room of this.dialogs.keys()) {
          if (body.rooms?.includes(room) === false) this.dialogs.delete(room)
        }
        return
      case 'behind':
        this.isLive = false
        return
      default:
        oracle.violation(`${this.name} gets an unknown event ${event}`)
    }
  }
}
