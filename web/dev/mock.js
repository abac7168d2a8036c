/**
 * A server inside the page, for looking at the app without one: installed before the app runs, it answers `fetch`,
 * offers an event stream that never speaks, and loops the sent video back through a second peer connection.
 * `window.mock` lets a script break things: `mock.dead`, `mock.stop(code, message)`, `mock.freeze(on)`, `mock.restart()`.
 */
;(() => {
  const state = {
    startTime: 1,
    dead: false,
    authorized: true,
    status: { status: 'not_loaded', pipeline_id: null, load_params: null },
    loadMs: 1500,
    loads: 0,
    offers: 0,
    session: null,
    messages: [],
    failLoad: null,
  }
  const ui = (more) => ({ category: 'configuration', is_load_param: false, ...more })
  const size = (value) => ({
    type: 'integer',
    default: value,
    minimum: 16,
    ui: ui({ is_load_param: true, component: 'resolution', order: 4, multiple_of: 16 }),
  })
  const base = {
    version: '1.0.0',
    supported_modes: ['text', 'video'],
    default_mode: 'video',
    supports_prompts: true,
    supports_cache_management: true,
    default_temporal_interpolation_method: 'slerp',
    default_temporal_interpolation_steps: 4,
    min_dimension: 16,
    usage: [],
  }
  const pipelines = {
    longlive: {
      ...base,
      id: 'longlive',
      name: 'LongLive',
      description: 'Long interactive video from prompts, guided by a clip or camera.',
      estimated_vram_gb: 20,
      config_schema: {
        properties: {
          height: size(320),
          width: size(576),
          denoising_steps: {
            type: 'array',
            items: { type: 'integer' },
            default: [1000, 750, 500, 250],
            title: 'Denoising steps',
            ui: ui({ is_load_param: true, component: 'denoising_steps', order: 6 }),
          },
          base_seed: {
            type: 'integer',
            default: 42,
            minimum: 0,
            ui: ui({ is_load_param: true, label: 'Seed', order: 5 }),
          },
          noise_scale: {
            type: 'number',
            default: 0.7,
            minimum: 0,
            maximum: 1,
            title: 'Noise scale',
            description: 'How far the picture may move away from the input.',
            ui: ui({ component: 'noise', order: 7, modes: ['video'] }),
          },
          noise_controller: {
            type: 'boolean',
            default: true,
            title: 'Follow motion',
            ui: ui({ component: 'noise', order: 8, modes: ['video'] }),
          },
          gain: { type: 'number', default: 0.37, title: 'Gain', ui: ui({ order: 9 }) },
          manage_cache: {
            type: 'boolean',
            default: true,
            title: 'Manage cache',
            ui: ui({ component: 'cache', order: 5 }),
          },
          vae_type: {
            enum: ['wan', 'lightvae', 'tae', 'lighttae'],
            type: 'string',
            default: 'wan',
            ui: ui({ is_load_param: true, label: 'VAE', order: 3 }),
          },
          images: {
            type: 'array',
            items: { type: 'string' },
            default: null,
            title: 'Reference image',
            ui: ui({ component: 'image', order: 2, category: 'input' }),
          },
          quantization: {
            anyOf: [{ enum: ['fp8_e4m3fn'], type: 'string' }, { type: 'null' }],
            default: null,
            title: 'Quantization',
            ui: ui({ is_load_param: true, component: 'quantization', order: 8 }),
          },
        },
      },
      mode_defaults: { video: { height: 512, width: 512, denoising_steps: [1000, 750] } },
    },
    passthrough: {
      ...base,
      id: 'passthrough',
      name: 'Passthrough',
      supported_modes: ['video'],
      supports_prompts: false,
      supports_cache_management: false,
      config_schema: { properties: { height: size(512), width: size(512) } },
    },
    rife: { ...base, id: 'rife', name: 'RIFE', usage: ['postprocessor'], config_schema: { properties: {} } },
  }

  const json = (body, status = 200) =>
    new Response(status === 204 ? null : JSON.stringify(body), {
      status,
      headers: { 'Content-Type': 'application/json' },
    })

  function load(request) {
    state.loads += 1
    const [wanted] = request.pipelines
    const done = { status: 'loaded', pipeline_id: wanted.pipeline_id, load_params: wanted.load_params }
    state.status = { ...done, status: 'loading', loading_stage: 'Loading diffusion model…' }
    setTimeout(() => {
      state.status = state.failLoad ? { ...done, status: 'error', ...state.failLoad } : done
    }, state.loadMs)
  }

  async function answer(offer) {
    state.offers += 1
    const pc = new RTCPeerConnection()
    const canvas = document.createElement('canvas')
    const context = canvas.getContext('2d')
    const video = document.createElement('video')
    video.muted = true
    const session = { id: `session-${state.offers}`, pc, channel: null, frozen: false, paused: false, hue: 0 }
    state.session = session
    pc.ontrack = (event) => {
      video.srcObject = new MediaStream([event.track])
      video.play().catch(() => {})
    }
    let count = 0
    const paint = () => {
      if (pc.connectionState === 'closed') {
        clearInterval(timer)
        return
      }
      if (session.frozen || session.paused) return
      count += 1
      canvas.width = video.videoWidth || 576
      canvas.height = video.videoHeight || 320
      context.filter = `hue-rotate(${session.hue}deg) saturate(1.5) contrast(1.1)`
      if (video.videoWidth) context.drawImage(video, 0, 0)
      else {
        context.fillStyle = `hsl(${session.hue} 60% 40%)`
        context.fillRect(0, 0, canvas.width, canvas.height)
        context.fillStyle = '#fff'
        context.fillRect((count * 5) % canvas.width, 100, 60, 60)
      }
      track.requestFrame()
    }
    const timer = setInterval(paint, 80)
    const track = canvas.captureStream(0).getVideoTracks()[0]
    pc.ondatachannel = ({ channel }) => {
      session.channel = channel
      const send = (message) => channel.readyState === 'open' && channel.send(JSON.stringify(message))
      session.send = send
      channel.onmessage = ({ data }) => {
        const message = JSON.parse(data)
        state.messages.push(message)
        if ('paused' in message) session.paused = message.paused
        const prompts = message.prompts ?? message.transition?.target_prompts
        if (prompts) session.hue = [...prompts[0].text].reduce((sum, c) => sum * 31 + c.charCodeAt(0), 7) % 360
        if (message._id)
          setTimeout(() => send({ type: 'applied', id: message._id, chunk: count, rtp_timestamp: null }), 700)
      }
      channel.onopen = () => send({ type: 'state', state: 'waiting' })
      const metrics = setInterval(() => {
        if (channel.readyState === 'closed') clearInterval(metrics)
        if (session.frozen) return
        send({
          type: 'metrics',
          fps_in: 24,
          fps_generated: 12.4,
          fps_out: 12.5,
          chunk_ms: 320,
          chunk_frames: 4,
          queue_frames: 2,
          drops: { input: 3, compute: 0 },
          bitrate_bps: 3.1e6,
          rtt_ms: 3,
          loss: 0,
          encode_ms: 4,
          codec: 'VP8',
          width: 512,
          height: 512,
          recording: false,
          vram_used_mb: 18640,
          vram_total_mb: 24576,
        })
      }, 1000)
    }
    await pc.setRemoteDescription({ type: 'offer', sdp: offer.sdp })
    const [transceiver] = pc.getTransceivers()
    transceiver.direction = 'sendrecv'
    await transceiver.sender.replaceTrack(track)
    transceiver.sender.setStreams?.(new MediaStream([track]))
    await pc.setLocalDescription(await pc.createAnswer())
    await new Promise((resolve) => {
      if (pc.iceGatheringState === 'complete') resolve()
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve()
      setTimeout(resolve, 1000)
    })
    return { sdp: pc.localDescription.sdp, type: 'answer', sessionId: session.id }
  }

  async function route(method, path, body) {
    if (path === '/health') return json({ status: 'healthy', server_start_time: state.startTime, version: '0.1.0' })
    if (path === '/api/v1/auth') {
      if (method === 'GET') return json({ authorized: state.authorized })
      state.authorized = body.token === 'secret'
      return state.authorized ? json(null, 204) : json({ detail: 'Wrong token', code: 'token_required' }, 401)
    }
    if (path === '/api/v1/pipelines/schemas') return json({ pipelines })
    if (path === '/api/v1/pipeline/status') return json(state.status)
    if (path === '/api/v1/models') return json({ models: [], room_bytes: null })
    if (path === '/api/v1/pipeline/load') {
      load(body)
      return json({ message: 'loading' })
    }
    if (path === '/api/v1/webrtc/ice-servers') return json({ iceServers: [] })
    if (path === '/api/v1/webrtc/offer') return json(await answer(body))
    if (path.startsWith('/api/v1/webrtc/offer/')) {
      if (method === 'PATCH') {
        for (const candidate of body.candidates) state.session?.pc.addIceCandidate(candidate).catch(() => {})
      } else if (method === 'DELETE') state.session?.pc.close()
      return json(null, 204)
    }
    if (path.startsWith('/api/v1/logs/tail')) {
      return json({
        lines: ['2026-01-01 12:00:00 INFO server listening', '2026-01-01 12:00:02 WARN no GPU found'],
        offset: 90,
      })
    }
    if (path.startsWith('/api/v1/recordings/')) {
      return method === 'GET' ? new Response(new Blob(['mp4'], { type: 'video/mp4' })) : json({ status: 'started' })
    }
    return json({ detail: 'Not found' }, 404)
  }

  const realFetch = window.fetch.bind(window)
  window.fetch = async (input, init = {}) => {
    const path = typeof input === 'string' ? input : input.url
    if (!path.startsWith('/api/') && path !== '/health') return realFetch(input, init)
    await new Promise((resolve) => setTimeout(resolve, 5))
    if (state.dead) throw new TypeError('Failed to fetch')
    return route(init.method ?? 'GET', path, typeof init.body === 'string' ? JSON.parse(init.body) : null)
  }
  window.EventSource = class extends EventTarget {}
  window.mock = {
    state,
    stop: (code, message) => state.session.send({ type: 'stream_stopped', error_code: code, error_message: message }),
    freeze: (on) => {
      state.session.frozen = on
    },
    die() {
      state.dead = true
      state.session?.pc.close()
    },
    restart() {
      state.dead = false
      state.startTime += 1
      state.status = { status: 'not_loaded' }
    },
  }
})()
