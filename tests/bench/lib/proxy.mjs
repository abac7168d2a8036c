import { createSocket } from 'node:dgram'
import { seeded } from './numbers.mjs'

const bound = (socket) => new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve))

/**
 * The pictures that passed, in order: when their first and last packets came, and their size. RTP headers are not encrypted;
 * packets of one picture share their time. Retransmissions have a source of their own, with fewer pictures; where they do
 * not, their numbers repeat. Padding is marked.
 */
function pictures(packets) {
  const sources = new Map()
  for (const { ssrc, time } of packets) sources.set(ssrc, (sources.get(ssrc) ?? new Set()).add(time))
  const [video] = [...sources].sort((a, b) => b[1].size - a[1].size)[0] ?? []
  const found = new Map()
  const numbers = new Set()
  for (const { ssrc, time, at, bytes, number, padding } of packets) {
    if (ssrc !== video || padding || numbers.has(number)) continue
    numbers.add(number)
    const picture = found.get(time) ?? { first: at, last: at, bytes: 0, packets: 0 }
    found.set(time, Object.assign(picture, { last: at, bytes: picture.bytes + bytes, packets: picture.packets + 1 }))
  }
  return [...found.values()]
}

/** A network in between: passes datagrams on both ways, and loses the share `loss` of them, each way by its own dice. */
export async function lossyProxy(target, { seed = 1 } = {}) {
  const front = createSocket('udp4')
  await bound(front)
  const behind = new Map()
  const dice = { up: seeded(seed), down: seeded(seed + 1) }
  const proxy = { port: front.address().port, loss: 0, passed: 0, lost: 0 }
  let packets = []
  const note = (data) => {
    // RTP, not RTCP, STUN or DTLS.
    const isRtp = data.length > 12 && data[0] >> 6 === 2 && (data[1] < 192 || data[1] > 223)
    if (!isRtp) return
    packets.push({
      at: performance.now(),
      number: data.readUInt16BE(2),
      time: data.readUInt32BE(4),
      ssrc: data.readUInt32BE(8),
      padding: (data[0] & 0x20) !== 0,
      bytes: data.length,
    })
  }
  proxy.forget = () => {
    packets = []
  }
  proxy.pictures = () => pictures(packets)
  proxy.bytes = () => packets.reduce((sum, { bytes }) => sum + bytes, 0)
  const lose = (way) => {
    const lost = dice[way]() < proxy.loss
    proxy[lost ? 'lost' : 'passed'] += 1
    return lost
  }
  front.on('message', async (data, from) => {
    const key = `${from.address}:${from.port}`
    if (!behind.has(key)) {
      const socket = createSocket('udp4')
      behind.set(
        key,
        bound(socket).then(() => socket),
      )
      socket.on('message', (reply) => {
        note(reply)
        if (!lose('down')) front.send(reply, from.port, from.address)
      })
    }
    const socket = await behind.get(key)
    if (!lose('up')) socket.send(data, target.port, target.address)
  })
  proxy.close = async () => {
    front.close()
    for (const socket of behind.values()) (await socket).close()
  }
  return proxy
}
