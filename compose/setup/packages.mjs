// Installs the node packages exactly as package-lock.json says, unless they already are. npm keeps
// a lock file of what is installed in node_modules; comparing the two files takes milliseconds and
// does not start npm.

import { existsSync, readFileSync } from 'node:fs'
import { step } from './step.mjs'

export async function ensureNodePackages() {
  if (!areInstalled()) await step('Installing the node packages', 'npm', ['ci', '--include=dev'])
}

function areInstalled() {
  const installedFile = new URL('../../node_modules/.package-lock.json', import.meta.url)
  if (!existsSync(installedFile)) return false
  const wanted = packagesOf(new URL('../../package-lock.json', import.meta.url))
  const installed = packagesOf(installedFile)
  return Object.entries(wanted).every(([path, { version, optional, link }]) => {
    // '' is the project itself.
    if (path === '' || link) return true
    // Optional packages for other platforms are not installed.
    return installed[path]?.version === version || (optional && installed[path] === undefined)
  })
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages
}
