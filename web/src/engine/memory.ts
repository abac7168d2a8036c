/** Small things that the browser remembers. Storage that is full or forbidden must not stop a show. */
export function remember(
  key: string,
  value: string,
  storage: () => Pick<Storage, 'setItem'> = () => localStorage,
): void {
  try {
    storage().setItem(key, value)
  } catch {
    // Then it is forgotten at the next visit; for the document itself, see `doc/autosave.ts`.
  }
}
