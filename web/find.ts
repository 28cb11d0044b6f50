// Finds the elements that a part of the page works with. A missing one is a mistake in chat.html,
// noticed when the page starts.

/** @throws Error when there is no such element of that type */
export function find<E extends Element>(
  type: new () => E,
  selector: string,
  root: ParentNode = document
): E {
  const element = root.querySelector(selector)
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} "${selector}"`)
  return element
}
