/** The stories' times are for an idle machine; here the browser, the codecs and the server share a few cores. */
export const SLOW = Number(process.env.E2E_SLOW ?? 3)

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Polls until `check` returns something truthy, or fails with what it saw last. A check that throws is not true yet. */
export async function until(what, check, ms = 5000, seen = undefined) {
  const end = Date.now() + ms
  for (;;) {
    let value
    let thrown
    try {
      value = await check()
    } catch (error) {
      thrown = error
    }
    if (value) return value
    if (Date.now() > end) {
      if (thrown) throw new Error(`${what}: not within ${ms} ms`, { cause: thrown })
      const last = seen ? await seen() : value
      throw new Error(`${what}: not within ${ms} ms; last seen: ${JSON.stringify(last)}`)
    }
    await sleep(60)
  }
}
