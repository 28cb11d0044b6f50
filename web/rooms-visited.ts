// The person's dialogs in the left column: the rooms visited in this browser, newest first. Where
// the service keeps the person's dialogs, they come from there, with what is unread.
import { find } from './find.js'
import { hueOf, lettersOf } from './hue.js'
import { recall, remember } from './memory.js'

const VISITED_MAX = 30

/** The newest first. */
export function visitedRooms(): string[] {
  try {
    const rooms: unknown = JSON.parse(recall('rooms') || '[]')
    return Array.isArray(rooms) ? rooms.map(String) : []
  } catch {
    return [] // something else has written there
  }
}

export function visit(room: string): void {
  const rooms = [room, ...visitedRooms().filter(each => each !== room)]
  remember('rooms', JSON.stringify(rooms.slice(0, VISITED_MAX)))
}

export type Listed = { readonly room: string; readonly unread: number }

/** Draws links to the rooms; the present one is marked. */
export function drawRooms(rooms: readonly Listed[], present: string): void {
  const list = find(HTMLUListElement, '#rooms')
  list.replaceChildren(...rooms.map(each => roomRow(each, present)))
}

function roomRow({ room, unread }: Listed, present: string): HTMLLIElement {
  const row = find(
    HTMLLIElement,
    'li',
    document.importNode(find(HTMLTemplateElement, '#room-row').content, true)
  )
  const link = find(HTMLAnchorElement, 'a', row)
  link.href = `chat?${new URLSearchParams({ chat_id: room })}`
  if (room === present) link.ariaCurrent = 'page'
  find(HTMLElement, '.avatar', row).textContent = lettersOf(room)
  find(HTMLElement, '.name', row).textContent = room
  const badge = find(HTMLElement, '.badge', row)
  badge.hidden = unread === 0 || room === present
  badge.textContent = unread > 99 ? '99+' : String(unread)
  badge.ariaLabel = `${badge.textContent} unread`
  row.style.setProperty('--hue', String(hueOf(room)))
  return row
}
