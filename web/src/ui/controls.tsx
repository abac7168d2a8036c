import { ChevronDown } from 'lucide-react'
import { Select as RadixSelect, Switch as RadixSwitch, ToggleGroup } from 'radix-ui'
import type { ReactNode } from 'react'
import { cx } from './cx'

export interface Option {
  value: string
  label: string
  hint?: string | undefined
  /** A second line. */
  note?: ReactNode
  disabled?: boolean | undefined
}

interface ChoiceProps {
  label: string
  value: string
  options: readonly Option[]
  disabled?: boolean | undefined
  testId?: string | undefined
  onChange(value: string): void
}

/** A short list of exclusive choices, all visible. */
export function Segmented({ label, value, options, disabled, testId, onChange }: ChoiceProps) {
  return (
    <ToggleGroup.Root
      type="single"
      aria-label={label}
      data-testid={testId}
      value={value}
      disabled={disabled ?? false}
      onValueChange={(next) => next !== '' && onChange(next)}
      className="flex min-w-0 gap-0.5 rounded-1 border border-line bg-bg0 p-0.5"
    >
      {options.map((option) => (
        <ToggleGroup.Item
          key={option.value}
          value={option.value}
          disabled={option.disabled ?? false}
          className="h-6 min-w-0 flex-1 truncate rounded-[3px] px-2 text-12 font-medium text-fg2 transition-colors duration-100 hover:text-fg1 disabled:opacity-45 data-[state=on]:bg-bg3 data-[state=on]:text-fg1 data-[state=on]:shadow-[inset_0_-2px_0_var(--color-accent)] max-md:h-9"
        >
          {option.label}
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
  )
}

interface SelectProps extends ChoiceProps {
  placeholder?: string | undefined
  className?: string | undefined
  icon?: ReactNode
}

export function Select({
  label,
  value,
  options,
  disabled,
  testId,
  placeholder,
  className,
  icon,
  onChange,
}: SelectProps) {
  return (
    <RadixSelect.Root value={value} onValueChange={onChange} disabled={disabled ?? false}>
      <RadixSelect.Trigger
        aria-label={label}
        data-testid={testId}
        className={cx(
          'flex h-7 w-full min-w-0 items-center gap-2 rounded-1 border border-edge bg-bg2 px-2 text-left text-12 text-fg1 hover:bg-bg3 disabled:opacity-45 max-md:h-11 max-md:text-14',
          className,
        )}
      >
        {icon}
        <span className="min-w-0 flex-1 truncate">
          <RadixSelect.Value placeholder={placeholder} />
        </span>
        <ChevronDown size={14} className="shrink-0 text-fg3" aria-hidden />
      </RadixSelect.Trigger>
      <RadixSelect.Portal>
        <RadixSelect.Content
          position="popper"
          sideOffset={4}
          collisionPadding={8}
          className="z-50 max-h-(--radix-select-content-available-height) min-w-(--radix-select-trigger-width) overflow-hidden rounded-1 border border-edge bg-bg2 p-1 shadow-xl shadow-black/50"
        >
          <RadixSelect.Viewport>
            {options.map((option) => (
              <RadixSelect.Item
                key={option.value}
                value={option.value}
                disabled={option.disabled ?? false}
                className="flex min-h-7 cursor-pointer items-center gap-3 rounded-[3px] px-2 py-1 text-12 text-fg1 outline-none select-none data-[disabled]:text-fg3 data-[highlighted]:bg-bg3 data-[state=checked]:text-accent max-md:min-h-11"
              >
                <span className="flex min-w-0 flex-col">
                  <RadixSelect.ItemText>{option.label}</RadixSelect.ItemText>
                  {option.note}
                </span>
                {option.hint && <span className="ml-auto pl-3 text-11 text-fg3">{option.hint}</span>}
              </RadixSelect.Item>
            ))}
          </RadixSelect.Viewport>
        </RadixSelect.Content>
      </RadixSelect.Portal>
    </RadixSelect.Root>
  )
}

interface SwitchProps {
  label: string
  checked: boolean
  disabled?: boolean | undefined
  testId?: string | undefined
  describedBy?: string | undefined
  onChange(checked: boolean): void
}

export function Switch({ label, checked, disabled, testId, describedBy, onChange }: SwitchProps) {
  return (
    <RadixSwitch.Root
      aria-label={label}
      aria-describedby={describedBy}
      data-testid={testId}
      checked={checked}
      disabled={disabled ?? false}
      onCheckedChange={onChange}
      className="relative h-6 w-10 shrink-0 rounded-full border border-edge bg-bg0 transition-colors duration-100 disabled:opacity-45 data-[state=checked]:border-accent data-[state=checked]:bg-accent"
    >
      <RadixSwitch.Thumb className="block h-4 w-4 translate-x-[3px] rounded-full bg-fg2 transition-transform duration-100 data-[state=checked]:translate-x-[19px] data-[state=checked]:bg-accent-ink" />
    </RadixSwitch.Root>
  )
}
