/** What the test card shows for a prompt, computed independently of the server. */

/** 32-bit FNV-1a of the trimmed text without its last four bits, modulo 360. */
export function hueOf(text) {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text.trim())) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return (hash >>> 4) % 360
}

/** HSL with 70 % saturation and 55 % lightness, as 0…255. */
function fromHue(hue) {
  const amplitude = 0.7 * Math.min(0.55, 0.45)
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12
    return 255 * (0.55 - amplitude * Math.max(-1, Math.min(k - 3, 9 - k, 1)))
  })
}

/** The colour of weighted prompts (`[text, weight]…`) at a noise scale. */
export function cardColour(prompts, noise = 0.7) {
  const total = prompts.reduce((sum, [, weight]) => sum + weight, 0)
  const colours = prompts.map(([text]) => fromHue(hueOf(text)))
  return [0, 1, 2].map(
    (c) => prompts.reduce((sum, [, weight], i) => sum + (colours[i][c] * weight) / total, 0) * (0.3 + 0.7 * noise),
  )
}

export function hue([r, g, b]) {
  const max = Math.max(r, g, b)
  const span = max - Math.min(r, g, b)
  if (span === 0) return 0
  const sector = max === r ? ((g - b) / span + 6) % 6 : max === g ? (b - r) / span + 2 : (r - g) / span + 4
  return sector * 60
}

export function hueDistance(a, b) {
  const d = Math.abs(a - b) % 360
  return Math.min(d, 360 - d)
}

/** Largest difference of a channel. */
export const apart = (a, b) => Math.max(...a.map((value, i) => Math.abs(value - b[i])))

export const luma = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b
