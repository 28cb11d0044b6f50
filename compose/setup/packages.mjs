// The node packages: installed exactly as package-lock.json says, when they are not. npm keeps a lock file of what is
// installed in node_modules; comparing the two needs no npm and takes a few milliseconds.

import { existsSync, readFileSync } from 'node:fs'
import { step } from './step.mjs'

export async function ensureNodePackages () {
  if (!areInstalled()) await step('Installing the node packages', 'npm', ['ci', '--include=dev'])
}

function areInstalled () {
  const installedFile = new URL('../../node_modules/.package-lock.json', import.meta.url)
  if (!existsSync(installedFile)) return false
  const wanted = packagesOf(new URL('../../package-lock.json', import.meta.url))
  const installed = packagesOf(installedFile)
  // Optional ones are left out where they are for another platform; '' is the project itself.
  return Object.entries(wanted).every(([path, { version, optional, link }]) =>
    path === '' || link || installed[path]?.version === version || (optional && installed[path] === undefined))
}

function packagesOf (file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages
}
