//! Where the published reference implementation is wrong, and we are not.

/// Defects of the published reference that change results. All are off by default; recorded results of the reference
/// are reproduced with all of them on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Attention without a cache, or with a cache weight, counts zero keys up to a multiple of 128. They weaken every
    /// other key, more at some resolutions than at others.
    pub padded_keys: bool,
    /// Where VACE is loaded, the timestep's angles are computed in single precision.
    pub single_precision_time: bool,
    /// The cache weight spares three newest frames even where the call has another number of frames.
    pub fixed_spared_frames: bool,
    /// An averaged sink is overwritten where the number of evicted frames is not that of the sink.
    pub overwritten_sink: bool,
    /// The memory bank takes the newest frame in again before every chunk, and right after a change of the text it
    /// scores its frames against nothing.
    pub restless_bank: bool,
    /// In video mode the noise scale replaces the first step alone, so that the second may be noisier. Otherwise all
    /// steps shrink in proportion.
    pub unsorted_steps: bool,
    /// Reward Forcing counts one frame too few for the first chunk of a video.
    pub short_first_chunk: bool,
    /// A prompt transition's first step is the embedding that it leaves, and one of a single step never gets away from
    /// it. Otherwise each step moves, and the last one arrives.
    pub stationary_first_step: bool,
    /// A prompt transition whose target is nearer than 0.01 does not take place, and its target is never reached.
    /// Otherwise it is a cut.
    pub skipped_near_targets: bool,
    /// While a prompt transition is on its way, and after a reset, the old prompts return unless the caller's have
    /// changed to the new ones. Otherwise what was asked for last stays asked for.
    pub returning_prompts: bool,
    /// Another method of blending prompts waits for other prompts. Otherwise it has effect at once.
    pub waiting_method: bool,
    /// Motion is measured over as many pictures as a chunk has latent frames, a quarter of them.
    pub short_motion_window: bool,
    /// Control signals as the reference encodes them: what is generated anew in one piece unless all of it is, several
    /// reference images as one clip, and the pictures of an extension without regard to the frames of a latent.
    pub mixed_control: bool,
}

impl Quirks {
    /// All defects, as in the reference.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            padded_keys: true,
            single_precision_time: true,
            fixed_spared_frames: true,
            overwritten_sink: true,
            restless_bank: true,
            unsorted_steps: true,
            short_first_chunk: true,
            stationary_first_step: true,
            skipped_near_targets: true,
            returning_prompts: true,
            waiting_method: true,
            short_motion_window: true,
            mixed_control: true,
        }
    }
}
