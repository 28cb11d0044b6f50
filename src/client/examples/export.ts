// Prints a room's messages as lines of JSON, oldest first:
// node dist/src/client/examples/export.js <url> <room> [sequence to begin after]
import { Dialogs } from 'dialogs/client'

const [url = 'http://127.0.0.1:8080', room = 'room123', after = '0'] = process.argv.slice(2)

for await (const entry of new Dialogs({ url }).history(room, { after })) {
  console.log(JSON.stringify(entry))
}
