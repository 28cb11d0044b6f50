// The rooms that were visited in this browser, the latest first.
import { recall, remember } from './memory.js'

const VISITED_MAX = 30

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
