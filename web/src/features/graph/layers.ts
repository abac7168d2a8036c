/** Where the nodes of a graph lie: in layers, so that every line leads forward. Pure. */

export interface Line {
  from: string
  to: string
  /** Carries values instead of pictures. */
  values: boolean
}

export interface Spot {
  layer: number
  row: number
}

/** The longest way to each node counts; whatever nothing leads to stands right before what it leads to. */
export function layersOf(ids: readonly string[], lines: readonly Line[]): Map<string, number> {
  const into = new Map(ids.map((id) => [id, lines.filter(({ to }) => to === id).map(({ from }) => from)]))
  const layers = new Map<string, number>()
  const visit = (id: string, path: ReadonlySet<string>): number => {
    const known = layers.get(id)
    if (known !== undefined) return known
    // A line that leads back counts for nothing.
    const before = (into.get(id) ?? []).filter((from) => into.has(from) && from !== id && !path.has(from))
    const layer = Math.max(-1, ...before.map((from) => visit(from, new Set([...path, id])))) + 1
    layers.set(id, layer)
    return layer
  }
  for (const id of ids) visit(id, new Set())
  for (const id of ids) {
    if (into.get(id)?.length !== 0) continue
    const next = lines.filter(({ from }) => from === id).map(({ to }) => layers.get(to) ?? 0)
    if (next.length > 0) layers.set(id, Math.max(0, Math.min(...next) - 1))
  }
  return layers
}

/** Pictures pass in the first row; what stands beside them keeps its order. */
export function spotsOf(ids: readonly string[], lines: readonly Line[]): Map<string, Spot> {
  const layers = layersOf(ids, lines)
  const used = new Map<number, number>()
  const carries = (id: string) => lines.some(({ from, to, values }) => !values && (from === id || to === id))
  const order = [...ids.filter(carries), ...ids.filter((id) => !carries(id))]
  return new Map(
    order.map((id) => {
      const layer = layers.get(id) ?? 0
      const row = used.get(layer) ?? 0
      used.set(layer, row + 1)
      return [id, { layer, row }]
    }),
  )
}
