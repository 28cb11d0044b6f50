// What the queries of streams may contain. Unknown parameters are ignored: polyfills of EventSource
// add some, and would take a refusal as final.
import { Type, type Static } from '@sinclair/typebox'

const Resuming = {
  ticket: Type.Optional(
    Type.String({
      description:
        'of POST /tickets, for an EventSource of another origin; unused where no tokens are asked for'
    })
  ),
  after: Type.Optional(
    Type.String({
      description:
        'cursor: what came after it; lastEventId and the Last-Event-ID header win over it'
    })
  ),
  last: Type.Optional(
    Type.String({
      description: 'start with this many of the newest messages; default: the whole history'
    })
  ),
  lastEventId: Type.Optional(
    Type.String({
      description: 'like the header Last-Event-ID, for clients that cannot send it; the header wins'
    })
  ),
  lastEventID: Type.Optional(Type.String({ description: 'another spelling of lastEventId' }))
}

/** Where the client of a stream resumes. */
export type Resuming = {
  readonly after?: string
  readonly lastEventId?: string
  readonly lastEventID?: string
}

export const PersonEventsQuery = Type.Object({
  after: Type.Optional(
    Type.String({
      description:
        'cursor: the dialogs that have changed since; default: all. lastEventId and the Last-Event-ID header win over it'
    })
  ),
  lastEventId: Resuming.lastEventId,
  lastEventID: Resuming.lastEventID
})

export const EventsQuery = Type.Object(Resuming)
export type EventsQuery = Static<typeof EventsQuery>

export const RoomsEventsQuery = Type.Object({
  room: Type.Union([Type.String(), Type.Array(Type.String())], {
    description: 'once for each room'
  }),
  ...Resuming
})
export type RoomsEventsQuery = Static<typeof RoomsEventsQuery>
