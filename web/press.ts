// Buttons that ask the service for something.
import { find } from './find.js'

/**
 * Calls `act` for a press, but not while the last one is still being worked on, nor while the
 * button is said to be disabled.
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
