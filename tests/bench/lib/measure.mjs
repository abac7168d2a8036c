import { gaps, mean, round, sigma, spread } from './numbers.mjs'
import { cpuSeconds } from './proc.mjs'
import { sleep } from './wait.mjs'

/** Until the encoders, the bandwidth estimate and the jitter buffer have settled. */
export const WARM_UP = 4000

/** Measures a link of a page for some seconds, and what the server uses meanwhile. */
export async function window(page, index, seconds, server, { warmUp = WARM_UP, begin = () => {} } = {}) {
  await page.waitForFunction((i) => bench.times(i).first, index, { timeout: 20_000 })
  await sleep(warmUp)
  await page.evaluate((i) => bench.reset(i), index)
  begin()
  const before = server && cpuSeconds(server.pid)
  const began = performance.now()
  await sleep(seconds * 1000)
  const wall = (performance.now() - began) / 1000
  const cpu = server && ((cpuSeconds(server.pid) - before) / wall) * 100
  const report = await page.evaluate((i) => bench.report(i), index)
  return { ...report, cpu }
}

/** Latencies of the pictures that could be read. */
export const latencies = (report) => report.samples.map((sample) => sample.at - sample.drawn)

/** What a window says about the way of the pictures. */
export function journey(report) {
  const { change, samples } = report
  const numbers = samples.map((sample) => sample.number)
  const span = numbers.length ? Math.max(...numbers) - Math.min(...numbers) + 1 : 0
  return {
    ...spread(latencies(report)),
    fps: round(samples.length / report.seconds),
    missed: span - new Set(numbers).size,
    of: span,
    sent: change.sentFrames,
    received: change.received,
    freezes: change.freezes,
    jitter_buffer_ms: round((1000 * change.jitterDelay) / change.jitterCount),
  }
}

/** The mean of a field of the server's once-a-second reports. */
export function served(report, field) {
  const values = report.messages.filter(({ type }) => type === 'metrics').map((message) => message[field])
  return mean(values.filter((value) => typeof value === 'number'))
}

/** By how much a counter of the server's reports grew. */
export function growth(report, read) {
  const values = report.messages.filter(({ type }) => type === 'metrics').map(read)
  return values.length > 1 ? values.at(-1) - values[0] : null
}

/** Evenness: standard deviations of intervals, in ms. */
export function evenness(report) {
  const of = (field) => round(sigma(gaps(report.samples.map((sample) => sample[field]).filter(Number.isFinite))), 2)
  return { arrived: of('received'), shown: of('presented'), callback: of('at') }
}

export const dropsOf = (report) => {
  const last = report.messages.filter(({ type }) => type === 'metrics')
  if (last.length < 2) return null
  const [from, to] = [last[0].drops, last.at(-1).drops]
  const grown = Object.keys(to).map((cause) => [cause, to[cause] - from[cause]])
  return (
    grown
      .filter(([, count]) => count > 0)
      .map(([cause, count]) => `${cause} ${count}`)
      .join(', ') || 'none'
  )
}
