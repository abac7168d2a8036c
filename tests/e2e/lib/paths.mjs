import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const at = (path) => fileURLToPath(new URL(path, import.meta.url))

export const HERE = at('..')
export const ROOT = at('../../..')
/** What a failed story leaves behind; git ignores it. */
export const OUT = at('../out')
export const IN_PAGE = at('./in-page.js')
export const PAGES = at('../pages')
export const SCOPE_BIN = process.env.SCOPE_BIN ?? at('../../../target/release/scope')
/** Writes tiny model files; built with the tests of the Rust workspace. */
export const TINY_MODELS = process.env.TINY_MODELS ?? join(dirname(SCOPE_BIN), 'examples/tiny_models')
export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
