// How the page says when something was written.
import t from 'tap'
import { nearDayOf, whenOf } from '../../web/when.js'

t.test('today by the minute, within a week by its day, before that by the date', t => {
  const now = new Date(2026, 10, 28, 10, 0)
  const at = (...fields: [number, number, number, number, number]): string =>
    whenOf(new Date(...fields).toISOString(), now)
  t.equal(at(2026, 10, 28, 0, 0), '00:00')
  t.equal(at(2026, 10, 28, 9, 59), '09:59')
  t.equal(at(2026, 10, 29, 0, 5), '00:05', "the service's clock is ahead")
  const weekday = (day: number): string =>
    new Intl.DateTimeFormat(undefined, { weekday: 'short' }).format(new Date(2026, 10, day))
  t.equal(at(2026, 10, 27, 23, 59), weekday(27), 'yesterday, a minute before midnight')
  t.equal(at(2026, 10, 22, 0, 0), weekday(22), 'six days ago')
  t.match(at(2026, 10, 21, 23, 59), /21/, 'seven days ago, the day of the week would be of today')
  t.match(at(2026, 1, 3, 12, 0), /3/)
  t.match(at(2025, 10, 29, 12, 0), /2025/, 'a year ago')
  t.end()
})

t.test('today and yesterday have names, the days before and after them have none', t => {
  const at = (day: number, hour: number, minute: number): string | undefined =>
    nearDayOf(new Date(2026, 10, day, hour, minute).toISOString(), new Date(2026, 10, 28, 10, 0))
  t.equal(at(28, 0, 0), 'Today')
  t.equal(at(28, 23, 59), 'Today')
  t.equal(at(27, 23, 59), 'Yesterday')
  t.equal(at(27, 0, 0), 'Yesterday')
  t.equal(at(26, 23, 59), undefined)
  t.equal(at(29, 0, 0), undefined, "the service's clock is ahead")
  t.end()
})
