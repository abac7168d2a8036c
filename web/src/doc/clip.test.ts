import { describe, expect, it } from 'vitest'
import { clipId, clipName, inputOf, sourceWith, withClip } from './clip'
import { newDoc } from './model'

const { source } = newDoc()
const cloud = withClip(source, clipId('cloud.mp4', '/data/assets/cloud #2.mp4'), '/data/assets/cloud #2.mp4')

describe('the clip of a document', () => {
  it('goes with it when it lies on the server, and not from one browser alone', () => {
    expect(inputOf({ source: cloud })).toEqual({ name: 'cloud.mp4', asset: '/data/assets/cloud #2.mp4' })
    expect(inputOf({ source })).toBeNull()
    expect(inputOf({ source: withClip(source, clipId('mine.mp4', 12)) })).toBeNull()
    expect(inputOf({ source: { ...cloud, kind: 'camera' } })).toBeNull()
  })

  it('is one of another document, unless a camera is pointed at something', () => {
    const input = inputOf({ source: cloud })
    expect(sourceWith(source, input)).toEqual(cloud)
    expect(sourceWith(cloud, input)).toBe(cloud)
    expect(sourceWith(cloud, null)).toBe(cloud)
    const camera = { ...source, kind: 'camera' as const }
    expect(sourceWith(camera, input)).toBe(camera)
  })

  it('leaves nothing of itself behind', () => {
    expect(withClip(cloud, null)).toEqual(source)
    expect(clipName(clipId('a#b.mp4', 7))).toBe('a#b.mp4')
  })
})
