// A real Chromium for one test file: the installed one, headless, with an empty profile that is
// removed after the test. Downloads nothing.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { chromium, type Browser } from 'playwright-core'
import type { Test } from 'tap'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

const FEATURES_OFF = [
  // The suggestions below the address bar are pages of their own: Chromium loads them for each new
  // profile, and that took 43 % of the processor time of opening a profile, a tab and a room.
  'WebUIOmniboxPopup',
  'WebUIOmniboxAimPopup',
  // Only the last switch of this kind counts, so these are Playwright's, as far as they matter.
  'AimEnabled',
  'AvoidUnnecessaryBeforeUnloadCheckSync',
  'DestroyProfileOnBrowserClose',
  'HttpsFirstBalancedModeAutoEnable',
  'HttpsUpgrades',
  'LensOverlay',
  'MediaRouter',
  'NetworkTimeServiceQuerying',
  'OptimizationHints',
  'PaintHolding',
  'PreconnectToSearch',
  'ThirdPartyStoragePartitioning'
]

// No sandbox, because tests may run as root in containers. The other switches keep Chromium from
// contacting anyone but the service.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  `--disable-features=${FEATURES_OFF.join(',')}`
]

export type ChromiumOptions = {
  /** More switches of the command line. */
  readonly flags?: readonly string[]
  /** Without this there are none, as on a phone. */
  readonly hasScrollbars?: boolean
}

/** @throws Error when no Chromium is on the PATH */
export async function openChromium(
  t: Test,
  { flags = [], hasScrollbars = false }: ChromiumOptions = {}
): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: chromiumPath(),
    args: [...FLAGS, ...flags],
    ignoreDefaultArgs: hasScrollbars ? ['--hide-scrollbars'] : [],
    headless: true
  })
  t.teardown(() => browser.close())
  return browser
}

function chromiumPath(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const path = NAMES.flatMap(name => folders.map(folder => join(folder, name))).find(isExecutable)
  if (path === undefined) {
    throw new Error(`None of ${NAMES.join(', ')} is on the PATH: install one of them`)
  }
  return path
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
