import { useEffect, useMemo, useRef, useState } from 'react'
import { api } from '../../api/client'
import { uiStore } from '../../app'
import { useUi } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { Segmented } from '../../ui/controls'
import { cx } from '../../ui/cx'
import { TextInput } from '../../ui/fields'
import { Sheet } from '../../ui/Sheet'

const POLL_MS = 2000
const KEEP_LINES = 2000
const SHOW_LINES = 400

type Level = 'all' | 'warnings' | 'errors'
interface Line {
  id: number
  text: string
}

const isError = (line: string) => /\b(ERROR|CRITICAL|FATAL)\b/.test(line)
const isWarning = (line: string) => /\bWARN(ING)?\b/.test(line)

function useLog(): { lines: Line[]; failed: boolean } {
  const [lines, setLines] = useState<Line[]>([])
  const [failed, setFailed] = useState(false)
  useEffect(() => {
    let offset = 0
    let nextId = 0
    let alive = true
    const poll = async () => {
      try {
        const tail = await api.logs(500, offset)
        if (!alive) return
        // A smaller offset means the file was rotated; what we show stays.
        offset = tail.offset
        setFailed(false)
        if (tail.lines.length === 0) return
        const fresh = tail.lines.map((text) => ({ id: nextId++, text }))
        setLines((old) => [...old, ...fresh].slice(-KEEP_LINES))
      } catch {
        if (alive) setFailed(true)
      }
    }
    void poll()
    const timer = setInterval(() => void poll(), POLL_MS)
    return () => {
      alive = false
      clearInterval(timer)
    }
  }, [])
  return { lines, failed }
}

function Log() {
  const { lines, failed } = useLog()
  const [level, setLevel] = useState<Level>('all')
  const [query, setQuery] = useState('')
  const box = useRef<HTMLDivElement>(null)
  const shown = useMemo(() => {
    const wanted = query.toLowerCase()
    return lines
      .filter(({ text }) => level === 'all' || isError(text) || (level === 'warnings' && isWarning(text)))
      .filter(({ text }) => wanted === '' || text.toLowerCase().includes(wanted))
      .slice(-SHOW_LINES)
  }, [lines, level, query])
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines scroll into view
  useEffect(() => {
    const node = box.current
    if (node && node.scrollHeight - node.scrollTop - node.clientHeight < 120) node.scrollTop = node.scrollHeight
  }, [shown])
  const copy = () => void navigator.clipboard?.writeText(lines.map((line) => line.text).join('\n'))
  return (
    <div className="flex h-full flex-col">
      <div className="flex flex-wrap items-center gap-2 px-4 py-2">
        <div className="w-64">
          <Segmented
            label={t.logs.level}
            value={level}
            options={[
              { value: 'all', label: t.logs.all },
              { value: 'warnings', label: t.logs.warnings },
              { value: 'errors', label: t.logs.errors },
            ]}
            onChange={(next) => setLevel(next as Level)}
          />
        </div>
        <TextInput
          type="search"
          aria-label={t.logs.filter}
          placeholder={t.logs.filter}
          value={query}
          onChange={(event) => setQuery(event.target.value)}
          className="w-56"
        />
        <Button variant="ghost" className="ml-auto" onClick={copy}>
          {t.logs.copy}
        </Button>
      </div>
      {failed && <p className="px-4 pb-2 text-12 text-warn">{t.logs.failed}</p>}
      <div
        ref={box}
        tabIndex={0}
        role="log"
        aria-label={t.logs.title}
        className="num min-h-0 flex-1 overflow-auto bg-bg0 px-4 py-2 text-11 leading-5"
      >
        {shown.length === 0 && <p className="text-fg3">{t.logs.empty}</p>}
        {shown.map(({ id, text }) => (
          <div
            key={id}
            className={cx(
              'whitespace-pre-wrap',
              isError(text) ? 'text-live' : isWarning(text) ? 'text-warn' : 'text-fg2',
            )}
          >
            {text}
          </div>
        ))}
      </div>
    </div>
  )
}

export function LogsDrawer() {
  const open = useUi((ui) => ui.logs)
  return (
    <Sheet open={open} side="bottom" title={t.logs.title} onClose={() => uiStore.setState({ logs: false })}>
      <Log />
    </Sheet>
  )
}
