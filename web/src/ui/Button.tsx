import { Tooltip } from 'radix-ui'
import type { ComponentProps, ReactNode } from 'react'
import { cx } from './cx'

type Variant = 'primary' | 'solid' | 'ghost' | 'outline' | 'danger'
type Size = 's' | 'm' | 'l'

const VARIANT: Record<Variant, string> = {
  primary: 'bg-accent text-accent-ink hover:brightness-110 font-semibold border-transparent',
  solid: 'bg-bg3 text-fg1 hover:bg-line border-transparent',
  ghost: 'bg-transparent text-fg2 hover:bg-bg3 hover:text-fg1 border-transparent',
  outline: 'bg-bg2 text-fg1 border-edge hover:bg-bg3',
  danger: 'bg-live text-live-ink hover:brightness-110 font-semibold border-transparent',
}

const SIZE: Record<Size, string> = {
  s: 'h-7 px-2 text-12 gap-1.5',
  m: 'h-9 px-3 text-13 gap-2',
  l: 'h-11 px-5 text-14 gap-2',
}
const SQUARE: Record<Size, string> = { s: 'h-7 w-7', m: 'h-9 w-9', l: 'h-11 w-11' }

export interface ButtonProps extends ComponentProps<'button'> {
  variant?: Variant
  size?: Size
  /** As wide as high, for a lone icon. */
  square?: boolean
}

export function Button({
  variant = 'solid',
  size = 's',
  square = false,
  className,
  type = 'button',
  ...rest
}: ButtonProps) {
  return (
    <button
      type={type}
      className={cx(
        'inline-flex shrink-0 items-center justify-center rounded-1 border font-medium whitespace-nowrap transition-[background,filter] duration-100 select-none disabled:opacity-45',
        VARIANT[variant],
        square ? SQUARE[size] : SIZE[size],
        className,
      )}
      {...rest}
    />
  )
}

interface IconButtonProps extends Omit<ButtonProps, 'aria-label'> {
  /** The name of the button, also its tooltip. */
  label: string
  /** The key that does the same, shown in the tooltip. */
  shortcut?: string | undefined
  children: ReactNode
}

export function IconButton({ label, shortcut, variant = 'ghost', size = 's', className, ...rest }: IconButtonProps) {
  return (
    <Hint text={label} shortcut={shortcut}>
      <Button aria-label={label} variant={variant} size={size} square className={className} {...rest} />
    </Hint>
  )
}

export function Hint({
  text,
  shortcut,
  children,
}: {
  text: string
  shortcut?: string | undefined
  children: ReactNode
}) {
  return (
    <Tooltip.Root>
      <Tooltip.Trigger asChild>{children}</Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content
          sideOffset={6}
          collisionPadding={8}
          className="z-50 flex max-w-64 items-center gap-2 rounded-1 border border-line bg-bg3 px-2 py-1 text-12 text-fg1 shadow-lg shadow-black/40"
        >
          {text}
          {shortcut && <Kbd>{shortcut}</Kbd>}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  )
}

export function Kbd({ children }: { children: ReactNode }) {
  return <kbd className="num rounded-[3px] border border-line bg-bg1 px-1 text-11 leading-4 text-fg2">{children}</kbd>
}
