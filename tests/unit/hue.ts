// A user's colour and initials in the page.
import t from 'tap'
import { hueOf, lettersOf } from '../../web/hue.js'

t.test('twelve hues, shared evenly by names that differ little', t => {
  for (const nameOf of [(n: number) => `user${n}`, (n: number) => `user-${n}`, String]) {
    const counts = new Map<number, number>()
    for (let n = 0; n < 1200; n++) {
      const hue = hueOf(nameOf(n))
      counts.set(hue, (counts.get(hue) ?? 0) + 1)
    }
    t.same(
      [...counts.keys()].sort((a, b) => a - b),
      [0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330]
    )
    const [least, most] = [Math.min(...counts.values()), Math.max(...counts.values())]
    t.ok(least > 65 && most < 135, `${nameOf(1)} …: ${least} to ${most} of 100 each`)
  }
  t.equal(hueOf('ann'), hueOf('ann'), 'the same name has the same hue')
  t.end()
})

t.test('two letters that tell neighbours apart', t => {
  for (const [user, letters] of [
    ['lady_gaga', 'LG'],
    ['ann', 'AN'],
    ['user1', 'U1'],
    ['user12', 'U2'],
    ['user-26', 'U6'],
    ['team 7 north', 'T7'],
    ['R2 D2', 'RD'],
    ['2026', '20'],
    ['Lena Fischer', 'LF'],
    ['李雷', '李雷'],
    ['x', 'X'],
    ['José 🦊', 'J🦊'],
    ['…', '·']
  ] as const) {
    t.equal(lettersOf(user), letters, user)
  }
  t.end()
})
