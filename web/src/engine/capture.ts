/** Offers a file to the user under a name. */
export function saveAs(url: string, name: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = name
  document.body.append(link)
  link.click()
  link.remove()
}

export function slug(text: string): string {
  return (
    text
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 40) || 'frame'
  )
}

export function timecode(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`
}

/** The frame on screen as a PNG of its native size, and its name; null when there is none. */
export async function screenshot(
  video: HTMLVideoElement,
  { prompt, seed }: { prompt: string; seed: number | null },
  timeMs: number,
): Promise<{ name: string; data: Blob } | null> {
  if (video.videoWidth === 0) return null
  const canvas = document.createElement('canvas')
  canvas.width = video.videoWidth
  canvas.height = video.videoHeight
  canvas.getContext('2d')?.drawImage(video, 0, 0)
  const data = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'))
  const parts = ['scope', slug(prompt), ...(seed === null ? [] : [`seed${seed}`]), timecode(timeMs)]
  return data && { name: `${parts.join('-')}.png`, data }
}
