// When something was, as briefly as a narrow column needs it: today by the minute, within a week by
// the day of the week, and before that by the date.
const DAY_MS = 24 * 60 * 60_000
/** The same day of the week a week ago would be taken for today. */
const WEEK_DAYS = 6

export const minuteFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23'
})
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'short' })
const dayFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const yearFormat = new Intl.DateTimeFormat(undefined, { year: 'numeric', month: 'short' })

/** @param at a time as the service writes it */
export function whenOf(at: string, now: Date): string {
  const time = new Date(at)
  const days = Math.round((dayStart(now) - dayStart(time)) / DAY_MS)
  // The service's clock may be ahead.
  if (days <= 0) return minuteFormat.format(time)
  if (days <= WEEK_DAYS) return weekdayFormat.format(time)
  return (days < 300 ? dayFormat : yearFormat).format(time)
}

/** Days of 23 and 25 hours begin at their midnight as well; the difference is rounded. */
const dayStart = (time: Date): number =>
  new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime()
