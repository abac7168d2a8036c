import { request } from './http'
import { assetSchema } from './types'
import { z } from './zod'

/** Films that the server makes of scores, frame for frame and without a clock. */

const RENDERS = '/api/v1/renders'

export const renderSchema = z.looseObject({
  id: z.string(),
  pipeline_id: z.catch(z.string(), ''),
  state: z.enum(['rendering', 'done', 'failed', 'cancelled']),
  frames: z.number(),
  total_frames: z.number(),
  /** Whether these are the very same frames as those of the show. */
  exact: z.catch(z.boolean(), false),
  /** In the server's words, where they are not. */
  why_not: z.nullish(z.string()),
  /** The film, as long as it is there. */
  asset: z.catch(z.nullish(assetSchema), null),
  error: z.catch(z.nullish(z.looseObject({ code: z.string(), message: z.catch(z.string(), '') })), null),
})
export type Render = z.infer<typeof renderSchema>

export const rendersApi = {
  /** What goes on and what has ended, newest first. */
  async renders(): Promise<Render[]> {
    const response = await request(RENDERS)
    return z.looseObject({ renders: z.array(renderSchema) }).parse(await response.json()).renders
  },
  /** Begins to render a score, which is passed on as it came; over video it needs a clip, by its path on the server. */
  async render(score: string, clip: string | null): Promise<Render> {
    const input = clip === null ? '' : `,"input":${JSON.stringify(clip)}`
    const jsonText = `{"score":${score}${input}}`
    return renderSchema.parse(await (await request(RENDERS, { method: 'POST', jsonText, timeoutMs: 60_000 })).json())
  },
  /** Cancels one that goes on, of which nothing stays; forgets one that has ended, whose film stays. */
  async endRender(id: string): Promise<void> {
    await request(`${RENDERS}/${encodeURIComponent(id)}`, { method: 'DELETE' })
  },
}
export type RendersApi = typeof rendersApi
