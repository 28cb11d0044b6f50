// /cluster: where a room is stored, live. Connects the parts: the cluster's feed, the room's
// bricks, and their drawing, at most once a frame.
import { Dialogs } from '../src/client/dialogs.js'
import { Bricks, type Found } from './cluster/bricks.js'
import { countMessages } from './cluster/counter.js'
import { followCluster } from './cluster/feed.js'
import { ladyWrites } from './cluster/lady.js'
import { type Figures, inOrder, type Picture } from './cluster/picture.js'
import { downText, drawShards } from './cluster/shards.js'
import { drawSlots } from './cluster/slot-bar.js'
import { byMessages, columnsOf, counted, JOINED_MAX, Wall } from './cluster/wall.js'
import { find } from './find.js'

const NOTHING: Found = { bricks: [], blockLength: 1 }
const STATES = { connecting: 'Connecting', live: 'Live', lost: 'Connection lost, trying again' }

const room = new URLSearchParams(location.search).get('room') ?? 'room123'
const url = new URL('..', location.href).href
const roomUrl = `../rooms/${encodeURIComponent(room)}`
const show = (selector: string, text: string): void => {
  find(HTMLElement, selector).textContent = text
}

find(HTMLInputElement, '#room').value = room
show('#room-name', room)

let picture: Picture | undefined
let figures: readonly Figures[] = []
let found: Found | undefined
let chosen: string | undefined
let isDue = false

const wall = new Wall(user => {
  chosen = user
  drawSoon()
})

function drawSoon(): void {
  if (isDue) return
  isDue = true
  requestAnimationFrame(() => {
    isDue = false
    if (picture !== undefined) draw(picture)
  })
}

function draw(picture: Picture): void {
  const { bricks, blockLength } = found ?? NOTHING
  const user = chosen ?? byMessages(bricks)[0]?.[0]
  drawSlots(picture, bricks)
  const columns = columnsOf(picture, bricks)
  drawShards({ picture, figures, columns, columnWidth: wall.columnWidth(columns.length) })
  wall.draw(picture, { bricks, blockLength }, user)
  const messages = bricks.reduce((sum, brick) => sum + brick.messages, 0)
  const users = new Set(bricks.map(brick => brick.user)).size
  show(
    '#summary',
    `${counted(messages, 'message')} of ${counted(users, 'user')} in ${counted(bricks.length, 'brick')} on ${counted(picture.shards.length, 'shard')}.`
  )
  show('#thread-user', user ?? 'nobody yet')
  const joined = bricks.filter(brick => brick.user === user).length
  show('#thread-part', joined > JOINED_MAX ? `newest ${JOINED_MAX} ` : '')
  show('#down', downText(picture))
  show('#version', picture.version)
  find(HTMLElement, '#empty').hidden = found === undefined || bricks.length > 0
}

const reader = new Bricks(`${roomUrl}/blocks`, {
  change: seen => {
    found = seen
    for (const element of document.querySelectorAll('.block-length')) {
      element.textContent = seen.blockLength.toLocaleString('en')
    }
    drawSoon()
  },
  fault: message => {
    show('#write-note', message)
  }
})

followCluster('events', {
  picture: seen => {
    picture = inOrder(seen, picture)
    drawSoon()
  },
  figures: seen => {
    figures = seen
    drawSoon()
  },
  anybodyWrites: () => {
    find(HTMLElement, '.actions').hidden = false
  },
  state: state => {
    show('#state', STATES[state])
    find(HTMLElement, '#state').dataset['state'] = state
  }
})

void countMessages(new Dialogs({ url }), room, {
  counts: ({ received, lost }) => {
    show('#received', received.toLocaleString('en'))
    show('#lost', lost.toLocaleString('en'))
  },
  wrote: user => {
    reader.wrote(user)
  },
  reset: () => {
    reader.reset()
  }
})

let writing: AbortController | undefined
const button = find(HTMLButtonElement, '#write')
const progress = find(HTMLProgressElement, '#written')
const label = button.textContent
button.addEventListener('click', () => {
  if (writing !== undefined) {
    writing.abort()
    return
  }
  writing = new AbortController()
  button.textContent = 'Stop'
  progress.hidden = false
  progress.value = 0
  show('#write-note', '')
  ladyWrites(url, room, writing.signal, count => {
    progress.value = count
  })
    .catch((error: unknown) => {
      show('#write-note', error instanceof Error ? error.message : String(error))
    })
    .finally(() => {
      writing = undefined
      button.textContent = label
      progress.hidden = true
    })
})

addEventListener('resize', drawSoon)
