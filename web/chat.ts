// The page /chat?chat_id=<room>: makes its parts and hands them to each other. Without a room that
// the service accepts it asks for one instead. What a name may be is the service's to say; the page
// does not repeat the rules. The same file is the SharedWorker that all pages of a browser share.
import { Dialogs, Refusal } from '../src/client/dialogs.js'
import { Attention } from './attention.js'
import { Composer } from './composer.js'
import { type Entry, isMessage } from './entry.js'
import { find } from './find.js'
import { Inbox } from './inbox.js'
import { keep, keptJson } from './memory.js'
import { MessageList } from './message-list.js'
import { Outbox } from './outbox.js'
import { Panel } from './panel.js'
import { PendingList } from './pending-list.js'
import { People } from './people.js'
import { Presence } from './presence.js'
import { ReadMark } from './read-mark.js'
import { FIRST_PAGE_SIZE, PAGE_SIZE, Room, reasonOf } from './room.js'
import { visit } from './rooms-visited.js'
import { RowActions } from './row-actions.js'
import { StateLine } from './state-line.js'
import { Stream } from './stream.js'
import { Transcript } from './transcript.js'
import { runWorker } from './worker.js'

// More rows than anyone looks at, and few enough for a phone to lay out within a frame.
const SHOWN_MAX = 2000

if (typeof document === 'undefined') runWorker()
else start()

function start(): void {
  const query = new URLSearchParams(location.search)
  const chatId = query.get('chat_id')?.trim().normalize('NFC') ?? ''
  if (chatId === '') return chooseRoom('', '')
  const base = new URL('.', location.href).href
  enterRoom(new Room(chatId, base, new Dialogs({ url: base })), Number(query.get('seq')) || 0)
}

function chooseRoom(name: string, fault: string): void {
  const input = find(HTMLInputElement, '#chat-id')
  input.value = name
  input.setAttribute('aria-invalid', String(fault !== ''))
  find(HTMLElement, '#chooser-fault').textContent = fault
  find(HTMLElement, '#room').hidden = true
  find(HTMLElement, '#chooser').hidden = false
  document.title = 'Choose a room · Dialogs'
  input.focus()
  input.select()
}

/** @param linked the sequence that the address points at, or 0 */
function enterRoom(room: Room, linked: number): void {
  const transcript = new Transcript({ shownMax: SHOWN_MAX, recentMax: PAGE_SIZE })
  const readMark = new ReadMark(room.name)
  const list = new MessageList(find(HTMLElement, '#messages'), transcript, {
    onNear: edge => {
      void readMore(edge)
    },
    onSeen(newest) {
      readMark.saw(newest)
      inbox.read(newest.seq)
    }
  })
  const people = new People(after => readUsers(after))
  const presence = new Presence(room)
  const inbox = new Inbox(room.dialogs, room.name)
  const stateLine = new StateLine()
  const attention = new Attention(`${room.name} · Dialogs`)
  new Panel().start()
  let paging = new AbortController()
  let isPaging = false
  const openName = `open.${room.name}`

  const stream = new Stream(room, {
    onState(state, inMs) {
      stateLine.show(state, inMs)
      list.announce(state === 'live')
      if (state === 'live') readUsers()
    },
    onFirst(entries) {
      for (const entry of entries) take(entry)
      list.markUnread(readMark.unreadOf(entries))
      if (linked > 0) void goTo(linked)
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
    onReset() {
      paging.abort()
      paging = new AbortController()
      transcript.clear()
      list.cleared()
      composer.notify('info', 'The room went back to an earlier state. These are its messages now.')
    },
    onRefused: ({ message }) => chooseRoom(room.name, message)
  })

  /** @returns false for an entry that is here already */
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
      inbox.wrote()
      composer.notify(
        'info',
        stream.state === 'closed' ? `Stored as #${seq}. OPEN shows the room.` : ''
      )
      const newest = transcript.newest
      if (newest !== undefined && newest.seq >= seq) outbox.saw(newest)
    },
    onFailed: reason => composer.notify('error', reason)
  })
  const pending = new PendingList({
    onRetry: key => outbox.retry(key, composer.user),
    onDiscard: key => outbox.discard(key)
  })
  const composer = new Composer(room.name, {
    onUser(user) {
      list.recognise(user)
      inbox.setUser(user)
    },
    onSend(draft) {
      if (outbox.isFull) {
        composer.notify('error', 'Too many messages are waiting to be sent. This one stays here.')
        return false
      }
      list.recognise(draft.user)
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
    canChange: () => room.canChange(),
    onCopy: copy,
    onEdit: ({ seq, text }) => composer.edit(seq, text),
    onDelete({ seq }) {
      if (!confirm(`Delete message #${seq} for everybody?`)) return
      change(room.dialogs.delete(room.name, seq, { user: composer.user }))
    }
  })

  /** What comes of it is brought by the stream. */
  function change(answer: Promise<unknown>): void {
    answer.catch((error: unknown) => composer.notify('error', reasonOf(error)))
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

  /**
   * Also the first question about this room to the service: one that it refuses for its name is
   * asked for again.
   */
  function readUsers(after?: string): void {
    room.readUsers(after).then(
      page => (after === undefined ? people.replace(page) : people.add(page)),
      (error: unknown) => {
        if (error instanceof Refusal && !error.isTemporary) {
          stream.close()
          chooseRoom(room.name, error.message)
        } else {
          console.warn('The users could not be read:', error)
        }
      }
    )
  }

  /** One page at a time, whoever asks: the person's scrolling or a button. */
  async function readMore(edge: 'earlier' | 'later'): Promise<void> {
    if (isPaging) return
    isPaging = true
    const { signal } = paging
    const { shown } = transcript
    try {
      if (edge === 'earlier') {
        transcript.addEarlier(await room.readPage({ before: shown[0]?.seq ?? 1 }, signal))
      } else {
        transcript.addLater(await room.readPage({ after: shown.at(-1)?.seq ?? 0 }, signal))
      }
      list.changed()
    } catch (error) {
      if (!signal.aborted) composer.notify('error', reasonOf(error))
    }
    isPaging = false
  }

  /** Shows a message, wherever it is in the history, with what stands around it. */
  async function goTo(seq: number): Promise<void> {
    if (!transcript.shown.some(each => each.seq === seq)) {
      const { signal } = paging
      try {
        const before = seq + FIRST_PAGE_SIZE / 2
        transcript.show(await room.readPage({ before, limit: FIRST_PAGE_SIZE }, signal))
      } catch (error) {
        if (!signal.aborted) composer.notify('error', reasonOf(error))
        return
      }
    }
    list.showSeq(seq)
  }

  onPress('#open', () => {
    keep(openName, true)
    stream.open()
  })
  onPress('#close', () => {
    keep(openName, false)
    stream.close()
  })
  onPress('#earlier', () => readMore('earlier'))
  onPress('#later', () => readMore('later'))
  onPress('#unread', () => goTo(readMark.seq + 1))
  onPress('#share', () => copy(room.addressOf(), 'The link to this room'))

  find(HTMLElement, '#room-name').textContent = room.name
  find(HTMLElement, '#room').hidden = false
  visit(room.name)
  inbox.start(composer.user)
  list.recognise(composer.user)
  outbox.start()
  readUsers()
  // After a reload the page is as it was; a link to a message is there to be read.
  if (keptJson(openName) === true || linked > 0) stream.open()
  rowActions.start()
}

/**
 * Calls `act` for a press, but not while the last one is still being worked on, nor while the
 * button is said to be disabled.
 */
function onPress(selector: string, act: () => void | Promise<void>): void {
  const button = find(HTMLButtonElement, selector)
  let isBusy = false
  button.addEventListener('click', async () => {
    if (isBusy || button.ariaDisabled === 'true') return
    isBusy = true
    await act()
    isBusy = false
  })
}
