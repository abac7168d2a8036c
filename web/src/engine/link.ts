import type { Answer, Params } from '../api/types'

/** One WebRTC connection to the server: offer, trickle, data channel, ICE restart. Knows nothing of pipelines. */

export interface LinkApi {
  iceServers(signal?: AbortSignal): Promise<RTCIceServer[]>
  offer(body: { sdp: string; type: string; initialParameters: Params }, signal?: AbortSignal): Promise<Answer>
  restartIce(sessionId: string, sdp: string, signal?: AbortSignal): Promise<Answer>
  candidates(sessionId: string, candidates: RTCIceCandidateInit[]): Promise<void>
  hangUp(sessionId: string, keepalive?: boolean): Promise<void>
}

export interface LinkEvents {
  stream(stream: MediaStream): void
  state(state: RTCPeerConnectionState): void
  channelOpen(channel: RTCDataChannel): void
  message(message: Params): void
}

export type PeerFactory = (config: RTCConfiguration) => RTCPeerConnection

const MAX_BITRATE = 4_000_000

/** VP8 first (every build encodes and decodes it), H.264 next, the rest behind them. */
function preferCodecs(transceiver: RTCRtpTransceiver): void {
  const all = globalThis.RTCRtpReceiver?.getCapabilities?.('video')?.codecs
  if (!all) return
  const rank = (codec: { mimeType: string }) => {
    const type = codec.mimeType.toLowerCase()
    if (type === 'video/vp8') return 0
    if (type === 'video/h264') return 1
    return /\/(rtx|red|ulpfec|flexfec-03)$/.test(type) ? 2 : 3
  }
  const wanted = all.filter((codec) => rank(codec) < 3).sort((a, b) => rank(a) - rank(b))
  try {
    transceiver.setCodecPreferences(wanted)
  } catch {
    // An older browser keeps its own order; the server still picks VP8 or H.264.
  }
}

async function tuneSender(sender: RTCRtpSender): Promise<void> {
  const parameters = sender.getParameters() as RTCRtpSendParameters & {
    degradationPreference?: RTCDegradationPreference
  }
  const [encoding] = parameters.encodings ?? []
  if (!encoding) return
  encoding.maxBitrate = MAX_BITRATE
  parameters.degradationPreference = 'maintain-resolution'
  await sender.setParameters(parameters).catch(() => undefined)
}

/** Shows frames as soon as they are decoded: a live instrument prefers a rare stutter to a constant delay. */
function tuneReceiver(receiver: RTCRtpReceiver): void {
  const tunable = receiver as RTCRtpReceiver & { playoutDelayHint?: number }
  if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0
  if ('playoutDelayHint' in tunable) tunable.playoutDelayHint = 0
}

export class Link {
  sessionId: string | null = null
  private pc: RTCPeerConnection | null = null
  private sender: RTCRtpSender | null = null
  private queued: RTCIceCandidateInit[] = []
  private sending = false

  constructor(
    private readonly api: LinkApi,
    private readonly createPeer: PeerFactory,
    private readonly events: LinkEvents,
  ) {}

  async open(track: MediaStreamTrack | null, initialParameters: Params, signal: AbortSignal): Promise<void> {
    const iceServers = await this.api.iceServers(signal).catch((error) => {
      if (signal.aborted) throw error
      return []
    })
    signal.throwIfAborted()
    const pc = this.createPeer({ iceServers, bundlePolicy: 'max-bundle' })
    this.pc = pc
    this.listen(pc)
    const transceiver = track
      ? pc.addTransceiver(track, { direction: 'sendrecv', streams: [new MediaStream([track])] })
      : pc.addTransceiver('video', { direction: 'sendrecv' })
    this.sender = transceiver.sender
    preferCodecs(transceiver)
    const channel = pc.createDataChannel('parameters', { ordered: true })
    channel.onopen = () => this.events.channelOpen(channel)
    channel.onmessage = (event) => this.receive(event.data)
    await pc.setLocalDescription(await pc.createOffer())
    signal.throwIfAborted()
    const local = pc.localDescription
    if (!local) throw new Error('The browser made no offer')
    const answer = await this.api.offer({ sdp: local.sdp, type: local.type, initialParameters }, signal)
    this.sessionId = answer.sessionId
    if (signal.aborted) {
      await this.close()
      signal.throwIfAborted()
    }
    await pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp })
    await tuneSender(transceiver.sender)
    tuneReceiver(transceiver.receiver)
    void this.trickle()
  }

  /** Renews the ICE transport of the same session with a new offer. */
  async restartIce(signal: AbortSignal): Promise<void> {
    const { pc, sessionId } = this
    if (!pc || !sessionId) throw new Error('There is no session to restart')
    await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }))
    try {
      const answer = await this.api.restartIce(sessionId, pc.localDescription?.sdp ?? '', signal)
      await pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp })
    } catch (error) {
      await pc.setLocalDescription({ type: 'rollback' }).catch(() => undefined)
      throw error
    }
    void this.trickle()
  }

  async replaceTrack(track: MediaStreamTrack | null): Promise<void> {
    await this.sender?.replaceTrack(track)
  }

  get connected(): boolean {
    return this.pc?.connectionState === 'connected'
  }

  async stats(): Promise<RTCStatsReport | null> {
    return this.pc && this.pc.connectionState !== 'closed' ? this.pc.getStats() : null
  }

  /** Closes this side at once and tells the server; never fails. */
  async close(): Promise<void> {
    const { pc, sessionId } = this
    this.pc = null
    this.sender = null
    this.sessionId = null
    if (pc) {
      pc.onconnectionstatechange = null
      pc.onicecandidate = null
      pc.ontrack = null
      pc.close()
    }
    if (sessionId) await this.api.hangUp(sessionId).catch(() => undefined)
  }

  /** Good-bye while the page unloads. */
  abandon(): void {
    if (this.sessionId) void this.api.hangUp(this.sessionId, true).catch(() => undefined)
  }

  private listen(pc: RTCPeerConnection): void {
    pc.ontrack = (event) => {
      if (event.track.kind === 'video') this.events.stream(event.streams[0] ?? new MediaStream([event.track]))
    }
    pc.onconnectionstatechange = () => this.events.state(pc.connectionState)
    pc.onicecandidate = (event) => {
      if (!event.candidate?.candidate) return
      this.queued.push(event.candidate.toJSON())
      void this.trickle()
    }
  }

  private receive(data: unknown): void {
    if (typeof data !== 'string') return
    try {
      const message: unknown = JSON.parse(data)
      if (message && typeof message === 'object' && !Array.isArray(message)) this.events.message(message as Params)
    } catch {
      // A message that is not JSON is not ours.
    }
  }

  /** Sends waiting candidates in batches; one PATCH at a time keeps their order. */
  private async trickle(): Promise<void> {
    if (this.sending || !this.sessionId) return
    this.sending = true
    try {
      while (this.queued.length > 0 && this.sessionId) {
        const batch = this.queued.splice(0)
        await this.api.candidates(this.sessionId, batch).catch(() => undefined)
      }
    } finally {
      this.sending = false
    }
  }
}
