// The page as a person sees and uses it: buttons, fields, rows. Each page has a profile of its own,
// so two pages are two people. An error in the page's own code fails the test.
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import { until } from './until.js'

const ROWS = "[...document.querySelectorAll('#list > li')]"

export class ChatPage {
  readonly page: Page

  private constructor(page: Page) {
    this.page = page
  }

  /** @param query what follows /chat in the address, for example `?chat_id=room123` */
  static async visit(
    t: Test,
    browser: Browser,
    url: string,
    query: string,
    options?: BrowserContextOptions
  ): Promise<ChatPage> {
    const context = await browser.newContext(options)
    t.teardown(() => context.close())
    return ChatPage.visitIn(t, context, url, query)
  }

  /** Opens another tab of the same browser. */
  static async visitIn(
    t: Test,
    context: BrowserContext,
    url: string,
    query: string
  ): Promise<ChatPage> {
    const page = await context.newPage()
    page.on('pageerror', error => t.fail(`The page threw ${String(error)}`))
    await page.goto(`${url}/chat${query}`)
    return new ChatPage(page)
  }

  static enter(t: Test, browser: Browser, url: string, room: string): Promise<ChatPage> {
    return ChatPage.visit(t, browser, url, `?chat_id=${encodeURIComponent(room)}`)
  }

  async open(): Promise<void> {
    await this.page.click('#open')
    await this.becomes('live')
  }

  async close(): Promise<void> {
    await this.page.click('#close')
    await this.becomes('closed')
  }

  becomes(state: 'closed' | 'connecting' | 'history' | 'live' | 'reconnecting'): Promise<unknown> {
    return this.page.waitForSelector(`#state[data-state="${state}"]`)
  }

  async write(user: string, text: string): Promise<void> {
    await this.page.fill('#user', user)
    await this.page.fill('#text', text)
  }

  /** Writes, presses Enter and waits until the message is stored. */
  async send(user: string, text: string): Promise<void> {
    await this.write(user, text)
    await this.page.press('#text', 'Enter')
    await this.hasSentAll()
  }

  async hasSentAll(deadlineMs?: number): Promise<void> {
    await until(
      'everything is stored',
      async () => (await this.pending()).every(({ state }) => state === 'stored'),
      deadlineMs
    )
  }

  /** The messages that are still being sent, from the top. */
  pending(): Promise<Array<{ state: string; text: string; progress: string }>> {
    return this.page.evaluate(`[...document.querySelectorAll('#pending > li')].map(row => ({
      state: row.dataset.state, text: row.querySelector('.text').textContent, progress: row.querySelector('.progress').textContent
    }))`)
  }

  /** The content of the text field. */
  text(): Promise<string> {
    return this.page.inputValue('#text')
  }

  notice(): Promise<string> {
    return this.page.innerText('#notice')
  }

  /** Waits for a message with exactly this text. */
  async shows(text: string): Promise<void> {
    await until(`the page shows ${JSON.stringify(text)}`, async () =>
      (await this.texts()).includes(text)
    )
  }

  /** The sequences of all rows, from the top. */
  seqs(): Promise<number[]> {
    return this.page.evaluate(
      `${ROWS}.map(row => Number(row.querySelector('.seq').textContent.slice(1)))`
    )
  }

  /** The texts of all rows, from the top. */
  texts(): Promise<string[]> {
    return this.page.evaluate(
      `${ROWS}.map(row => (row.querySelector('.text') ?? row.querySelector('p:not(.line)'))?.textContent ?? '')`
    )
  }

  /** `user: text` of all rows, from the top. */
  lines(): Promise<string[]> {
    return this.page.evaluate(
      `${ROWS}.map(row => row.querySelector('.user').textContent + ': ' + row.querySelector('.text').textContent)`
    )
  }

  scrollTo(px: number): Promise<void> {
    return this.page.evaluate(`document.querySelector('#messages').scrollTop = ${px}`)
  }

  /** The distance of a row's upper edge from that of the list, in px. */
  topOf(seq: number): Promise<number> {
    return this.page.evaluate(`(() => {
      const row = ${ROWS}.find(each => each.querySelector('.seq').textContent === '#${seq}')
      return Math.round(row.getBoundingClientRect().top - document.querySelector('#messages').getBoundingClientRect().top)
    })()`)
  }

  isAtEnd(): Promise<boolean> {
    return this.page.evaluate(
      "(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 2)(document.querySelector('#messages'))"
    )
  }
}
