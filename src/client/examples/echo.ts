// A bot that repeats what others write in a room:
// node dist/src/client/examples/echo.js <url> <room>
// It answers each message once, also when it is restarted or the network fails in between.
import { Dialogs } from 'dialogs/client'

const [url = 'http://127.0.0.1:8080', room = 'room123'] = process.argv.slice(2)
const dialogs = new Dialogs({ url })

for await (const event of dialogs.stream(room, { last: 0 })) {
  if (event.type === 'live') console.log(`Listening in ${event.room} from #${event.head} on`)
  if (event.type === 'down') console.log(`Not connected, trying again in ${event.pauseMs} ms`)
  if (event.type !== 'message' || event.message.user === 'echo') continue
  const { seq, user, text } = event.message
  // The key belongs to the message that is answered, so that a failure cannot lead to two answers.
  await dialogs.post(room, { user: 'echo', text: `${user}: ${text}` }, { key: `echo-${seq}` })
}
