// The kinds of settings: how the text of each is parsed, and how a wrong value is refused.
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'

export type Setting<T> = {
  /** The text that counts if the environment does not set it. */
  readonly default: string
  /** Its unit and purpose, word for word as in compose/README.md. */
  readonly about: string
  /** @throws SettingError that names the setting and what it may be */
  readonly parse: (name: string, text: string) => T
}

export class SettingError extends Error {}

/**
 * A wrong value as an error quotes it. It is quoted only if it is like a right one: it may be a
 * secret that was meant for another setting.
 * @param alike matches values that a mistake makes of right ones
 */
export const quoted = (text: string, alike: RegExp): string =>
  alike.test(text) ? `"${text}"` : 'what it is set to (which may be a secret)'

/** Numbers, also with a unit, signs or points, in any digits. */
const LIKE_NUMBER = /^[-+.,_\s\d]{0,20}\p{L}{0,3}\p{Nd}{0,20}\s?$/u
const LIKE_WORD = /^[a-z]{1,12}$/i
const LIKE_HOST = /^(?:https?:\/\/)?(?:[\w*-]{1,20}\.){1,8}[\w-]{1,20}(?::\d{1,6})?\/?$/
const LIKE_ADDRESS = /^[\da-f.:]{1,45}(?:\/\d{1,6})?$/i

export function text(defaultValue: string, about: string): Setting<string> {
  return { default: defaultValue, about, parse: (_name, text) => text }
}

/** A name or an address to listen on. */
export function host(standard: string, about: string): Setting<string> {
  return {
    default: standard,
    about,
    parse: (name, text) => {
      if (isIP(text) > 0 || /^[a-z\d_-]{1,63}(?:\.[a-z\d_-]{1,63})*\.?$/i.test(text)) return text
      throw new SettingError(`${name} must be an address or a host name, without a port`)
    }
  }
}

export function folder(standard: string, about: string): Setting<string> {
  return {
    default: standard,
    about,
    parse: (name, text) => {
      if (!text.includes('://') && !text.includes('\0')) return text
      throw new SettingError(`${name} must be the path of a folder`)
    }
  }
}

export function oneOf(
  choices: readonly string[],
  defaultValue: string,
  about: string
): Setting<string> {
  return {
    default: defaultValue,
    about,
    parse: (name, text) => {
      if (choices.includes(text)) return text
      throw new SettingError(
        `${name} must be one of ${choices.join(', ')}, not ${quoted(text, LIKE_WORD)}`
      )
    }
  }
}

export function integer(
  defaultValue: number,
  min: number,
  max: number,
  about: string
): Setting<number> {
  return {
    default: String(defaultValue),
    about,
    parse: (name, text) => {
      const number = Number(text)
      if (!/^\d+$/.test(text) || number < min || number > max) {
        throw new SettingError(
          `${name} must be a whole number from ${min} to ${max}, not ${quoted(text, LIKE_NUMBER)}`
        )
      }
      return number
    }
  }
}

/** A number of processes; `auto` stands for one per processor, up to `max`. */
export function processes(defaultValue: number, max: number, about: string): Setting<number> {
  const number = integer(defaultValue, 1, max, about)
  return {
    ...number,
    parse: (name, text) =>
      text === 'auto' ? Math.min(availableParallelism(), max) : number.parse(name, text)
  }
}

const DAYS = /^\d{1,5}(?:\.\d{1,6})?$/
const DAYS_MAX = 36_500

/** Days, with fractions; 0 or nothing, the default, means for ever. */
export function days(about: string): Setting<number> {
  return { default: '', about, parse: (name, text) => (text === '' ? 0 : parseDays(name, text)) }
}

function parseDays(name: string, text: string): number {
  const number = Number(text)
  if (DAYS.test(text) && number <= DAYS_MAX) return number
  throw new SettingError(
    `${name} must be days, from 0 to ${DAYS_MAX}, such as 30 or 0.5, not ${quoted(text, LIKE_NUMBER)}`
  )
}

const LIKE_PREFIX = /^[\w-]{1,12}[:=;][\d.]{0,8}$/

/** `<prefix>:<days>`, comma-separated; empty by default. */
export function daysByPrefix(
  about: string
): Setting<ReadonlyArray<{ readonly prefix: string; readonly days: number }>> {
  return {
    default: '',
    about,
    parse: (name, text) => {
      if (text === '') return []
      return text.split(',').map(pair => {
        const colon = pair.lastIndexOf(':')
        const prefix = pair.slice(0, Math.max(0, colon)).trim()
        if (prefix === '') {
          throw new SettingError(
            `${name} must be prefixes of rooms, each with a colon and days, such as team-:7,audit-:0, not ${quoted(pair, LIKE_PREFIX)}`
          )
        }
        return { prefix, days: parseDays(name, pair.slice(colon + 1).trim()) }
      })
    }
  }
}

const HOST_NAME = /^(?:\*|\.?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])$/

/** Comma-separated host names in lower case; empty by default. */
export function hostNames(about: string): Setting<readonly string[]> {
  return {
    default: '',
    about,
    parse: (name, text) => {
      if (text === '') return []
      const hosts = text.split(',').map(host => host.trim().toLowerCase())
      const wrong = hosts.find(host => !HOST_NAME.test(host))
      if (wrong === undefined) return hosts
      throw new SettingError(
        `${name} must hold host names without a port, such as chat.example.com or [::1], not ${quoted(wrong, LIKE_HOST)}`
      )
    }
  }
}

const ORIGIN = /^https?:\/\/[^/?#@\s]+$/

/** Comma-separated origins as browsers send them, or `*`; empty by default. */
export function origins(about: string): Setting<ReadonlySet<string>> {
  return {
    default: '',
    about,
    parse: (name, text) => {
      const listed = text === '' ? [] : text.split(',').map(origin => origin.trim())
      const wrong = listed.find(
        origin =>
          origin !== '*' &&
          !(ORIGIN.test(origin) && URL.canParse(origin) && new URL(origin).origin === origin)
      )
      if (wrong === undefined) return new Set(listed)
      throw new SettingError(
        `${name} must hold origins such as https://chat.example.com, without a path, or be *, not ${quoted(wrong, LIKE_HOST)}`
      )
    }
  }
}

/** The name of a cookie (RFC 6265 section 4.1.1). */
export function cookieName(defaultValue: string, about: string): Setting<string> {
  return {
    default: defaultValue,
    about,
    parse: (name, text) => {
      if (/^[\w!#$%&'*+.^`|~-]{1,64}$/.test(text)) return text
      throw new SettingError(`${name} must be the name of a cookie, such as token`)
    }
  }
}

/** Comma-separated addresses and networks, as the package proxy-addr takes them. */
export function proxies(about: string): Setting<string> {
  const isProxy = (text: string): boolean => {
    const [address = '', bits, ...more] = text.split('/')
    const family = isIP(address)
    return (
      ['loopback', 'linklocal', 'uniquelocal'].includes(text) ||
      (family > 0 &&
        more.length === 0 &&
        (bits === undefined ||
          (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))))
    )
  }
  return {
    default: '',
    about,
    parse: (name, text) => {
      const wrong = text === '' ? undefined : text.split(',').find(each => !isProxy(each.trim()))
      if (wrong === undefined) return text
      throw new SettingError(
        `${name} must hold addresses and networks such as 10.0.0.0/8, not ${quoted(wrong, LIKE_ADDRESS)}`
      )
    }
  }
}
