import { againCommands } from '../again/commands'
import { controlCommands } from '../control/commands'
import { deckCommands } from '../deck/commands'
import { graphCommands } from '../graph/commands'
import { installCommands } from '../install/commands'
import { libraryCommands } from '../library/commands'
import { logCommands } from '../logs/commands'
import { modelCommands } from '../models/commands'
import { noticeCommands } from '../notices/commands'
import { outputCommands } from '../output/commands'
import { paletteCommands } from '../palette/commands'
import { projectCommands } from '../project/commands'
import { promptCommands } from '../prompt/commands'
import { settingsCommands } from '../settings/commands'
import { stageCommands } from '../stage/commands'
import { tempoCommands } from '../tempo/commands'
import { timelineCommands } from '../timeline/commands'
import type { Command } from './command'
import { viewCommands } from './viewCommands'

/** Every command of the page. A feature adds its own by exporting them from its folder. */
export const commands: readonly Command[] = [
  // First: in the timeline M moves a block, and L repeats a part.
  ...timelineCommands,
  ...stageCommands,
  ...promptCommands,
  ...deckCommands,
  ...tempoCommands,
  ...projectCommands,
  ...outputCommands,
  ...againCommands,
  ...modelCommands,
  ...libraryCommands,
  ...logCommands,
  ...noticeCommands,
  ...paletteCommands,
  ...settingsCommands,
  ...controlCommands,
  ...viewCommands,
  ...graphCommands,
  ...installCommands,
]
