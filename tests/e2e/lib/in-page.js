/** Runs in every page before its own scripts: eyes on the video, ears on the data channel. */
;(() => {
  const sent = []
  const peers = []
  const channels = []
  const e2e = { sent, peers, channels }
  window.e2e = e2e

  const NativePeer = window.RTCPeerConnection
  if (NativePeer) {
    window.RTCPeerConnection = class extends NativePeer {
      constructor(...args) {
        super(...args)
        peers.push(this)
      }
      createDataChannel(...args) {
        const channel = super.createDataChannel(...args)
        channels.push(channel)
        return channel
      }
    }
    const send = RTCDataChannel.prototype.send
    RTCDataChannel.prototype.send = function (data) {
      try {
        sent.push(JSON.parse(data))
      } catch {
        sent.push(data)
      }
      return send.call(this, data)
    }
  }

  /** A message as if the server had sent it. */
  e2e.inject = (message) =>
    channels.at(-1).dispatchEvent(new MessageEvent('message', { data: JSON.stringify(message) }))

  const canvases = new Map()
  function grab(video, width, height, from = [0, 0, 1, 1]) {
    const key = `${width}x${height}`
    if (!canvases.has(key)) {
      canvases.set(key, new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true }))
    }
    const context = canvases.get(key)
    const [x, y, w, h] = from
    const { videoWidth, videoHeight } = video
    if (videoWidth === 0) return null
    context.drawImage(video, x * videoWidth, y * videoHeight, w * videoWidth, h * videoHeight, 0, 0, width, height)
    return context.getImageData(0, 0, width, height).data
  }
  const find = (id) => document.querySelector(`[data-testid="${id}"]`) ?? document.querySelector(id)

  function mean(data) {
    const sum = [0, 0, 0]
    for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c]
    return sum.map((value) => value / (data.length / 4))
  }
  const lumas = (data) => {
    const out = new Float32Array(data.length / 4)
    for (let i = 0; i < out.length; i++) {
      out[i] = 0.299 * data[i * 4] + 0.587 * data[i * 4 + 1] + 0.114 * data[i * 4 + 2]
    }
    return out
  }
  /** The middle of the picture: neither the counter, nor the reference, nor the input of the test card. */
  const MIDDLE = [0.1, 0.3, 0.8, 0.5]

  e2e.px = (id, middle = false) => {
    const data = grab(find(id), 64, 64, middle ? MIDDLE : undefined)
    if (!data) return null
    const y = lumas(data)
    const average = y.reduce((a, b) => a + b, 0) / y.length
    const variance = y.reduce((a, b) => a + (b - average) ** 2, 0) / y.length
    return { rgb: mean(data), variance, luma: average }
  }

  /** 8×8 cells, brighter than their mean or not, as 64 characters. */
  e2e.hash = (video) => {
    const data = grab(video, 8, 8)
    if (!data) return null
    const y = lumas(data)
    const average = y.reduce((a, b) => a + b, 0) / y.length
    return Array.from(y, (value) => (value > average ? '1' : '0')).join('')
  }

  e2e.motion = async (id, ms) => {
    const before = grab(find(id), 64, 64)
    await new Promise((resolve) => setTimeout(resolve, ms))
    const after = grab(find(id), 64, 64)
    // Without a picture nothing moves: a source that is just being changed has none.
    return before && after ? difference(lumas(before), lumas(after)) : 0
  }
  function difference(before, after) {
    return before.reduce((sum, value, i) => sum + Math.abs(value - after[i]), 0) / before.length
  }

  /** Runs `look` on each of the next `count` frames that are presented. */
  const each = (video, count, look) =>
    new Promise((resolve) => {
      const seen = []
      const next = () =>
        video.requestVideoFrameCallback(() => {
          const found = look()
          if (found) seen.push(found)
          if (seen.length < count) next()
          else resolve(seen)
        })
      next()
    })

  /** Mean colours of 8×8 parts of each of the next frames. */
  e2e.features = (id, count) => {
    const video = find(id)
    return each(video, count, () => {
      const data = grab(video, 8, 8)
      return data && Array.from({ length: 64 * 3 }, (_, i) => data[Math.floor(i / 3) * 4 + (i % 3)])
    })
  }

  const MAP = [64, 36]
  /** Luma of the picture's cells. */
  function lumaMap(video) {
    const [w, h] = MAP
    // What is wider or higher than 16:9 is cut as the page cuts it.
    const { videoWidth, videoHeight } = video
    const share = Math.min(1, videoWidth / videoHeight / (w / h))
    const data = grab(video, w, h, [0, (1 - share) / 2, 1, share])
    return data && lumas(data)
  }
  /** Where there are edges: Sobel's gradient. */
  function edgeMap(y) {
    const [w, h] = MAP
    const map = new Float32Array(w * h)
    for (let r = 1; r < h - 1; r++) {
      for (let c = 1; c < w - 1; c++) {
        const at = (dr, dc) => y[(r + dr) * w + c + dc]
        const gx = at(-1, 1) + 2 * at(0, 1) + at(1, 1) - at(-1, -1) - 2 * at(0, -1) - at(1, -1)
        const gy = at(1, -1) + 2 * at(1, 0) + at(1, 1) - at(-1, -1) - 2 * at(-1, 0) - at(-1, 1)
        map[r * w + c] = Math.hypot(gx, gy)
      }
    }
    return map
  }
  function correlation(a, b) {
    const centre = (values) => {
      const average = values.reduce((sum, value) => sum + value, 0) / values.length
      return values.map((value) => value - average)
    }
    const dot = (p, q) => p.reduce((sum, value, i) => sum + value * q[i], 0)
    const [p, q] = [centre(a), centre(b)]
    return dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q) || 1)
  }
  const together = (maps) => maps[0].map((_, i) => maps.reduce((sum, map) => sum + map[i], 0) / maps.length)

  /** How much two videos, each over its next frames, have their edges and their bright parts in the same places: 1 all, 0 none. */
  e2e.sameLayout = async (ids, count) => {
    const maps = await Promise.all(ids.map(find).map((video) => each(video, count, () => lumaMap(video))))
    return {
      edges: correlation(...maps.map((frames) => together(frames.map(edgeMap)))),
      luma: correlation(...maps.map(together)),
    }
  }

  /** The number in the sixteen cells of the test card's bottom row. */
  function counter(video) {
    const cell = video.videoWidth / 16 / video.videoHeight
    const data = grab(video, 160, 8, [0, 1 - cell * 0.7, 1, cell * 0.4])
    if (!data) return null
    let value = 0
    for (let bit = 0; bit < 16; bit++) {
      const i = (4 * 160 + bit * 10 + 5) * 4
      value = value * 2 + (data[i + 1] > 128 ? 1 : 0)
    }
    return value
  }
  e2e.counter = (id) => counter(find(id))

  /** Every presented frame from now until `stop`: time, colour of the middle, counter, hash. */
  e2e.watch = (id) => {
    const video = find(id)
    const frames = []
    let on = true
    const next = () =>
      video.requestVideoFrameCallback((now, { presentedFrames }) => {
        if (!on) return
        const rgb = mean(grab(video, 16, 16, MIDDLE))
        frames.push({ at: now, presented: presentedFrames, rgb, counter: counter(video), hash: e2e.hash(video) })
        next()
      })
    next()
    return {
      frames,
      stop() {
        on = false
        return frames
      },
    }
  }

  /** Presented frames a second. */
  e2e.vfps = async (id, seconds) => {
    const video = find(id)
    const first = await new Promise((resolve) => video.requestVideoFrameCallback((at, m) => resolve([at, m])))
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    const last = await new Promise((resolve) => video.requestVideoFrameCallback((at, m) => resolve([at, m])))
    return ((last[1].presentedFrames - first[1].presentedFrames) * 1000) / (last[0] - first[0])
  }

  e2e.states = () => {
    const chip = find('stream-state')
    const words = []
    new MutationObserver(() => words.push(find('stream-state')?.dataset.state)).observe(chip.parentElement, {
      attributes: true,
      attributeFilter: ['data-state'],
      subtree: true,
    })
    e2e.words = words
  }
})()
