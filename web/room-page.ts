// The page of one room: creates its parts and connects them.
import { Refusal } from '../src/client/dialogs.js'
import { isPermanent } from '../src/client/refusal.js'
import { Attention } from './attention.js'
import { Composer } from './composer.js'
import { type Credentials } from './credentials.js'
import { DateChip } from './date-chip.js'
import { type Entry, isMessage } from './entry.js'
import { find } from './find.js'
import { Inbox } from './inbox.js'
import { Line } from './line.js'
import { keep, keptJson, keptPlace, keepPlace } from './memory.js'
import { MessageList } from './message-list.js'
import { Outbox } from './outbox.js'
import { Pager } from './pager.js'
import { Panel } from './panel.js'
import { PendingList } from './pending-list.js'
import { People } from './people.js'
import { Presence } from './presence.js'
import { onPress } from './press.js'
import { ReadMark } from './read-mark.js'
import { PAGE_SIZE, type Room, reasonOf } from './room.js'
import { visit } from './rooms-visited.js'
import { RowActions } from './row-actions.js'
import { SignIn } from './sign-in.js'
import { StateLine } from './state-line.js'
import { Stream } from './stream.js'
import { Transcript } from './transcript.js'

// More rows than anyone looks at, and few enough for a phone to lay out within a frame.
const SHOWN_MAX = 2000
// At the newest message only these: some screens.
const FOLLOWED_MAX = 200

/** What the person is told when everything that was shown is void, by the service's reason. */
const RESET_NOTES: { readonly [reason: string]: string } = {
  deleted: 'The room was deleted, and all of its messages with it.',
  trimmed: 'Older messages of this room have expired. These are the ones that are left.'
}
const REWOUND_NOTE = 'The room went back to an earlier state. These are its messages now.'

/** The name under which the tab remembers whether the room is open. */
const openNameOf = (room: string): string => `open.${room}`

export type RoomPageOptions = {
  readonly credentials: Credentials
  /** The sequence that the address points to, or 0. */
  readonly linked: number
  /** The service does not accept the room's name. */
  readonly onRefused: (fault: string) => void
}

export function enterRoom(room: Room, { credentials, linked, onRefused }: RoomPageOptions): void {
  const openName = openNameOf(room.name)
  const returnTo = keptPlace()
  const line = new Line(room.base, credentials.token)
  const transcript = new Transcript({
    shownMax: SHOWN_MAX,
    followedMax: FOLLOWED_MAX,
    recentMax: PAGE_SIZE
  })
  const readMark = new ReadMark(room.name)
  const stateLine = new StateLine()
  const attention = new Attention(`${room.name} · Dialogs`)
  const presence = new Presence(room)
  const people = new People(after => readUsers(after))
  const list = new MessageList(find(HTMLElement, '#messages'), transcript, {
    onNear: edge => {
      void pager.readMore(edge)
    },
    onSeen(newest) {
      readMark.saw(newest)
      inbox.read(newest.seq)
    },
    onSight: first => dateChip.show(first)
  })
  const pager = new Pager(room, transcript, list, reason => composer.notify('error', reason))
  const dateChip = new DateChip(ms => {
    void pager.goToTime(ms)
  })
  const inbox = new Inbox(room.dialogs, line, room.name, {
    onUnread(count) {
      attention.elsewhere(count)
      panel.showUnread(count)
    },
    onRead(seq) {
      readMark.wasRead(seq)
      list.markUnread(readMark.unread)
    },
    // Who goes there wants to see it; OPEN is for those who come by an address.
    onGo: next => keep(openNameOf(next), true)
  })
  const panel = new Panel()
  const signIn = new SignIn(credentials, () => {
    line.signIn(credentials.token)
    if (credentials.user !== '') composer.setUser(credentials.user)
    keep(openName, true)
    stream.open()
    outbox.resume()
    readUsers()
  })

  const stream = new Stream(room, line, {
    onState(state, inMs) {
      stateLine.show(state, inMs)
      list.announce(state === 'live')
      if (state === 'live') readUsers()
    },
    onFirst(entries) {
      if (returnTo !== undefined || linked > 0) list.leaveNewest()
      for (const entry of entries) take(entry)
      readMark.opened(entries)
      list.markUnread(readMark.unread)
      if (returnTo !== undefined) void pager.goBack(returnTo)
      else if (linked > 0) void pager.goToLinked(linked)
    },
    onEntry(entry) {
      if (!take(entry)) return
      list.added()
      if (stream.state !== 'live' || !isMessage(entry)) return
      people.count(entry.user)
      presence.wrote(entry.user)
      if (entry.user !== composer.user) attention.call()
    },
    onSignal: signal => presence.heard(signal, composer.user),
    onReset(reason) {
      pager.reset()
      transcript.clear()
      list.cleared()
      composer.notify('info', RESET_NOTES[reason] ?? REWOUND_NOTE)
    },
    onRefused: refused
  })

  /** @returns false for an entry that is already here */
  function take(entry: Entry): boolean {
    if (!transcript.add(entry, list.isFollowing)) return false
    if ('changes' in entry) transcript.apply(entry)
    outbox.saw(entry)
    list.changed()
    return true
  }

  const outbox = new Outbox(room, {
    onChange(messages) {
      pending.draw(messages)
      list.changed()
    },
    onStored({ seq }) {
      composer.notify(
        'info',
        stream.state === 'closed' ? `Stored as #${seq}. OPEN shows the room.` : ''
      )
      const newest = transcript.newest
      if (newest !== undefined && newest.seq >= seq) outbox.saw(newest)
    },
    onFailed: reason => composer.notify('error', reason),
    onUnauthenticated: reason => signIn.ask(reason)
  })
  const pending = new PendingList({
    onRetry: key => outbox.retry(key, composer.user),
    onDiscard: key => outbox.discard(key)
  })
  const composer = new Composer(room.name, {
    onUser(user) {
      readMark.setUser(user)
      list.markUnread(readMark.unread)
      list.recognise(user)
      inbox.setUser(user)
    },
    onSend(draft) {
      if (outbox.isFull) {
        composer.notify('error', 'Too many messages are waiting to be sent. This one stays here.')
        return false
      }
      list.recognise(draft.user)
      signIn.allow()
      outbox.add(draft)
      presence.sent()
      list.showNewest()
      return true
    },
    onEdited: (seq, draft) => change(room.dialogs.edit(room.name, seq, draft)),
    onTyped() {
      if (stream.state === 'live') presence.typed(composer.user)
    }
  })
  const rowActions = new RowActions(find(HTMLElement, '#list'), {
    entryOf: element => list.entryOf(element),
    addressOf: seq => room.addressOf(seq),
    onCopy: copy,
    onEdit: ({ seq, text }) => composer.edit(seq, text),
    onDelete({ seq }) {
      if (!confirm(`Delete message #${seq} for everybody?`)) return
      change(room.dialogs.delete(room.name, seq, { user: composer.user }))
    }
  })

  /** The stream brings the result. */
  function change(answer: Promise<unknown>): void {
    answer.catch((error: unknown) => {
      if (error instanceof Refusal && error.status === 401) signIn.ask(error.message)
      composer.notify('error', reasonOf(error))
    })
  }

  function copy(text: string, what: string): void {
    // Missing on plain http origins other than localhost.
    const clipboard = navigator.clipboard as Clipboard | undefined
    const written = clipboard?.writeText(text) ?? Promise.reject(new Error('no clipboard'))
    written.then(
      () => composer.notify('info', `${what} is copied.`),
      () => composer.notify('error', `The browser does not allow copying. ${text}`)
    )
  }

  /** The service requires a token, denies the right, or does not accept the room's name. */
  function refused({ status, message }: Refusal): void {
    if (status === 401) return signIn.ask(message)
    if (status === 403) return composer.notify('error', message)
    stream.close()
    onRefused(message)
  }

  /**
   * This is also the first question to the service about this room: if it refuses the name, the
   * page asks for another room.
   */
  function readUsers(after?: string): void {
    room.readUsers(after).then(
      page => (after === undefined ? people.replace(page) : people.add(page)),
      (error: unknown) => {
        if (error instanceof Refusal && isPermanent(error)) refused(error)
        else console.warn('The users could not be read:', error)
      }
    )
  }

  onPress('#open', () => {
    keep(openName, true)
    signIn.allow()
    stream.open()
  })
  onPress('#close', () => {
    keep(openName, false)
    stream.close()
  })
  onPress('#earlier', () => pager.readMore('earlier'))
  onPress('#later', () => pager.readMore('later'))
  onPress('#unread', () => pager.goTo(readMark.seq + 1))
  onPress('#share', () => copy(room.addressOf(), 'The link to this room'))
  addEventListener('pagehide', () => keepPlace(list.place))

  find(HTMLElement, '#room-name').textContent = room.name
  find(HTMLElement, '#room').hidden = false
  panel.start()
  visit(room.name)
  if (credentials.user !== '') composer.setUser(credentials.user)
  else {
    readMark.setUser(composer.user)
    inbox.setUser(composer.user)
  }
  list.recognise(composer.user)
  outbox.start()
  readUsers()
  // After a reload the page is as before; a link to a message is there to be read.
  if (keptJson(openName) === true || linked > 0) stream.open()
  rowActions.start()
}
