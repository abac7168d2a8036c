/** Texts of shows that are rendered again, of copied blocks, and of a pipeline that is not here. */

const frames = (n: number) => (n === 1 ? '1 frame' : `${n.toLocaleString('en')} frames`)
const changes = (n: number) => (n === 1 ? '1 change' : `${n.toLocaleString('en')} changes`)

export const edit = {
  missingPipeline: {
    title: (id: string) => `The pipeline ${id} is not on this server`,
    body: 'This project was made with it. It stays chosen, and its values are kept. Install its plugin where the server runs and look again, or go on with another pipeline.',
    use: (name: string) => `Use ${name}`,
    again: 'Look again',
  },
  again: {
    title: 'Render again',
    command: 'Render the show again…',
    saveCommand: 'Save the exact score of the show',
    intro:
      'The server notes what every frame of a show was told. From that it makes the show once more, frame for frame, as an MP4.',
    shows: 'Shows',
    none: 'No show yet',
    noneHint: 'Start one, or open an exact score that was saved before.',
    origins: {
      air: () => 'On air now',
      ended: (time: string) => `Ended at ${time}`,
    },
    facts: (pipeline: string, mode: string, n: number, changed: number) =>
      [pipeline, mode, frames(n), changes(changed)].join(' · '),
    noLength: 'length not stated',
    exact: 'Exact',
    inexact: 'Not exact',
    why: {
      seconds: 'Its changes are at seconds and not at frames: they come with the next chunk, wherever that is.',
      unknown: 'The file does not say that it is.',
      words: (words: string) => `The server says: ${words}.`,
    },
    render: 'Render again',
    renderOf: (name: string) => `Render again: ${name}`,
    save: 'Save exact score',
    saveOf: (name: string) => `Save exact score: ${name}`,
    saved: (name: string) => `Saved ${name}`,
    remove: (name: string) => `Remove ${name} from the list`,
    open: 'Open exact score…',
    kept: 'Shows are listed until this page is closed. A saved score can be opened again.',
    clip: 'Input clip',
    clipHint:
      'It was made over a video, which a score does not hold. Choose the clip that stands in for it: the same changes at the same frames, over that clip from its beginning.',
    noClip: 'Choose a clip…',
    noClips: 'There is no clip on the server. Upload one to the library’s media first.',
    beside:
      'The show on air goes on. Both share this machine: where it has nothing to spare, the live picture slows down.',
    outlives: 'The server renders as fast as it can, also when this page is closed.',
    phases: { preparing: 'Loading what the show was made with…', ending: 'Cancelling…' },
    rendering: (pipeline: string) => `Rendering · ${pipeline}`,
    progress: 'Rendering',
    of: (made: number, all: number) => `${made.toLocaleString('en')} of ${frames(all)}`,
    left: (time: string) => `about ${time} left`,
    cancel: 'Cancel',
    chip: (percent: number) => `Rendering again, ${percent} %`,
    done: (name: string) => `Rendered ${name}`,
    doneHint: (n: number) => `All ${frames(n)} of the show are in it.`,
    film: (name: string) => `The film ${name}`,
    download: 'Download',
    dismiss: 'Dismiss',
    showIt: 'Show recordings',
    cancelled: 'Cancelled. Nothing was kept.',
    failed: 'It was not rendered',
    problems: {
      other_model:
        'Another session uses another model, or other settings that need a reload. It is not disturbed: stop it first, or set the parameters of this show and reload.',
      server_loading: 'The server is loading a model. Try again when it is there.',
      score_without_length: 'The score does not say which pipeline made it, or how many frames it has.',
      score_needs_clip: 'Choose the clip that stands in for the video.',
      render_running: 'The server renders one show at a time. Wait for the other one, or cancel it.',
      render_gone: 'The server has ended it, and knows nothing of it any more.',
      film_gone: 'Its film has been deleted.',
      pipeline_unloaded: 'Another model was loaded meanwhile. What is on air comes first.',
      out_of_memory: 'There is not enough memory to render beside what runs. Try again when it has ended.',
      http_404: 'The clip is not on the server any more.',
      body_too_large: 'Its score is larger than what the server takes.',
      models_missing: 'Files of its model are not on this machine. The models page fetches them.',
      pipeline_gone: (id: string) => `The pipeline ${id} is not on this server.`,
      other: (message: string) => message,
    },
  },
}
