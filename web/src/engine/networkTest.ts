/** Which ways a browser has to reach a server: found by asking for candidates, without a session. */

export type Path = 'host' | 'srflx' | 'relay'
export const PATHS: readonly Path[] = ['host', 'srflx', 'relay']
export type Paths = Record<Path, boolean>

const LIMIT_MS = 5000

/** What the paths mean for somebody who sees no picture. */
export function verdict({ host, srflx, relay }: Paths): 'direct' | 'local' | 'none' {
  if (srflx || relay) return 'direct'
  return host ? 'local' : 'none'
}

export async function findPaths(
  iceServers: RTCIceServer[],
  createPeer: (config: RTCConfiguration) => RTCPeerConnection = (config) => new RTCPeerConnection(config),
): Promise<Paths> {
  const found: Paths = { host: false, srflx: false, relay: false }
  const peer = createPeer({ iceServers })
  try {
    const gathered = new Promise<void>((resolve) => {
      setTimeout(resolve, LIMIT_MS)
      peer.onicecandidate = ({ candidate }) => {
        if (!candidate) resolve()
        else if (candidate.type === 'host' || candidate.type === 'srflx' || candidate.type === 'relay') {
          found[candidate.type] = true
        }
      }
    })
    peer.createDataChannel('test')
    await peer.setLocalDescription(await peer.createOffer())
    await gathered
  } finally {
    peer.close()
  }
  return found
}
