import { z } from 'zod/mini'

// The page's policy forbids building code from strings, which zod would try for speed and the browser would report.
z.config({ jitless: true })

export { z }
