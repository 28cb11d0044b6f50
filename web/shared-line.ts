// A page's connection to the SharedWorker. Invariant: its silence is noticed. Browsers end a
// SharedWorker without telling its pages, for example when the tab crashes in whose process it
// runs. Chromium 156 does not close the port either. But the roll calls stop coming.
import { ROLL_CALL_MS, type FromPage, type ToPage } from './wire.js'

/** How long to wait for the worker's first message. */
const START_MS_MAX = 5000
/** A browser may delay a roll call, but not for long while the page runs. */
const MISSED_MAX = 2

export type SharedLineListener = {
  readonly onMessage: (message: ToPage) => void
  /** There is no worker, or not for long: the page has to do without. */
  readonly onUnusable: () => void
  /** The worker has ended after it has served the page: another one can be started. */
  readonly onEnded: () => void
}

export class SharedLine {
  readonly #port: MessagePort

  /** @param url the bundle, which contains the worker as well */
  constructor(url: string, { onMessage, onUnusable, onEnded }: SharedLineListener) {
    // Another version is another file, and so has another worker.
    const worker = new SharedWorker(trusted(url), { type: 'module', name: 'dialogs' })
    this.#port = worker.port
    let missed = 0
    let rounds = 0
    const end = (): void => {
      clearTimeout(starting)
      clearInterval(rounding)
      worker.onerror = null
      this.#port.onmessage = null
      this.#port.close()
      // One that ends within a round would end again.
      if (rounds === 0) onUnusable()
      else onEnded()
    }
    const starting = setTimeout(end, START_MS_MAX)
    // Counts rounds instead of comparing times: a page that wakes up after an hour has missed one.
    const rounding = setInterval(() => {
      rounds++
      if (missed++ >= MISSED_MAX) end()
    }, ROLL_CALL_MS)
    worker.onerror = end
    this.#port.onmessage = ({ data }: MessageEvent<ToPage>) => {
      clearTimeout(starting)
      worker.onerror = null
      missed = 0
      onMessage(data)
    }
  }

  say(message: FromPage): void {
    this.#port.postMessage(message)
  }
}

type Policy = { readonly createScriptURL: (url: string) => string }

// Trusted Types require a policy even for an address of this origin. lib.dom does not know them.
declare const trustedTypes: undefined | { createPolicy: (name: string, rules: Policy) => Policy }

/** The content security policy allows this policy to be created once. */
let policy: Policy | undefined

function trusted(url: string): string {
  if (typeof trustedTypes === 'undefined') return url
  policy ??= trustedTypes.createPolicy('dialogs-worker', { createScriptURL: each => each })
  return policy.createScriptURL(url)
}
