import { X } from 'lucide-react'
import { Dialog } from 'radix-ui'
import type { CSSProperties, ReactNode } from 'react'
import { t } from '../messages'
import { IconButton } from './Button'
import { cx } from './cx'
import { useFocusBack } from './focusBack'

interface SheetProps {
  open: boolean
  title: string
  /** `small` is in the middle too: a question rather than a workplace. */
  side: 'left' | 'right' | 'bottom' | 'center' | 'small'
  description?: string
  /** Room for a grid; on a phone the whole width. */
  wide?: boolean
  /** What it leaves free of the page. */
  style?: CSSProperties | undefined
  children: ReactNode
  onClose(): void
}

const SIDE = {
  left: 'inset-y-0 left-0 w-80 max-w-[92vw] border-r',
  right: 'inset-y-0 right-0 w-88 max-w-[92vw] border-l',
  bottom: 'inset-x-0 bottom-0 h-[55vh] border-t',
  small: 'top-1/2 left-1/2 max-h-[86vh] w-[min(460px,94vw)] -translate-1/2 rounded-2 border',
  center: 'top-1/2 left-1/2 max-h-[86vh] w-[min(720px,94vw)] -translate-1/2 rounded-2 border',
}

/** A dialog, or at the edges a drawer that leaves the picture visible and usable. Escape closes, focus returns. */
export function Sheet({ open, title, side, description, wide = false, style, children, onClose }: SheetProps) {
  const modal = side === 'center' || side === 'small'
  const focus = useFocusBack()
  return (
    <Dialog.Root modal={modal} open={open} onOpenChange={(next) => !next && onClose()}>
      <Dialog.Portal>
        {modal && <Dialog.Overlay className="fixed inset-0 z-40 bg-black/60" />}
        <Dialog.Content
          onOpenAutoFocus={(event) => {
            // Not the close button: it would greet with its tooltip.
            event.preventDefault()
            focus.remember()
            if (event.currentTarget instanceof HTMLElement) event.currentTarget.focus()
          }}
          onCloseAutoFocus={focus.giveBack}
          data-modal={modal || undefined}
          style={style}
          onInteractOutside={(event) => !modal && event.preventDefault()}
          className={cx(
            'fixed z-40 flex flex-col border-line outline-none bg-bg1 shadow-2xl shadow-black/60',
            SIDE[side],
            wide && 'w-[min(560px,100vw)]! max-w-none!',
          )}
          {...(description ? {} : { 'aria-describedby': undefined })}
        >
          <div className="flex h-12 shrink-0 items-center border-b border-line pr-2 pl-4">
            <Dialog.Title className="text-14 font-semibold">{title}</Dialog.Title>
            <Dialog.Close asChild>
              <IconButton label={t.common.close} className="ml-auto">
                <X size={16} aria-hidden />
              </IconButton>
            </Dialog.Close>
          </div>
          {description && <Dialog.Description className="px-4 pt-3 text-12 text-fg2">{description}</Dialog.Description>}
          <div className="min-h-0 flex-1 overflow-auto">{children}</div>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  )
}
