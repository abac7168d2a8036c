//! The roll-out: chunk after chunk of latent frames, each denoised in a few steps on top of the cache.

use std::sync::Arc;

use scope_engine::Tensor;
use smallvec::{SmallVec, smallvec};

use super::{
    Adapters, Call, Family, KvCache, TextChange, TextContext, VaceContext, WanError, WanTransformer,
    config::ROPE_POSITIONS,
};
use crate::{quirks::Quirks, schedule::FlowSchedule};

/// Where the noise of a chunk comes from.
pub trait NoiseSource {
    /// A chunk begins. Its noise depends on this seed alone, where there is a seed.
    fn begin(&mut self, seed: u64) {
        let _ = seed;
    }

    /// Standard normal noise of this shape, `[frames, height, width, channels]`. The first draw of a chunk is its
    /// initial noise, each further one is for the next step.
    ///
    /// # Errors
    /// [`scope_engine::Error`] when it can't be made.
    fn draw(&mut self, shape: [usize; 4]) -> scope_engine::Result<Tensor>;
}

/// What a chunk is made from.
#[derive(Clone, Copy, Debug)]
pub struct ChunkRequest<'a> {
    /// Noisy latents to start from: noise, or noise mixed with an encoded video.
    pub latents: &'a Tensor,
    /// Timesteps, noisiest first.
    pub steps: &'a [f64],
    /// With a video as input, how much noise was mixed in: the first timestep follows from it.
    pub noise_scale: Option<f64>,
    /// Control signals and their strength.
    pub vace: Option<(&'a VaceContext, f32)>,
    /// Weight of cached keys; `None` is the family's default.
    pub cache_weight: Option<f32>,
    /// For families with a recomputed context: the autoencoder's latent of the picture that
    /// [`ChunkStream::wants_reencoded`] names.
    pub reencoded: Option<&'a Tensor>,
}

/// One endless stream of latents: the state of a session.
#[derive(Clone, Debug)]
pub struct ChunkStream {
    model: Arc<WanTransformer>,
    family: Family,
    schedule: FlowSchedule,
    quirks: Quirks,
    cache: KvCache,
    adapters: Adapters,
    /// The text's embedding, and how the model attends to it.
    text: Option<(Tensor, TextContext)>,
    text_changed: bool,
    /// Place of the next chunk's first frame.
    frame: usize,
    /// The newest finished latents, oldest first, for recaching or as context.
    history: Vec<Tensor>,
    /// The first latent of the stream.
    first: Option<Tensor>,
    /// The chunk whose clean pass is still to come.
    unfinished: Option<Unfinished>,
    latent_size: [usize; 2],
}

/// Finished latents without the keys that later chunks see.
#[derive(Clone, Debug)]
struct Unfinished {
    latents: Tensor,
    start: usize,
    text: TextContext,
}

impl ChunkStream {
    /// A stream of latents of `[height, width]`.
    ///
    /// # Errors
    /// [`WanError`] when the size is not a multiple of the patch or the cache can't be made.
    pub fn new(
        model: Arc<WanTransformer>,
        family: &Family,
        latent_size: [usize; 2],
        quirks: Quirks,
    ) -> Result<Self, WanError> {
        let [height, width] = latent_size;
        let patch = model.config().patch.max(1);
        if height == 0 || width == 0 || !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
            return Err(WanError::Input {
                what: "the latent size",
                found: format!("{height}×{width}"),
                expected: format!("multiples of {patch}"),
            });
        }
        let tokens = model.config().frame_tokens(height, width);
        let cache = KvCache::for_model(&model, &family.cache, tokens)?;
        Ok(Self {
            schedule: family.timestep_shift.map_or_else(FlowSchedule::exact, FlowSchedule::new),
            cache,
            family: family.clone(),
            model,
            quirks,
            adapters: Adapters::default(),
            text: None,
            text_changed: false,
            frame: 0,
            history: Vec::new(),
            first: None,
            unfinished: None,
            latent_size,
        })
    }

    /// Place of the next chunk's first frame in the stream.
    #[must_use]
    pub fn frame(&self) -> usize {
        self.frame
    }

    /// The family that is rolled out.
    #[must_use]
    pub fn family(&self) -> &Family {
        &self.family
    }

    /// The weights.
    #[must_use]
    pub fn model(&self) -> &WanTransformer {
        &self.model
    }

    /// Has a text been set?
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.text.is_some()
    }

    /// The cache, for inspection.
    #[must_use]
    pub fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Sets the text of all further chunks: embeddings `[positions, text_dim]`.
    ///
    /// # Errors
    /// [`WanError::Input`] when they don't fit the model.
    pub fn set_text(&mut self, embeddings: &Tensor) -> Result<(), WanError> {
        let context = self.model.text_context(embeddings, &self.adapters)?;
        self.text = Some((embeddings.clone(), context));
        self.text_changed = true;
        Ok(())
    }

    /// The strengths of the runtime adapters.
    #[must_use]
    pub fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// Sets the strengths of the runtime adapters. What was made of the text is made anew with them.
    ///
    /// # Errors
    /// [`WanError::Engine`] when the engine refuses an operator.
    pub fn set_adapters(&mut self, adapters: Adapters) -> Result<(), WanError> {
        self.adapters = adapters;
        match self.text.take() {
            Some((embeddings, _)) => self.set_text(&embeddings),
            None => Ok(()),
        }
    }

    /// Goes on with a model of the same sizes: the same one with VACE blocks, say.
    ///
    /// # Errors
    /// [`WanError::Input`] when its sizes are others.
    pub fn set_model(&mut self, model: Arc<WanTransformer>) -> Result<(), WanError> {
        if model.config() != self.model.config() {
            return Err(WanError::Input {
                what: "the other model",
                found: format!("one of {} features", model.config().dim),
                expected: "one of the same sizes".into(),
            });
        }
        self.cache.expect_vace_blocks(model.vace().map_or(0, |vace| vace.layers().len()));
        self.model = model;
        Ok(())
    }

    /// Starts the stream again at frame 0, with an empty cache. The text stays.
    pub fn reset(&mut self) {
        self.cache.clear();
        self.frame = 0;
        self.history.clear();
        self.first = None;
        self.unfinished = None;
    }

    /// Starts the stream again if the next chunk would reach beyond the tables of positions. Call it before a chunk's
    /// latents are made: their number depends on the place in the stream. Positions that count from the window's
    /// beginning never do.
    pub fn wrap(&mut self) {
        if !self.family.cache.relative_positions && self.frame >= ROPE_POSITIONS - self.family.chunk_frames {
            self.reset();
        }
    }

    /// Latent frames of the next chunk when there is no video input.
    #[must_use]
    pub fn next_frames(&self) -> usize {
        if self.frame == 0 { self.family.first_chunk_frames } else { self.family.chunk_frames }
    }

    /// Must the next chunk get [`ChunkRequest::reencoded`]: the autoencoder's latent of the oldest of the last
    /// [`super::RecomputedContext::decoded_frames`] decoded pictures?
    #[must_use]
    pub fn wants_reencoded(&self) -> bool {
        self.family.recomputed_context.is_some_and(|context| self.frame >= 2 * context.frames)
    }

    /// Generates a chunk: finished latents, `[frames, height, width, channels]`.
    ///
    /// # Errors
    /// [`WanError`] when something does not fit, or no text was set. The stream should be reset then.
    pub fn generate(
        &mut self,
        request: &ChunkRequest<'_>,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, WanError> {
        let latents = self.denoise(request, noise)?;
        self.finish()?;
        Ok(latents)
    }

    /// The first part of [`ChunkStream::generate`]: the finished latents, which can be decoded before the cache gets their
    /// keys. Go on with [`ChunkStream::finish`].
    ///
    /// # Errors
    /// As [`ChunkStream::generate`].
    pub fn denoise(
        &mut self,
        request: &ChunkRequest<'_>,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, WanError> {
        self.finish()?;
        let shape = self.check(request)?;
        let Some((_, text)) = self.text.clone() else {
            return Err(WanError::Input {
                what: "the text",
                found: "missing".into(),
                expected: "set before a chunk".into(),
            });
        };
        if std::mem::take(&mut self.text_changed) {
            self.cache.forget_text();
            if let (TextChange::Recache { history_frames }, true, None) =
                (self.family.text_change, self.frame > 0, request.noise_scale)
            {
                self.recache(&text, history_frames)?;
            }
        }
        let start = match self.family.recomputed_context {
            None => self.frame,
            Some(context) => {
                if self.frame > 0 {
                    self.recompute(&text, request.reencoded)?;
                }
                self.frame.min(context.frames)
            }
        };
        let weight = request.cache_weight.unwrap_or(self.family.cache_weight);
        self.model.settle_bank(&text, &self.adapters, &mut self.cache, self.quirks)?;
        let steps = self.steps(request);
        let mut x = request.latents.clone();
        for (index, &timestep) in steps.iter().enumerate() {
            let call = Call {
                latents: &x,
                timesteps: &[timestep],
                start_frame: start,
                text: &text,
                adapters: &self.adapters,
                vace: request.vace,
                cache_weight: Some(weight),
                clean: false,
                recache: false,
                quirks: self.quirks,
            };
            let flow = self.model.forward(&call, &mut self.cache)?;
            x = self.schedule.clean_latents(&x, &flow, timestep)?;
            if let Some(&next) = steps.get(index + 1) {
                x = self.schedule.add_noise(&x, &noise.draw(shape)?, next)?;
            }
        }
        if self.family.clean_pass {
            self.unfinished = Some(Unfinished { latents: x.clone(), start, text });
        }
        self.remember(&x, request.noise_scale.is_some())?;
        Ok(x)
    }

    /// The second part: the pass over the latents of [`ChunkStream::denoise`] that leaves their keys, where the family has one.
    ///
    /// # Errors
    /// As [`ChunkStream::generate`].
    pub fn finish(&mut self) -> Result<(), WanError> {
        match self.unfinished.take() {
            Some(Unfinished { latents, start, text }) => self.pass(&latents, start, &text, true, false),
            None => Ok(()),
        }
    }

    /// The timesteps of a chunk.
    fn steps(&self, request: &ChunkRequest<'_>) -> SmallVec<[f64; 8]> {
        let mut steps = SmallVec::from_slice(request.steps);
        if let (Some(scale), Some(&first)) = (request.noise_scale, request.steps.first()) {
            let replaced = self.schedule.first_timestep(scale);
            if self.quirks.unsorted_steps {
                steps[0] = replaced;
            } else if first > 0.0 {
                steps.iter_mut().for_each(|step| *step *= replaced.max(0.0) / first);
            }
        }
        steps
    }

    /// A pass at timestep 0 for its keys alone.
    fn pass(
        &mut self,
        latents: &Tensor,
        start: usize,
        text: &TextContext,
        clean: bool,
        recache: bool,
    ) -> Result<(), WanError> {
        let call = Call {
            latents,
            timesteps: &[0.0],
            start_frame: start,
            text,
            adapters: &self.adapters,
            vace: None,
            cache_weight: None,
            clean,
            recache,
            quirks: self.quirks,
        };
        self.model.leave_keys(&call, &mut self.cache)
    }

    /// Passes the newest frames through the model again, with the new text.
    fn recache(&mut self, text: &TextContext, history_frames: usize) -> Result<(), WanError> {
        let frames: SmallVec<[&Tensor; 16]> = self.history.iter().collect();
        let joined = Tensor::concat(&frames)?;
        drop(frames);
        let count = self.frame.min(history_frames).min(joined.dim(0));
        let newest = joined.narrow(joined.dim(0) - count, count)?;
        self.model.settle_bank(text, &self.adapters, &mut self.cache, self.quirks)?;
        self.pass(&newest, self.frame - count, text, false, true)?;
        if self.quirks.restless_bank {
            self.cache.forget_text();
        }
        Ok(())
    }

    /// Makes the cache anew from a frame of the past and the newest frames.
    fn recompute(&mut self, text: &TextContext, reencoded: Option<&Tensor>) -> Result<(), WanError> {
        let past = if self.wants_reencoded() { reencoded } else { self.first.as_ref() };
        let Some(past) = past else {
            return Err(WanError::Input {
                what: "the re-encoded picture",
                found: "missing".into(),
                expected: "one latent frame".into(),
            });
        };
        let mut frames: SmallVec<[&Tensor; 16]> = smallvec![past];
        frames.extend(&self.history);
        let context = Tensor::concat(&frames)?;
        drop(frames);
        self.cache.rewind();
        self.pass(&context, 0, text, false, false)
    }

    /// Keeps what later chunks need of this one, and moves on.
    fn remember(&mut self, latents: &Tensor, video: bool) -> Result<(), WanError> {
        let frames = latents.dim(0);
        if self.frame == 0 {
            self.first = Some(Tensor::concat(&[&latents.narrow(0, 1)?])?);
        }
        let kept = match (self.family.text_change, self.family.recomputed_context) {
            (_, Some(context)) => context.frames.saturating_sub(1),
            (TextChange::Recache { history_frames }, None) => history_frames,
            (TextChange::ForgetText, None) => 0,
        };
        for frame in 0..frames {
            self.history.push(Tensor::concat(&[&latents.narrow(frame, 1)?])?);
        }
        let excess = self.history.len().saturating_sub(kept);
        self.history.drain(..excess);
        let short =
            self.quirks.short_first_chunk && self.family.counts_chunk_frames && video && self.frame == 0;
        self.frame += if short { self.family.chunk_frames } else { frames };
        Ok(())
    }

    fn check(&self, request: &ChunkRequest<'_>) -> Result<[usize; 4], WanError> {
        let shape = request.latents.shape();
        let [height, width] = self.latent_size;
        let channels = self.model.config().in_dim;
        if shape.len() != 4 || shape[0] == 0 || shape[1..] != [height, width, channels] {
            return Err(WanError::Input {
                what: "the chunk's noise",
                found: shape.to_string(),
                expected: format!("[frames, {height}, {width}, {channels}]"),
            });
        }
        if request.steps.is_empty() {
            return Err(WanError::Input {
                what: "the list of steps",
                found: "empty".into(),
                expected: "a step".into(),
            });
        }
        Ok([shape[0], shape[1], shape[2], shape[3]])
    }
}
