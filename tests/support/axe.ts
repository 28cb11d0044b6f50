// What axe finds wrong with a page as it is shown now, for people who use it with a keyboard or a
// screen reader or need contrast.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Page } from 'playwright-core'

const folder = dirname(createRequire(import.meta.url).resolve('axe-core/package.json'))
const source = readFileSync(join(folder, 'axe.min.js'), 'utf8')

/** @returns for each finding its rule, and the elements with what is wrong; none if all is well */
export async function axeFindings(page: Page): Promise<unknown> {
  // In an isolated world, which the page's policy does not restrict.
  const session = await page.context().newCDPSession(page)
  const { frameTree } = await session.send('Page.getFrameTree')
  const { executionContextId } = await session.send('Page.createIsolatedWorld', {
    frameId: frameTree.frame.id
  })
  const { result } = await session.send('Runtime.evaluate', {
    contextId: executionContextId,
    expression: `${source}; axe.run().then(({ violations }) => JSON.stringify(violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html, failureSummary])])))`,
    awaitPromise: true,
    returnByValue: true
  })
  return JSON.parse(String(result.value)) as unknown
}
