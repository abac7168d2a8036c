export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until `ready` returns something true, and returns that; undefined when `timeout` ms pass before. */
export async function eventually(ready, timeout, step = 50) {
  const end = performance.now() + timeout
  while (performance.now() < end) {
    const value = await ready()
    if (value) return value
    await sleep(step)
  }
  return undefined
}
