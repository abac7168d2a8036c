import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Block, DECK_SLOTS, draftPrompt, newDoc, type ProjectDoc, type WirePrompt } from '../model'
import { wirePrompts } from '../prompts'
import { largestRemainder } from '../weights'
import { linkIn } from './address'
import type { FileProblem } from './json'
import { packLink, unpackLink } from './link'
import { writeProject } from './project'
import { type DocumentContent, readFile } from './read'
import { applyScore, type Score, type WriteContext } from './score'
import { writeTimeline } from './timeline'
import { writeWorkflow } from './workflow'

const CONTEXT: WriteContext = {
  now: '2026-03-01T12:00:00.000Z',
  version: '0.1.0',
  nowMs: 0,
  effective: {},
  plugins: {},
}
const text = (value: unknown) => JSON.stringify(value)

function content(file: unknown): DocumentContent {
  const result = readFile(typeof file === 'string' ? file : text(file))
  if (!result.ok) throw new Error(text(result.problem))
  if (result.content.kind === 'exact') throw new Error('a score of a show')
  return result.content
}

function score(file: unknown): Score {
  const read = content(file)
  if (read.kind === 'project') throw new Error('a project')
  return read.score
}

function problem(file: string): FileProblem {
  const result = readFile(file)
  if (result.ok) throw new Error('it was read')
  return result.problem
}

const imported = (file: unknown, into = newDoc()) => applyScore(score(file), { settings: true })(into)

const TIMELINE_20 = `{
  "version": "2.0",
  "exportedAt": "2025-12-20T10:00:00.000Z",
  "settings": {
    "pipelineId": "longlive",
    "resolution": { "height": 320, "width": 576 },
    "seed": 7,
    "denoisingSteps": [1000, 750, 500],
    "noiseScale": 0.7,
    "manageCache": true
  },
  "prompts": [
    { "startTime": 0, "endTime": 3.5, "prompts": [{ "text": "a lake", "weight": 100 }] },
    { "startTime": 3.5, "endTime": 3.5, "prompts": [{ "text": "never", "weight": 100 }] },
    {
      "startTime": 3.5, "endTime": 9.25,
      "prompts": [{ "text": "a lake", "weight": 40 }, { "text": "a storm", "weight": 60 }],
      "transitionSteps": 8, "temporalInterpolationMethod": "linear"
    }
  ]
}`

const TIMELINE_21 = {
  version: '2.1',
  exportedAt: '2025-12-29T10:00:00.000Z',
  settings: {
    pipelineId: 'krea',
    inputMode: 'video',
    resolution: { height: 512, width: 512 },
    quantization: 'fp8_e4m3fn',
    kvCacheAttentionBias: 0.3,
    loras: [{ path: '/models/lora/ink.safetensors', scale: 0.8, mergeMode: 'runtime_peft', tag: 'mine' }],
    loraMergeStrategy: 'permanent_merge',
    futureSetting: [1, 2],
  },
  prompts: [{ startTime: 1, endTime: 2, prompts: [{ text: 'ink', weight: 100, note: 'n' }], mood: 'calm' }],
  author: { name: 'somebody' },
}

const WORKFLOW = {
  format: 'scope-workflow',
  format_version: '1.0',
  metadata: { name: 'Evening', created_at: '2026-02-01T00:00:00Z', scope_version: '0.2.4', mood: 'blue' },
  pipelines: [
    {
      pipeline_id: 'longlive',
      pipeline_version: '1.2',
      source: { type: 'builtin' },
      loras: [{ filename: 'ink.safetensors', weight: 0.5, merge_mode: 'runtime_peft', sha256: 'ab' }],
      params: {
        height: 320,
        width: 576,
        denoising_step_list: [1000, 500],
        noise_scale: 0.4,
        input_mode: 'video',
        x: 1,
      },
    },
    { pipeline_id: 'depth', params: {} },
  ],
  prompts: [{ text: 'top level', weight: 1 }],
  timeline: {
    entries: [
      { start_time: 0, end_time: 2, prompts: [{ text: 'alone', weight: 1.0 }] },
      { start_time: 2, end_time: 2, prompts: [{ text: 'nothing', weight: 1.0 }] },
      {
        start_time: 2,
        end_time: 5,
        prompts: [
          { text: 'a', weight: 30 },
          { text: 'b', weight: 70 },
        ],
        transition_steps: 6,
      },
    ],
  },
}

describe('a timeline of December 2025', () => {
  it('2.0: gives its takes, weights, transitions and settings, and no take without length', () => {
    const read = score(TIMELINE_20)
    expect(read.blocks.map(({ startMs, endMs }) => [startMs, endMs])).toEqual([
      [0, 3500],
      [3500, 9250],
    ])
    expect(read.dropped).toBe(1)
    expect(read.blocks[1]?.prompts).toEqual([
      { text: 'a lake', weight: 40 },
      { text: 'a storm', weight: 60 },
    ])
    expect(read.blocks.map(({ transition }) => transition)).toEqual([null, { steps: 8, method: 'linear' }])
    const doc = imported(TIMELINE_20)
    expect(doc.pipelineId).toBe('longlive')
    expect(doc.mode).toBe('video')
    expect(doc.params.longlive).toEqual({
      height: 320,
      width: 576,
      base_seed: 7,
      denoising_steps: [1000, 750, 500],
      noise_scale: 0.7,
      manage_cache: true,
    })
    expect(doc.draft[0]?.text).toBe('a lake')
  })
  it('2.1: also gives mode, quantization, attention bias and adapters', () => {
    const doc = imported({ ...TIMELINE_21, settings: { ...TIMELINE_21.settings, inputMode: 'text' } })
    expect(doc.mode).toBe('text')
    expect(doc.params.krea).toMatchObject({
      quantization: 'fp8_e4m3fn',
      kv_cache_attention_bias: 0.3,
      lora_merge_mode: 'permanent_merge',
      loras: [{ path: '/models/lora/ink.safetensors', scale: 0.8, merge_mode: 'runtime_peft' }],
    })
  })
  it('is added to what the document already has, except for what it says', () => {
    const before = { ...newDoc(), params: { longlive: { noise_scale: 0.1, vae_type: 'tae' }, other: { a: 1 } } }
    const doc = imported(TIMELINE_20, before)
    expect(doc.params.longlive).toMatchObject({ noise_scale: 0.7, vae_type: 'tae' })
    expect(doc.params.other).toEqual({ a: 1 })
  })
  it('can leave pipeline and parameters alone', () => {
    const doc = applyScore(score(TIMELINE_20), { settings: false })({ ...newDoc(), pipelineId: 'testcard' })
    expect(doc.pipelineId).toBe('testcard')
    expect(doc.params).toEqual({})
    expect(doc.blocks).toHaveLength(2)
  })
  it('that overlaps is trimmed to the rules of our timeline, and says how much', () => {
    const entry = (startTime: number, endTime: number) => ({ startTime, endTime, prompts: [{ text: 'x', weight: 1 }] })
    const file = { version: '2.1', prompts: [entry(4, 6), entry(0, 5), entry(7, 7.02), entry(8, 9), entry(7.98, 20)] }
    const read = score(file)
    expect(read.blocks.map(({ startMs, endMs }) => [startMs, endMs])).toEqual([
      [0, 4000],
      [4000, 6000],
      [7000, 7100],
      [8000, 9000],
    ])
    expect(read).toMatchObject({ dropped: 1, adjusted: 2 })
  })
})

describe('a workflow', () => {
  it('takes its first pipeline as the one that makes the picture when none has a role', () => {
    const read = score(WORKFLOW)
    expect(read.pipelineId).toBe('longlive')
    expect(read.unplaced).toEqual(['depth'])
    expect(read.name).toBe('Evening')
  })
  it('normalises the weight 1 of a lone prompt, and drops entries without length', () => {
    const read = score(WORKFLOW)
    expect(read.blocks.map(({ prompts }) => prompts)).toEqual([
      [{ text: 'alone', weight: 100 }],
      [
        { text: 'a', weight: 30 },
        { text: 'b', weight: 70 },
      ],
    ])
    expect(read.dropped).toBe(1)
    expect(read.blocks[1]?.transition).toEqual({ steps: 6, method: 'slerp' })
    expect(read.prompts).toEqual([{ text: 'alone', weight: 100 }])
  })
  it('gives the parameters under our names, adapters by name', () => {
    const doc = imported(WORKFLOW)
    expect(doc.mode).toBe('video')
    expect(doc.params.longlive).toEqual({
      height: 320,
      width: 576,
      denoising_steps: [1000, 500],
      noise_scale: 0.4,
      x: 1,
      loras: [{ path: 'ink.safetensors', scale: 0.5, merge_mode: 'runtime_peft' }],
    })
  })
  it('puts processors where their roles say', () => {
    const pipelines = [
      { pipeline_id: 'edges', role: 'preprocessor', params: { low: 3 } },
      { pipeline_id: 'longlive', role: 'main' },
      { pipeline_id: 'upscale', role: 'postprocessor' },
    ]
    const doc = imported({ ...WORKFLOW, pipelines })
    expect(doc.chain).toMatchObject({ before: ['edges'], after: ['upscale'] })
    expect(doc.params['before:edges']).toEqual({ low: 3 })
  })
  it('without pipelines keeps that of the document', () => {
    const doc = imported({ ...WORKFLOW, pipelines: [] }, { ...newDoc(), pipelineId: 'testcard' })
    expect(doc.pipelineId).toBe('testcard')
  })
  it('gives a graph back only while it shows the same pipelines', () => {
    const graph = { nodes: [{ id: 'a', type: 'pipeline', pipeline_id: 'longlive' }], edges: [] }
    const doc = imported({ ...WORKFLOW, pipelines: WORKFLOW.pipelines.slice(0, 1), graph })
    expect(writeWorkflow(doc, CONTEXT).graph).toEqual(graph)
    expect(writeWorkflow({ ...doc, pipelineId: 'krea' }, CONTEXT).graph).toBeUndefined()
  })
})

describe('export', () => {
  const doc = imported(TIMELINE_21)
  it('writes exactly the keys of 2.1, and everything of ours under one more', () => {
    const { author: _, ...known } = TIMELINE_21
    const file = writeTimeline(imported(known), CONTEXT)
    expect(Object.keys(file).sort()).toEqual(['exportedAt', 'prompts', 'settings', 'version', 'x-scope'])
    expect(file.version).toBe('2.1')
  })
  it('gives unknown keys back where they were', () => {
    const file = writeTimeline(doc, CONTEXT)
    expect(file).toMatchObject({
      author: { name: 'somebody' },
      settings: { futureSetting: [1, 2], loras: [{ path: 'ink.safetensors', scale: 0.8, tag: 'mine' }] },
      prompts: [{ mood: 'calm', prompts: [{ text: 'ink', weight: 100, note: 'n' }] }],
    })
    const workflow = writeWorkflow(imported({ ...WORKFLOW, colour: 'red' }), CONTEXT)
    expect(workflow).toMatchObject({
      colour: 'red',
      metadata: { mood: 'blue' },
      pipelines: [{ pipeline_version: '1.2', loras: [{ filename: 'ink.safetensors', sha256: 'ab' }] }],
    })
  })
  it('tells others the values in force, and itself which of them nobody chose', () => {
    const mine: ProjectDoc = { ...newDoc(), pipelineId: 'longlive', params: { longlive: { noise_scale: 0.2 } } }
    const effective = { longlive: { noise_scale: 0.2, height: 320, width: 576, base_seed: 42 } }
    for (const write of [writeTimeline, writeWorkflow]) {
      const file = write(mine, { ...CONTEXT, effective })
      expect(text(file)).toContain('576')
      expect(imported(file).params).toEqual(mine.params)
    }
    const file = writeTimeline(mine, { ...CONTEXT, effective }) as { settings: Record<string, unknown> }
    file.settings.seed = 43
    expect(imported(file).params.longlive).toEqual({ noise_scale: 0.2, base_seed: 43 })
  })
  it('ends a live take where the clock is', () => {
    const live: Block = { ...(doc.blocks[0] as Block), startMs: 2000, endMs: null }
    const file = writeTimeline({ ...doc, blocks: [live] }, { ...CONTEXT, nowMs: 7345.6 })
    expect(file.prompts).toMatchObject([{ startTime: 2, endTime: 7.346 }])
  })
})

describe('a file that cannot be used', () => {
  it('names line and column of broken JSON', () => {
    const cases: [string, number, number, string][] = [
      ['{\n  "version": "2.1",\n  "prompts": [,]\n}', 3, 15, ','],
      ['{\n  "a": 1\n  "b": 2\n}', 3, 3, '"'],
      ['{"a": [1, 2', 1, 12, ''],
      ['{"a": "un\nclosed"}', 1, 7, '"'],
      ['{"a": 01}', 1, 8, '1'],
      ["{'a': 1}", 1, 2, "'"],
      ['{"a": 1} x', 1, 10, 'x'],
      ['', 1, 1, ''],
    ]
    for (const [file, line, column, found] of cases) {
      expect(problem(file), file).toEqual({ code: 'json', line, column, found })
    }
  })
  it('names the field and its line', () => {
    expect(
      problem(TIMELINE_20.replace('"startTime": 3.5, "endTime": 9.25', '"startTime": "3.5", "endTime": 9')),
    ).toEqual({
      code: 'field',
      path: 'prompts[2].startTime',
      line: 16,
      message: 'expected number, received string',
    })
    expect(problem(TIMELINE_20.replace('"startTime": 0, ', ''))).toMatchObject({
      path: 'prompts[0].startTime',
      line: 13,
    })
    expect(problem(TIMELINE_20.replace('"noiseScale": 0.7', '"noiseScale": "much"'))).toMatchObject({
      path: 'settings.noiseScale',
      line: 9,
    })
  })
  it('is told apart from one of another version, another kind, or too large', () => {
    expect(problem('{"version": "3.0", "prompts": []}')).toEqual({
      code: 'version',
      format: 'timeline',
      version: '3.0',
    })
    expect(problem('{"format": "scope-workflow", "format_version": "2.0"}')).toMatchObject({ code: 'version' })
    expect(problem('{"format": "scope-project", "version": 9, "document": {}}')).toMatchObject({ code: 'version' })
    expect(problem('[1]')).toEqual({ code: 'unknown' })
    expect(problem('{"some": "thing"}')).toEqual({ code: 'unknown' })
    const many = Array.from({ length: 10_001 }, (_, i) => ({ startTime: i, endTime: i + 1, prompts: [] }))
    expect(problem(text({ version: '2.1', prompts: many }))).toEqual({ code: 'blocks', count: 10_001 })
    expect(problem(' '.repeat((8 << 20) + 1))).toMatchObject({ code: 'large' })
    expect(problem(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)).toEqual({ code: 'deep' })
  })
})

// -- properties

const jsonKey = fc.string({ minLength: 1, maxLength: 8 }).filter((key) => key !== '__proto__')
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.string(),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(jsonKey, tie('value'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value
const unknownKeys = fc.dictionary(fc.stringMatching(/^u[a-z]{1,6}$/), json, { maxKeys: 3, noNullPrototype: true })
const words = fc.string({ minLength: 1, maxLength: 12 }).filter((word) => word.trim() === word && word !== '')
const wire = (max: number): fc.Arbitrary<WirePrompt[]> =>
  fc.array(fc.tuple(words, fc.nat(100)), { minLength: 1, maxLength: max }).map((list) => {
    const shares = largestRemainder(list.map(([, weight]) => weight))
    return list.map(([word], i) => ({ text: word, weight: shares[i] ?? 0 }))
  })
const transition = fc.option(
  fc.record({ steps: fc.nat(16), method: fc.constantFrom('linear' as const, 'slerp' as const) }),
)

const blocks: fc.Arbitrary<Block[]> = fc
  .array(
    fc.record(
      {
        gap: fc.nat(5000),
        length: fc.integer({ min: 100, max: 60_000 }),
        prompts: fc.oneof(wire(4), fc.constant([] as WirePrompt[])),
        transition,
        cut: fc.constantFrom('soft' as const, 'hard' as const),
        color: fc.integer({ min: 1, max: 8 }),
        label: words,
        locked: fc.boolean(),
        extra: unknownKeys.filter((keys) => Object.keys(keys).length > 0),
      },
      { requiredKeys: ['gap', 'length', 'prompts', 'transition', 'cut', 'color'], noNullPrototype: true },
    ),
    { maxLength: 12 },
  )
  .map((list) => {
    let at = 0
    return list.map(({ gap, length, ...rest }, i) => {
      const startMs = at + gap
      at = startMs + length
      return { id: `b${i}`, startMs, endMs: at, ...rest } as Block
    })
  })

const params = fc
  .record(
    {
      width: fc.integer({ min: 16, max: 2048 }),
      height: fc.integer({ min: 16, max: 2048 }),
      base_seed: fc.nat(),
      denoising_steps: fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 4 }),
      noise_scale: fc.oneof(
        fc.double({ min: 0, max: 1, noNaN: true }).map((x) => x + 0),
        fc.constant(null),
      ),
      noise_controller: fc.boolean(),
      quantization: fc.constantFrom(null, 'fp8'),
      kv_cache_attention_bias: fc.oneof(fc.integer({ min: 0, max: 1 }), fc.constant('odd')),
      loras: fc.array(
        fc.record(
          {
            path: fc.stringMatching(/^[a-z]{1,5}\.safetensors$/),
            scale: fc.integer({ min: -10, max: 10 }),
            merge_mode: fc.constant('runtime_peft'),
          },
          { requiredKeys: ['path', 'scale'], noNullPrototype: true },
        ),
        { minLength: 1, maxLength: 3 },
      ),
      plugin_value: json,
      denoising_step_list: fc.constant('something else'),
    },
    { requiredKeys: [], noNullPrototype: true },
  )
  .map((values) => values as Record<string, unknown>)

const slots = fc.array(fc.option(wire(4)), { minLength: DECK_SLOTS, maxLength: DECK_SLOTS })

const document: fc.Arbitrary<ProjectDoc> = fc
  .record({
    name: fc.string({ maxLength: 20 }),
    mode: fc.constantFrom('text' as const, 'video' as const),
    pipelineId: fc.constantFrom('longlive', 'krea', 'testcard'),
    before: fc.uniqueArray(fc.constantFrom('edges', 'depth', 'gray'), { maxLength: 2 }),
    after: fc.uniqueArray(fc.constantFrom('color', 'upscale'), { maxLength: 2 }),
    control: fc.boolean(),
    own: params,
    processor: params,
    draft: wire(4),
    deck: slots,
    bank: fc.nat(3),
    banks: fc.array(slots, { maxLength: 4 }),
    steps: fc.option(fc.nat(16)),
    method: fc.option(fc.constantFrom('linear' as const, 'slerp' as const)),
    blend: fc.option(fc.constantFrom('linear' as const, 'slerp' as const)),
    blocks,
    markers: fc.array(fc.record({ atMs: fc.nat(100_000), label: fc.string({ maxLength: 9 }) }), { maxLength: 4 }),
    loop: fc.option(
      fc.record(
        { inMs: fc.nat(1000), outMs: fc.integer({ min: 1000, max: 9000 }), on: fc.boolean() },
        { noNullPrototype: true },
      ),
    ),
    extra: unknownKeys,
  })
  .map((it) => {
    const values: ProjectDoc['params'] = {}
    if (Object.keys(it.own).length > 0) values[it.pipelineId] = it.own
    const [first] = it.before
    if (first && Object.keys(it.processor).length > 0) values[`before:${first}`] = it.processor
    return {
      ...newDoc(),
      name: it.name,
      mode: it.mode,
      pipelineId: it.pipelineId,
      chain: { before: it.before, after: it.after, control: it.control },
      params: values,
      draft: it.draft.map(({ text, weight }) => draftPrompt(text, weight)),
      deck: it.deck,
      bank: it.bank,
      banks: it.banks,
      transition: { steps: it.steps, method: it.method },
      blend: it.blend,
      blocks: it.blocks,
      markers: it.markers.map((marker, i) => ({ id: `m${i}`, ...marker })),
      loop: it.loop,
      extra: it.extra,
    }
  })

/** Documents are equal when they differ only in ids, which are made anew, and in what `-0` looks like. */
function plain(doc: ProjectDoc): unknown {
  return JSON.parse(
    JSON.stringify({
      ...doc,
      draft: wirePrompts(doc.draft),
      blocks: doc.blocks.map(({ id: _, ...block }) => block),
      markers: doc.markers.map(({ id: _, ...marker }) => marker),
    }),
  )
}

describe('how a workflow blends its prompts', () => {
  const workflow = (more: object) => ({ format: 'scope-workflow', format_version: '1.0', pipelines: [], ...more })
  it.each([
    ['slerp', 'slerp'],
    ['linear', null],
  ])('%s', (interpolation_method, blend) => {
    const doc = imported(workflow({ interpolation_method }), { ...newDoc(), blend: 'slerp' })
    expect(doc.blend).toBe(blend)
    expect(writeWorkflow(doc, CONTEXT).interpolation_method).toBe(interpolation_method)
  })
  it('a way that we do not know is kept for the file, and changes nothing', () => {
    const doc = imported(workflow({ interpolation_method: 'cubic' }), { ...newDoc(), blend: 'slerp' })
    expect(doc.blend).toBe('slerp')
    expect(doc.extra.interpolation_method).toBe('cubic')
    expect(writeWorkflow({ ...doc, blend: null }, CONTEXT).interpolation_method).toBe('cubic')
  })
  it('a file that does not say leaves it', () => {
    expect(imported(workflow({}), { ...newDoc(), blend: 'slerp' }).blend).toBe('slerp')
  })
})

describe('for arbitrary documents', () => {
  it.each([
    ['timeline', writeTimeline],
    ['workflow', writeWorkflow],
  ] as const)('a written %s gives an equal document when it is read', (_, write) => {
    fc.assert(
      fc.property(document, (doc) => {
        expect(plain(imported(text(write(doc, CONTEXT))))).toEqual(plain(doc))
      }),
      { numRuns: 300 },
    )
  })
  it('writing what was read changes nothing more', () => {
    fc.assert(
      fc.property(document, (doc) => {
        for (const write of [writeTimeline, writeWorkflow]) {
          const first = text(write(doc, CONTEXT))
          expect(JSON.parse(text(write(imported(first), CONTEXT)))).toEqual(JSON.parse(first))
        }
      }),
      { numRuns: 100 },
    )
  })
  it('a project file gives the very document', () => {
    fc.assert(
      fc.property(document, (doc) => {
        const read = content(text(writeProject(doc, CONTEXT.now)))
        expect(read.kind === 'project' && JSON.parse(text(read.document))).toEqual(JSON.parse(text(doc)))
      }),
    )
  })
  it('a link gives the very text, and a damaged one is refused', async () => {
    await fc.assert(
      fc.asyncProperty(document, async (doc) => {
        const file = text(writeTimeline(doc, CONTEXT))
        const packed = linkIn(`http://host/#${await packLink(file)}`)
        expect(await unpackLink(packed ?? '')).toBe(file)
      }),
      { numRuns: 40 },
    )
    await expect(unpackLink('AAAA')).rejects.toThrow('link')
    await expect(unpackLink('a'.repeat(9000))).rejects.toThrow('link')
  })
})

describe('whatever is dropped on the page', () => {
  const mutate = (file: string) =>
    fc
      .tuple(fc.nat(file.length), fc.nat(20), fc.string({ maxLength: 5 }))
      .map(([at, cut, put]) => file.slice(0, at) + put + file.slice(at + cut))
  it('never throws: any text, any JSON, and files of ours with a wound', () => {
    const anything = fc.oneof(
      fc.string(),
      json.map(text),
      fc.record({ version: json, prompts: json, settings: json, 'x-scope': json }).map(text),
      fc
        .record({
          format: fc.constant('scope-workflow'),
          format_version: fc.constant('1.0'),
          pipelines: json,
          timeline: json,
        })
        .map(text),
      fc.record({ format: fc.constant('scope-project'), version: fc.constant(1), document: json }).map(text),
      mutate(TIMELINE_20),
      mutate(text(WORKFLOW)),
      document.chain((doc) => mutate(text(writeTimeline(doc, CONTEXT)))),
    )
    fc.assert(
      fc.property(anything, (file) => {
        const result = readFile(file)
        if (!result.ok || result.content.kind === 'project' || result.content.kind === 'exact') return
        const doc = applyScore(result.content.score, { settings: true })(newDoc())
        for (const [i, block] of doc.blocks.entries()) {
          expect((block.endMs ?? 0) - block.startMs).toBeGreaterThanOrEqual(100)
          expect(block.startMs).toBeGreaterThanOrEqual(doc.blocks[i - 1]?.endMs ?? 0)
        }
        writeTimeline(doc, CONTEXT)
        writeWorkflow(doc, CONTEXT)
      }),
      { numRuns: 1000 },
    )
  })
  it('broken JSON always has a place inside the text', () => {
    fc.assert(
      fc.property(mutate(TIMELINE_20), (file) => {
        const result = readFile(file)
        if (result.ok || result.problem.code !== 'json') return
        const lines = file.split('\n')
        expect(result.problem.line).toBeLessThanOrEqual(lines.length)
        expect(result.problem.column).toBeLessThanOrEqual((lines[result.problem.line - 1] ?? '').length + 1)
      }),
      { numRuns: 500 },
    )
  })
})

describe('the exact score of a show', () => {
  const show = { format: 'scope-score', format_version: '1.0', pipeline_id: 'card', frames: 9, changes: [{ frame: 3 }] }

  it('is read beside documents, and keeps its text', () => {
    const written = text(show)
    const result = readFile(written)
    expect(result).toMatchObject({ ok: true, content: { kind: 'exact', text: written } })
    if (!result.ok || result.content.kind !== 'exact') throw new Error('it was not read')
    expect(result.content.score).toMatchObject({ mode: 'text', load: {}, frames: 9, exact: false })
  })

  it('is refused with the place of what is wrong, and in another version', () => {
    expect(problem(text({ ...show, frames: -1 }))).toMatchObject({ code: 'field', path: 'frames' })
    expect(problem(text({ ...show, changes: [{ frame: 0.5 }] }))).toMatchObject({ path: 'changes[0].frame' })
    expect(problem(text({ ...show, format_version: '2.0' }))).toEqual({
      code: 'version',
      format: 'score',
      version: '2.0',
    })
  })
})
