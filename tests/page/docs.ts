// /docs in a real browser: it shows every operation, contacts no other host, and nothing violates
// its policy.
import t from 'tap'
import { startCluster } from '../support/embedded.js'
import { openChromium } from '../support/chromium.js'
import { startService } from '../support/service.js'

t.test('/docs shows the interface and loads everything from this service', async t => {
  const { url } = await startService(t, { redisNodes: (await startCluster(t)).urls })
  const browser = await openChromium(t)
  const page = await browser.newPage()
  const asked: string[] = []
  const complaints: string[] = []
  page.on('request', request => {
    asked.push(request.url())
  })
  page.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', error => {
    complaints.push(String(error))
  })
  await page.goto(`${url}/docs`)
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: object }
  const operations = Object.values(paths).flatMap(methods => Object.keys(methods as object)).length
  await page
    .locator('.opblock')
    .nth(operations - 1)
    .waitFor()
  t.equal(await page.locator('.opblock').count(), operations, 'every operation')
  await page.locator('.opblock-post .opblock-summary-control').first().click()
  await page.getByText('Idempotency-Key').first().waitFor()
  t.strictSame(
    asked.filter(address => !address.startsWith(url) && !address.startsWith('data:')),
    [],
    'nothing from elsewhere'
  )
  t.strictSame(
    complaints.filter(text => !text.includes('favicon')),
    []
  )
})
