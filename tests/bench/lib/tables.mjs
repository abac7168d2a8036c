const show = (value) => (value === null || value === undefined ? '–' : String(value))

/** Markdown: one table per figure and set of columns. */
export function tables(rows) {
  const groups = new Map()
  for (const { figure, ...row } of rows) {
    const key = [figure, ...Object.keys(row)].join('|')
    groups.set(key, [...(groups.get(key) ?? []), row])
  }
  const parts = []
  for (const [key, group] of groups) {
    const columns = Object.keys(group[0])
    const line = (cells) => `| ${cells.join(' | ')} |`
    const body = group.map((row) => line(columns.map((column) => show(row[column]))))
    parts.push(`### ${key.split('|')[0]}`, '', line(columns), line(columns.map(() => '---')), ...body, '')
  }
  return ['', ...parts].join('\n')
}
