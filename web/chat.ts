// The page /chat?chat_id=<room>: makes its parts and hands them to each other. Without a room that
// the service accepts it asks for one instead. What a name may be is the service's to say; the page
// does not repeat the rules.
import { Composer } from './composer.js'
import { find } from './find.js'
import { MessageList } from './message-list.js'
import { Outbox } from './outbox.js'
import { PendingList } from './pending-list.js'
import { People } from './people.js'
import { PAGE_SIZE, Refusal, Room, reasonOf } from './room.js'
import { Stream, type StreamState } from './stream.js'
import { Transcript } from './transcript.js'

// More rows than anyone looks at, and few enough for a phone to lay out within a frame.
const SHOWN_MAX = 2000

const STATE_LABEL: { readonly [state in StreamState]: string } = {
  closed: 'Closed',
  connecting: 'Connecting…',
  history: 'Loading history…',
  live: 'Live',
  reconnecting: 'Reconnecting…'
}

const chatId = new URLSearchParams(location.search).get('chat_id')?.trim().normalize('NFC') ?? ''
if (chatId === '') chooseRoom('', '')
else enterRoom(new Room(chatId, new URL('.', location.href).href))

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

function enterRoom(room: Room): void {
  const transcript = new Transcript({ shownMax: SHOWN_MAX, recentMax: PAGE_SIZE })
  const list = new MessageList(find(HTMLElement, '#messages'), transcript)
  const people = new People()
  let paging = new AbortController()

  const stream = new Stream(room, {
    onState(state) {
      showState(state)
      list.announce(state === 'live')
      if (state === 'live') readUsers()
    },
    onEntry(entry) {
      if (!transcript.add(entry, list.isFollowing)) return
      outbox.saw(entry)
      list.added()
      if (stream.state === 'live' && 'user' in entry) people.count(entry.user)
    },
    onReset() {
      paging.abort()
      paging = new AbortController()
      transcript.clear()
      list.cleared()
      composer.notify('info', 'The room went back to an earlier state. These are its messages now.')
    },
    onRefused: ({ message }) => chooseRoom(room.name, message)
  })

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
    onFailed: reason => composer.notify('error', reason)
  })
  const pending = new PendingList({
    onRetry: key => outbox.retry(key, composer.user),
    onDiscard: key => outbox.discard(key)
  })
  const composer = new Composer(room.name, {
    onUser: user => list.recognise(user),
    onSend(draft) {
      if (outbox.isFull) {
        composer.notify('error', 'Too many messages are waiting to be sent. This one stays here.')
        return false
      }
      outbox.add(draft)
      list.showNewest()
      return true
    }
  })

  /**
   * Also the first question about this room to the service: one that it refuses for its name is
   * asked for again.
   */
  function readUsers(): void {
    room.readUsers().then(
      users => people.replace(users),
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

  onPress('#open', () => stream.open())
  onPress('#close', () => stream.close())
  onPress('#earlier', () =>
    readPage(async signal => {
      transcript.addEarlier(await room.readPage({ before: transcript.shown[0]?.seq ?? 1 }, signal))
    })
  )
  onPress('#later', () =>
    readPage(async signal => {
      transcript.addLater(await room.readPage({ after: transcript.shown.at(-1)?.seq ?? 0 }, signal))
    })
  )
  async function readPage(read: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = paging
    try {
      await read(signal)
      list.changed()
    } catch (error) {
      if (!signal.aborted) composer.notify('error', reasonOf(error))
    }
  }

  find(HTMLElement, '#room-name').textContent = room.name
  find(HTMLElement, '#room').hidden = false
  document.title = `${room.name} · Dialogs`
  showState('closed')
  list.recognise(composer.user)
  outbox.start()
  readUsers()
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

/**
 * A button that does nothing now is said to be disabled, and keeps the focus, which a really
 * disabled one loses.
 */
function showState(state: StreamState): void {
  const element = find(HTMLElement, '#state')
  element.textContent = STATE_LABEL[state]
  element.dataset['state'] = state
  find(HTMLElement, '#room').dataset['state'] = state
  find(HTMLButtonElement, '#open').ariaDisabled = String(state !== 'closed')
  find(HTMLButtonElement, '#close').ariaDisabled = String(state === 'closed')
}
