// Makes a failing plan short enough for a person to read: takes out actions, ever fewer at a time,
// as long as the run still fails in the same way (delta debugging; Zeller and Hildebrandt, 2002).
import { type Action, type Plan } from './plan.js'
import { type Outcome } from './run.js'

/**
 * @param run a run of a plan
 * @param hasTime whether to go on
 * @returns the shortest plan that was found, and its outcome
 */
export async function shrink(
  failed: Outcome,
  run: (plan: Plan) => Promise<Outcome>,
  hasTime: () => boolean
): Promise<Outcome> {
  let best = failed
  const kind = kindOf(failed.violation)
  const attempt = async (plan: Plan): Promise<boolean> => {
    const outcome = await run(plan)
    if (outcome.violation === undefined || kindOf(outcome.violation) !== kind) return false
    best = outcome
    return true
  }
  for (
    let size = Math.ceil(best.plan.actions.length / 2);
    size >= 1 && hasTime();
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let isShorter = true; isShorter && hasTime();) {
      isShorter = false
      for (let from = 0; from < best.plan.actions.length && hasTime();) {
        const { actions } = best.plan
        const rest: Action[] = [...actions.slice(0, from), ...actions.slice(from + size)]
        if (await attempt({ ...best.plan, actions: rest })) isShorter = true
        else from += size
      }
    }
  }
  return best
}

// Names and numbers differ from run to run; the kind of failure does not.
const kindOf = (violation: string | undefined): string =>
  (violation ?? '')
    .replace(/\d+/g, '')
    .replace(/\b(lobby|kitchen|attic|text|reader-|service-|node-)\b/g, '')
    .split(/\s+/)
    .filter(word => /^[a-z]+$/.test(word))
    .slice(0, 6)
    .join(' ')
