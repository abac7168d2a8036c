import { request } from './http'
import { modeSchema } from './types'
import { z } from './zod'

/** What a session of the server was told, so that its frames can be made again. */

export const SCORE_FORMAT = 'scope-score'
export const SCORE_VERSION = '1.0'
const V1 = '/api/v1'
const MAX_CHANGES = 50_000

const momentSchema = z.looseObject({ frame: z.nullish(z.int()), seconds: z.nullish(z.number()) })

/** What the page reads of a score. The text itself is passed on as it came: numbers must not be rounded on the way. */
export const scoreSchema = z.looseObject({
  format: z.literal(SCORE_FORMAT),
  format_version: z.literal(SCORE_VERSION),
  pipeline_id: z.nullish(z.string()),
  mode: z._default(modeSchema, 'text'),
  load: z._default(z.record(z.string(), z.unknown()), {}),
  frames: z._default(z.int().check(z.minimum(0)), 0),
  exact: z._default(z.boolean(), false),
  why_not: z.nullish(z.string()),
  changes: z.array(momentSchema).check(z.maxLength(MAX_CHANGES)),
})
export type Score = z.infer<typeof scoreSchema>

export const scoresApi = {
  /** The score of a session, as text. */
  async score(sessionId: string, timeoutMs = 10_000): Promise<string> {
    return (await request(`${V1}/sessions/${encodeURIComponent(sessionId)}/score`, { timeoutMs })).text()
  },
}
