/** Tensors of zeros, `{name: shape}`, in the safetensors format; `values` for those that are one number throughout. */
export function safetensors(shapes, values = {}, padding = 0) {
  const table = { __metadata__: { padding: 'x'.repeat(padding) } }
  const parts = []
  let at = 0
  for (const [name, shape] of Object.entries(shapes)) {
    const count = shape.reduce((all, extent) => all * extent, 1)
    table[name] = { dtype: 'F32', shape, data_offsets: [at, at + count * 4] }
    parts.push(Buffer.from(new Float32Array(count).fill(values[name] ?? 0).buffer))
    at += count * 4
  }
  const head = Buffer.from(JSON.stringify(table))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(head.length))
  return Buffer.concat([length, head, ...parts])
}

/** A network of the kind that `scribble` uses, as small as it gets, that makes every picture black. */
export function blackScribble(padding) {
  const shapes = {}
  const layer = (name, shape) => {
    shapes[`${name}.weight`] = shape
    shapes[`${name}.bias`] = [name.startsWith('model3') ? shape[1] : shape[0]]
  }
  layer('model0.1', [2, 3, 7, 7])
  layer('model1.0', [2, 2, 3, 3])
  layer('model1.3', [2, 2, 3, 3])
  for (const block of [0, 1, 2]) for (const at of [1, 5]) layer(`model2.${block}.conv_block.${at}`, [2, 2, 3, 3])
  for (const at of [0, 3]) layer(`model3.${at}`, [2, 2, 3, 3])
  layer('model4.1', [1, 2, 7, 7])
  return safetensors(shapes, { 'model4.1.bias': -20 }, padding)
}
