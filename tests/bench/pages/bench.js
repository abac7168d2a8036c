// Runs in the browser. Every picture that is sent carries the time at which it was drawn and its number, as 64 black and
// white cells; every picture that comes back is read when it is shown. Both ends share this page's clock.

const now = () => performance.now()
const links = []
let target = {}

/** Cells over the whole picture or over its top: `cols × rows` is always 64. */
const LAYOUTS = {
  strip: { cols: 32, rows: 2, area: (w) => [0, 0, w, 32] },
  grid: { cols: 8, rows: 8, area: (w, h) => [0, 0, w, h] },
  // The test card shows its input in the top right corner, an eighth as wide and high.
  card: { cols: 8, rows: 8, area: (w, h) => [(w * 7) / 8, 0, w / 8, h / 8] },
}

function stampBits(time, number) {
  const bytes = [time >>> 24, time >>> 16, time >>> 8, time, number >>> 16, number >>> 8, number].map((b) => b & 255)
  bytes.push(bytes.reduce((sum, byte) => sum ^ byte, 0x5a))
  return bytes.flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => (byte >> bit) & 1))
}

function readBits(bits) {
  const bytes = Array.from({ length: 8 }, (_, i) => bits.slice(i * 8, i * 8 + 8).reduce((v, bit) => v * 2 + bit, 0))
  if (bytes.slice(0, 7).reduce((sum, byte) => sum ^ byte, 0x5a) !== bytes[7]) return null
  const time = ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0
  return { drawn: time / 10, number: (bytes[4] << 16) | (bytes[5] << 8) | bytes[6] }
}

/** A canvas that is drawn at an even rate: moving squares, and the stamp. */
function startSource({ width, height, fps = 30, layout = 'strip' }) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height })
  document.body.prepend(canvas)
  const x = canvas.getContext('2d', { alpha: false })
  const stream = canvas.captureStream(0)
  const [track] = stream.getVideoTracks()
  const source = { canvas, stream, track, drawn: [], stopped: false }
  const { cols, rows, area } = LAYOUTS[layout]
  const began = now()
  let n = 0
  const draw = () => {
    if (source.stopped) return
    const at = now()
    if (layout === 'strip') {
      x.fillStyle = '#246'
      x.fillRect(0, 0, width, height)
      for (let i = 0; i < 12; i++) {
        x.fillStyle = `hsl(${(n * 3 + i * 30) % 360},80%,50%)`
        x.fillRect((n * 5 + i * 47) % (width - 60), 40 + ((n * 3 + i * 71) % (height - 100)), 60, 60)
      }
    }
    const [left, top, w, h] = area(width, height)
    stampBits(Math.floor(at * 10) >>> 0, n & 0xffffff).forEach((bit, i) => {
      x.fillStyle = bit ? '#fff' : '#000'
      x.fillRect(left + ((i % cols) * w) / cols, top + (Math.floor(i / cols) * h) / rows, w / cols, h / rows)
    })
    track.requestFrame()
    source.drawn.push(at)
    n += 1
    setTimeout(draw, Math.max(0, began + (n * 1000) / fps - now()))
  }
  draw()
  return source
}

/** Reads every picture when it is shown. */
function startViewer(link, stream, layout) {
  const video = Object.assign(document.createElement('video'), { autoplay: true, muted: true, playsInline: true })
  document.body.append(video)
  video.srcObject = stream
  link.video = video
  const { cols, rows, area } = LAYOUTS[layout ?? 'strip']
  const x = new OffscreenCanvas(cols, rows).getContext('2d', { willReadFrequently: true })
  x.imageSmoothingEnabled = false
  const shown = (_, frame) => {
    const at = now()
    link.times.first ??= at
    if (link.ended) return
    video.requestVideoFrameCallback(shown)
    const sample = { at, received: frame.receiveTime, presented: frame.presentationTime, rtp: frame.rtpTimestamp }
    if (layout) {
      const [left, top, w, h] = area(video.videoWidth, video.videoHeight)
      x.drawImage(video, left, top, w, h, 0, 0, cols, rows)
      const { data } = x.getImageData(0, 0, cols, rows)
      const stamp = readBits(Array.from({ length: 64 }, (__, i) => (data[i * 4 + 1] > 127 ? 1 : 0)))
      if (!stamp) {
        link.unreadable += 1
        return
      }
      Object.assign(sample, stamp)
    }
    link.samples.push(sample)
  }
  video.requestVideoFrameCallback(shown)
}

/** Offers one codec only, so that it is the one that is used. */
function prefer(transceiver, codec) {
  if (!codec) return
  const { codecs } = RTCRtpReceiver.getCapabilities('video')
  const mime = `video/${codec}`.toLowerCase()
  const chosen = codecs.filter(({ mimeType, sdpFmtpLine = '' }) => {
    const type = mimeType.toLowerCase()
    const baseline = /packetization-mode=1/.test(sdpFmtpLine) && /profile-level-id=42e01f/.test(sdpFmtpLine)
    return type === 'video/rtx' || (type === mime && (codec !== 'H264' || baseline))
  })
  transceiver.setCodecPreferences(chosen)
}

async function capRate(sender, kbps = 4000) {
  const parameters = sender.getParameters()
  if (!parameters.encodings?.[0]) return
  parameters.encodings[0].maxBitrate = kbps * 1000
  parameters.degradationPreference = 'maintain-resolution'
  await sender.setParameters(parameters)
}

function newLink(options) {
  const link = { options, times: { click: now() }, samples: [], unreadable: 0, messages: [], pongs: [], ended: false }
  links.push(link)
  link.index = links.length - 1
  return link
}

const call = (path, method, body) =>
  fetch(`${target.origin}${path}`, {
    method,
    headers: { authorization: `Bearer ${target.token}`, ...(body ? { 'content-type': 'application/json' } : {}) },
    body: body && JSON.stringify(body),
  })

/** Through the server and back. `source` sends, `read` reads what returns; `port` replaces the server's media port. */
async function open(options) {
  const link = newLink(options)
  const { times } = link
  const pc = new RTCPeerConnection({ iceServers: [] })
  link.pc = pc
  link.channel = pc.createDataChannel('parameters', { ordered: true })
  link.channel.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    if (message.type === 'pong') link.pongs.push(now() - message.ping)
    else link.messages.push({ at: now(), ...message })
  }
  let transceiver
  if (options.source) {
    link.source = startSource(options.source)
    transceiver = pc.addTransceiver(link.source.track, { direction: 'sendrecv', streams: [link.source.stream] })
    await capRate(transceiver.sender)
  } else {
    transceiver = pc.addTransceiver('video', { direction: 'recvonly' })
  }
  prefer(transceiver, options.codec)
  pc.ontrack = ({ track }) => {
    if (options.view !== false) startViewer(link, new MediaStream([track]), options.read)
  }
  pc.onconnectionstatechange = () => {
    if (pc.connectionState === 'connected') times.connected ??= now()
  }
  const queue = []
  const trickle = (candidate) =>
    call(`/api/v1/webrtc/offer/${link.id}`, 'PATCH', { candidates: [candidate.toJSON()] }).catch(() => {})
  pc.onicecandidate = ({ candidate }) => {
    // Behind a proxy the server must learn our address from the proxy alone.
    if (!candidate || options.port) return
    if (link.id) trickle(candidate)
    else queue.push(candidate)
  }
  await pc.setLocalDescription()
  times.offer = now()
  const response = await call('/api/v1/webrtc/offer', 'POST', {
    sdp: pc.localDescription.sdp,
    type: 'offer',
    initialParameters: options.parameters ?? {},
  })
  if (!response.ok) throw new Error(`offer: ${response.status} ${await response.text()}`)
  const answer = await response.json()
  times.answer = now()
  link.id = answer.sessionId
  for (const candidate of queue.splice(0)) trickle(candidate)
  let { sdp } = answer
  if (options.port) {
    let kept = false
    sdp = sdp.replace(/^a=candidate:\S+ \d+ udp (\d+) \S+ \d+ typ host.*\r\n/gim, (line) => {
      const first = !kept
      kept = true
      return first ? line.replace(/(udp \d+) \S+ \d+/i, `$1 127.0.0.1 ${options.port}`) : ''
    })
  }
  await pc.setRemoteDescription({ type: 'answer', sdp })
  return { index: link.index, id: link.id }
}

/** The same way without a server: two connections of this page. */
async function openFloor(options) {
  const link = newLink(options)
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()]
  link.pc = b
  link.sender = a
  a.onicecandidate = ({ candidate }) => candidate && b.addIceCandidate(candidate)
  b.onicecandidate = ({ candidate }) => candidate && a.addIceCandidate(candidate)
  link.source = startSource(options.source)
  const transceiver = a.addTransceiver(link.source.track, { direction: 'sendonly', streams: [link.source.stream] })
  await capRate(transceiver.sender)
  prefer(transceiver, options.codec)
  b.ontrack = ({ track, receiver }) => {
    receiver.jitterBufferTarget = 0
    startViewer(link, new MediaStream([track]), options.read)
  }
  await a.setLocalDescription()
  await b.setRemoteDescription(a.localDescription)
  await b.setLocalDescription()
  await a.setRemoteDescription(b.localDescription)
  return { index: link.index }
}

async function stats(link) {
  const reports = [...(await link.pc.getStats()).values()]
  const inbound = reports.find((r) => r.type === 'inbound-rtp' && r.kind === 'video') ?? {}
  const sending = link.sender ? [...(await link.sender.getStats()).values()] : reports
  const outbound = sending.find((r) => r.type === 'outbound-rtp' && r.kind === 'video') ?? {}
  const codec = reports.find((r) => r.id === inbound.codecId)
  return {
    codec: codec?.mimeType,
    received: inbound.framesReceived,
    decoded: inbound.framesDecoded,
    dropped: inbound.framesDropped,
    freezes: inbound.freezeCount,
    frozen: inbound.totalFreezesDuration,
    jitterDelay: inbound.jitterBufferDelay,
    jitterCount: inbound.jitterBufferEmittedCount,
    decodeTime: inbound.totalDecodeTime,
    lost: inbound.packetsLost,
    packets: inbound.packetsReceived,
    bytes: inbound.bytesReceived,
    nacks: inbound.nackCount,
    plis: inbound.pliCount,
    keyframes: inbound.keyFramesDecoded,
    encoded: outbound.framesEncoded,
    sentFrames: outbound.framesSent,
    encodeTime: outbound.totalEncodeTime,
  }
}

const latest = { use: (to) => (target = to), open, openFloor }

/** Forgets what was seen so far; what follows is measured. */
latest.reset = async (index) => {
  const link = links[index]
  link.before = await stats(link)
  link.since = now()
  link.samples = []
  link.messages = []
  link.pongs = []
  link.unreadable = 0
  if (link.source) link.source.drawn = []
}

latest.report = async (index) => {
  const link = links[index]
  const [before, after] = [link.before ?? {}, await stats(link)]
  const change = Object.fromEntries(
    Object.entries(after).map(([key, value]) => [key, typeof value === 'number' ? value - (before[key] ?? 0) : value]),
  )
  return {
    seconds: (now() - (link.since ?? link.times.click)) / 1000,
    times: link.times,
    state: link.pc.connectionState,
    samples: link.samples,
    unreadable: link.unreadable,
    drawn: link.source?.drawn ?? [],
    messages: link.messages,
    pongs: link.pongs,
    size: [link.video?.videoWidth, link.video?.videoHeight],
    change,
  }
}

latest.times = (index) => links[index].times
latest.send = (index, message) => links[index].channel.send(JSON.stringify(message))
latest.ping = (index) => links[index].channel.send(JSON.stringify({ _ping: now() }))

latest.close = async (index, { tell = true } = {}) => {
  const link = links[index]
  link.ended = true
  if (link.source) {
    link.source.stopped = true
    link.source.track.stop()
    link.source.canvas.remove()
  }
  link.video?.remove()
  link.sender?.close()
  link.pc.close()
  if (tell && link.id) await call(`/api/v1/webrtc/offer/${link.id}`, 'DELETE')
}

/** One visit: offer, connection, first picture, end. */
latest.visit = async (options, tell) => {
  const { index } = await open(options)
  const link = links[index]
  const end = now() + 15_000
  while (!link.times.first && now() < end) await new Promise((resolve) => setTimeout(resolve, 10))
  const took = link.times.first ? link.times.first - link.times.offer : null
  await latest.close(index, { tell })
  links[index] = null
  return took
}

globalThis.bench = latest
