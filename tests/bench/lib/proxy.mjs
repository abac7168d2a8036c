import { createSocket } from 'node:dgram'
import { seeded } from './numbers.mjs'

const bound = (socket) => new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve))

/** A network in between: passes datagrams on both ways, and loses the share `loss` of them, each way by its own dice. */
export async function lossyProxy(target, { seed = 1 } = {}) {
  const front = createSocket('udp4')
  await bound(front)
  const behind = new Map()
  const dice = { up: seeded(seed), down: seeded(seed + 1) }
  const proxy = { port: front.address().port, loss: 0, passed: 0, lost: 0 }
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
      socket.on('message', (reply) => lose('down') || front.send(reply, from.port, from.address))
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
