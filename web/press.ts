// Buttons that ask the service for something.
import { find } from './find.js'

/**
 * Calls `act` for a press, unless the last one is still in progress or the button is marked as
 * disabled.
 */
export function onPress(selector: string, act: () => void | Promise<void>): void {
  const button = find(HTMLButtonElement, selector)
  let isBusy = false
  button.addEventListener('click', async () => {
    if (isBusy || button.ariaDisabled === 'true') return
    isBusy = true
    await act()
    isBusy = false
  })
}
