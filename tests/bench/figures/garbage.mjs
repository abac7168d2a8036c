// Two hundred requests that make no sense: each must be refused with a status of the 400s, and nothing else may happen.
import { median, round, seeded } from '../lib/numbers.mjs'
import { rssMib, threads } from '../lib/proc.mjs'
import { TOKEN } from '../lib/server.mjs'
import { sleep } from '../lib/wait.mjs'

const REQUESTS = 200
const dice = seeded(7)
const pick = (list) => list[Math.floor(dice() * list.length)]
const noise = (bytes) => Uint8Array.from({ length: bytes }, () => Math.floor(dice() * 256))
const json = (value) => ({ body: JSON.stringify(value), type: 'application/json' })

const SDP = [
  '',
  'hello',
  'v=0',
  'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n',
  'm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendrecv\r\n',
  `v=0\r\n${'a=x\r\n'.repeat(5000)}`,
  `v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 ${'GG:'.repeat(31)}GG\r\nm=video 9 UDP/TLS/RTP/SAVPF 999\r\nc=IN IP4 999.0.0.1\r\n`,
  '\u0000\u0001\uffff',
]

const KINDS = {
  'bad SDP': () => ['POST', '/api/v1/webrtc/offer', json({ sdp: pick(SDP), type: 'offer' })],
  'wrong offer': () => [
    'POST',
    '/api/v1/webrtc/offer',
    json(
      pick([
        {},
        [],
        null,
        3,
        'x',
        { sdp: 1, type: 2 },
        { sdp: SDP[3], type: 'answer' },
        { sdp: SDP[3], type: 'offer', initialParameters: 3 },
      ]),
    ),
  ],
  'broken JSON': () => [
    'POST',
    pick(['/api/v1/webrtc/offer', '/api/v1/pipeline/load', '/api/v1/session/parameters']),
    {
      body: pick(['{', '{"a":', '', 'null', '[1,', '{"a":1}}', noise(200), `${'['.repeat(20000)}`]),
      type: 'application/json',
    },
  ],
  'wrong type': () => [
    'POST',
    '/api/v1/pipeline/load',
    { body: '{"pipeline_ids":["passthrough"]}', type: pick(['text/plain', 'application/xml', 'multipart/form-data']) },
  ],
  'bad load': () => [
    'POST',
    '/api/v1/pipeline/load',
    json(
      pick([
        {},
        { pipelines: 3 },
        { pipelines: [{ node_id: 'x' }] },
        { pipeline_ids: [{}] },
        { pipeline_ids: 'passthrough' },
      ]),
    ),
  ],
  'oversized JSON': () => [
    'POST',
    pick(['/api/v1/webrtc/offer', '/api/v1/pipeline/load']),
    { body: `{"sdp":"${'x'.repeat(40 * 1024 * 1024)}"}`, type: 'application/json' },
  ],
  'oversized upload': () => [
    'POST',
    '/api/v1/assets?filename=big.png',
    { body: new Uint8Array(3 * 1024 * 1024), type: 'application/octet-stream' },
  ],
  'no picture': () => [
    'POST',
    `/api/v1/assets?filename=${pick(['a.png', 'b.jpg', 'c.webp'])}`,
    {
      body: pick([noise(3000), new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, ...noise(500)]), 'GIF89a']),
      type: 'application/octet-stream',
    },
  ],
  'bad name': () => [
    'POST',
    `/api/v1/assets?filename=${pick(['../../etc/x.png', '%00.png', '', '/etc/passwd', 'a.exe', encodeURIComponent('..\\..\\x.png')])}`,
    { body: noise(100), type: 'application/octet-stream' },
  ],
  'bad path': () => [
    'GET',
    `/api/v1/assets/${pick(['..%2f..%2f..%2fetc%2fpasswd', '%2e%2e/%2e%2e/etc/passwd', 'nothing.png', '%00'])}`,
    {},
  ],
  'unknown session': () =>
    pick([
      ['PATCH', '/api/v1/webrtc/offer/none', json({ candidates: [{ candidate: 'candidate:x' }] })],
      ['POST', '/api/v1/recordings/none/start', {}],
      ['GET', '/api/v1/recordings/%2e%2e%2f', {}],
    ]),
  'unknown route': () => [
    pick(['GET', 'POST', 'PUT', 'DELETE']),
    `/api/v1/${pick(['nothing', '%ff', 'pipeline', 'webrtc/offer/a/b/c'])}`,
    {},
  ],
}

export default async function garbage({ server: start, result }) {
  const server = await start(['--max-upload-mb', '2'])
  await server.load('passthrough')
  await sleep(1000)
  const memory = () => round(rssMib(server.pid))
  const before = { rss: memory(), threads: threads(server.pid) }
  const kinds = Object.keys(KINDS)
  const tally = new Map(kinds.map((kind) => [kind, new Map()]))
  const odd = []
  const health = []
  for (let n = 0; n < REQUESTS; n++) {
    const kind = kinds[n % kinds.length]
    const [method, path, { body, type }] = KINDS[kind]()
    const headers = { authorization: `Bearer ${TOKEN}`, ...(type ? { 'content-type': type } : {}) }
    const status = await fetch(`${server.origin}${path}`, {
      method,
      headers,
      body,
      signal: AbortSignal.timeout(20_000),
    }).then(
      async (response) => {
        const text = await response.text()
        if (response.status < 400 || response.status > 499)
          odd.push(`${kind}: ${method} ${path} → ${response.status} ${text.slice(0, 80)}`)
        return response.status
      },
      // A server that has seen enough of a body may hang up before it is all sent.
      (error) => `cut off (${error.cause?.code ?? error.name})`,
    )
    tally.get(kind).set(status, (tally.get(kind).get(status) ?? 0) + 1)
    if (n % 10 === 0) {
      const began = performance.now()
      await server.api('/health')
      health.push(performance.now() - began)
    }
  }
  for (const [kind, counts] of tally) {
    result({ kind, answers: [...counts].map(([status, count]) => `${count} × ${status}`).join(', ') })
  }
  await sleep(2000)
  result({
    requests: REQUESTS,
    outside_of_4xx: odd.length,
    for_example: odd.slice(0, 6).join(' ; ') || '–',
    health_median_ms: round(median(health)),
    health_max_ms: round(Math.max(...health)),
    rss_mib: `${before.rss} → ${memory()}`,
    threads: `${before.threads} → ${threads(server.pid)}`,
    alive: server.alive ? 'yes' : 'no',
  })
}
