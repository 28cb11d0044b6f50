// The page /chat?chat_id=<room>. Without a room that the service accepts, it asks for one. The
// service decides which names are valid; the page does not repeat those rules. The same file is the
// SharedWorker that all pages of a browser share.
import { Dialogs } from '../src/client/dialogs.js'
import { Credentials } from './credentials.js'
import { find } from './find.js'
import { Room } from './room.js'
import { enterRoom } from './room-page.js'
import { runWorker } from './worker.js'

if (typeof document === 'undefined') runWorker()
else start()

function start(): void {
  const query = new URLSearchParams(location.search)
  const chatId = query.get('chat_id')?.trim().normalize('NFC') ?? ''
  if (chatId === '') return chooseRoom('', '')
  const base = new URL('.', location.href).href
  const credentials = new Credentials()
  const dialogs = new Dialogs({ url: base, token: () => credentials.token })
  enterRoom(new Room(chatId, base, dialogs), {
    credentials,
    linked: Number(query.get('seq')) || 0,
    onRefused: fault => chooseRoom(chatId, fault)
  })
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
