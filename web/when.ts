// When something was, in the words of people: today by the minute, "Yesterday", and before that by
// the day of the week or the date. The words are those of the browser's language, like the dates.
const DAY_MS = 24 * 60 * 60_000
/** The same day of the week a week ago would be taken for today. */
const WEEK_DAYS = 6
/** How often the day may have changed: what was "Today" is "Yesterday" then. */
const DAY_CHECK_MS = 60_000

export const minuteFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23'
})
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'short' })
const dayFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const yearFormat = new Intl.DateTimeFormat(undefined, { year: 'numeric', month: 'short' })
const relativeFormat = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' })

/**
 * For a narrow column.
 * @param at a time as the service writes it
 */
export function whenOf(at: string, now: Date): string {
  const time = new Date(at)
  const days = daysBetween(time, now)
  // The service's clock may be ahead.
  if (days <= 0) return minuteFormat.format(time)
  if (days <= WEEK_DAYS) return weekdayFormat.format(time)
  return (days < 300 ? dayFormat : yearFormat).format(time)
}

/** "Today" or "Yesterday"; undefined for any other day. */
export function nearDayOf(at: string, now: Date): string | undefined {
  const days = daysBetween(new Date(at), now)
  if (days !== 0 && days !== 1) return undefined
  const word = relativeFormat.format(-days, 'day')
  return word.charAt(0).toLocaleUpperCase() + word.slice(1)
}

/** Calls it within a minute after each midnight. */
export function onNewDay(listener: () => void): void {
  let day = new Date().getDate()
  setInterval(() => {
    if (new Date().getDate() === day) return
    day = new Date().getDate()
    listener()
  }, DAY_CHECK_MS)
}

const daysBetween = (time: Date, now: Date): number =>
  Math.round((dayStart(now) - dayStart(time)) / DAY_MS)

/** Days of 23 and 25 hours begin at their midnight as well; the difference is rounded. */
const dayStart = (time: Date): number =>
  new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime()
