import type { NetStats } from './meters'

interface Counters {
  at: number
  bytesIn: number
  bytesOut: number
  lost: number
  received: number
  delay: number
  emitted: number
}

type Entry = Record<string, number | string | undefined>

const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null)

/** Turns successive `getStats()` reports into rates. */
export class NetStatsReader {
  private last: Counters | null = null

  reset(): void {
    this.last = null
  }

  read(report: RTCStatsReport, now: number): NetStats {
    let inbound: Entry = {}
    let outbound: Entry = {}
    let pair: Entry = {}
    const byId = new Map<string, Entry>()
    report.forEach((raw: Entry, id: string) => {
      byId.set(id, raw)
      if (raw.type === 'inbound-rtp' && raw.kind === 'video') inbound = raw
      if (raw.type === 'outbound-rtp' && raw.kind === 'video') outbound = raw
      if (raw.type === 'candidate-pair' && raw.state === 'succeeded' && raw.nominated) pair = raw
    })
    const counters: Counters = {
      at: now,
      bytesIn: number(inbound.bytesReceived) ?? 0,
      bytesOut: number(outbound.bytesSent) ?? 0,
      lost: number(inbound.packetsLost) ?? 0,
      received: number(inbound.packetsReceived) ?? 0,
      delay: number(inbound.jitterBufferDelay) ?? 0,
      emitted: number(inbound.jitterBufferEmittedCount) ?? 0,
    }
    const before = this.last
    this.last = counters
    const seconds = before ? (now - before.at) / 1000 : 0
    const rate = (key: 'bytesIn' | 'bytesOut') =>
      before && seconds > 0 ? Math.max(0, ((counters[key] - before[key]) * 8) / seconds) : null
    const packets = before ? counters.received - before.received + (counters.lost - before.lost) : 0
    const emitted = before ? counters.emitted - before.emitted : 0
    const local = byId.get(String(pair.localCandidateId))
    const codec = byId.get(String(inbound.codecId))
    const ms = (value: unknown) => {
      const read = number(value)
      return read === null ? null : read * 1000
    }
    return {
      bitrateBps: rate('bytesIn'),
      lossPercent: before && packets > 0 ? Math.max(0, ((counters.lost - before.lost) / packets) * 100) : null,
      jitterMs: ms(inbound.jitter),
      rttMs: ms(pair.currentRoundTripTime),
      delayMs: before && emitted > 0 ? ((counters.delay - before.delay) / emitted) * 1000 : null,
      decoded: number(inbound.framesDecoded),
      dropped: number(inbound.framesDropped),
      freezes: number(inbound.freezeCount),
      width: number(inbound.frameWidth),
      height: number(inbound.frameHeight),
      codec: typeof codec?.mimeType === 'string' ? codec.mimeType.replace('video/', '') : null,
      path: local ? [local.candidateType, local.protocol].filter(Boolean).join(' ') : null,
      sentFps: number(outbound.framesPerSecond),
      sentBps: rate('bytesOut'),
      sentWidth: number(outbound.frameWidth),
      sentHeight: number(outbound.frameHeight),
    }
  }
}
