/** The classes of the colours of blocks, in the order in which blocks get them. */
export const BLOCK_COLORS: readonly string[] = [
  'bg-block-1',
  'bg-block-2',
  'bg-block-3',
  'bg-block-4',
  'bg-block-5',
  'bg-block-6',
  'bg-block-7',
  'bg-block-8',
]
