/** What an address that carries a file looks like. */

export const LINK_KEY = 't'

/** The packed file in an address, or in its part after `#`; null when there is none. */
export function linkIn(address: string): string | null {
  return new RegExp(`(?:^|#|&)${LINK_KEY}=([A-Za-z0-9_-]+)`).exec(address)?.[1] ?? null
}
