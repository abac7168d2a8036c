import { z } from '../api/zod'
import { type Mapping, mappingSchema } from './mapping'

/** Mappings in named profiles, kept in the browser and carried as files. */

const STORAGE_KEY = 'scope.mappings'
const MAX_NAME = 60

export const profilesSchema = z.object({
  active: z.string(),
  profiles: z.record(z.string(), z.array(mappingSchema)),
})
export type Profiles = z.infer<typeof profilesSchema>

const fileSchema = z.object({
  kind: z.literal('scope-mappings'),
  version: z.literal(1),
  name: z.string().check(z.minLength(1), z.maxLength(200)),
  mappings: z.array(mappingSchema).check(z.maxLength(2000)),
})

export function noProfiles(name: string): Profiles {
  return { active: name, profiles: { [name]: [] } }
}

export function readProfiles(storage: Pick<Storage, 'getItem'>, name: string): Profiles {
  try {
    const read = profilesSchema.parse(JSON.parse(storage.getItem(STORAGE_KEY) ?? 'null'))
    return read.profiles[read.active] ? read : noProfiles(name)
  } catch {
    return noProfiles(name)
  }
}

export function keepProfiles(storage: Pick<Storage, 'setItem'>, profiles: Profiles): void {
  try {
    storage.setItem(STORAGE_KEY, JSON.stringify(profiles))
  } catch {
    // A full or forbidden storage: they hold until the page is closed.
  }
}

export const mappingsOf = ({ active, profiles }: Profiles): readonly Mapping[] => profiles[active] ?? []

export function withMappings(profiles: Profiles, mappings: readonly Mapping[]): Profiles {
  return { ...profiles, profiles: { ...profiles.profiles, [profiles.active]: [...mappings] } }
}

/** A name that is not taken: "Stage", "Stage 2". */
export function freeName(profiles: Profiles, wanted: string): string {
  const name = wanted.trim().slice(0, MAX_NAME) || '1'
  for (let n = 2, candidate = name; ; n++) {
    if (!(candidate in profiles.profiles)) return candidate
    candidate = `${name} ${n}`
  }
}

export function addProfile(profiles: Profiles, name: string, mappings: readonly Mapping[] = []): Profiles {
  const free = freeName(profiles, name)
  return { active: free, profiles: { ...profiles.profiles, [free]: [...mappings] } }
}

export function renameProfile({ active, profiles }: Profiles, name: string): Profiles {
  const { [active]: mappings = [], ...others } = profiles
  return addProfile({ active: '', profiles: others }, name, mappings)
}

/** The last one is emptied instead. */
export function removeProfile({ active, profiles }: Profiles): Profiles {
  const { [active]: _, ...others } = profiles
  const [next] = Object.keys(others)
  return next === undefined ? noProfiles(active) : { active: next, profiles: others }
}

export function profileFile(profiles: Profiles): string {
  const file = { kind: 'scope-mappings', version: 1, name: profiles.active, mappings: mappingsOf(profiles) }
  return `${JSON.stringify(file, null, 2)}\n`
}

/** Adds what a file holds as a profile of its own; throws when it is not such a file. */
export function importProfile(profiles: Profiles, text: string): Profiles {
  const { name, mappings } = fileSchema.parse(JSON.parse(text))
  return addProfile(profiles, name, mappings)
}
