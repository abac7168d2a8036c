//! A video as it is generated, chunk after chunk: prompts, video input, control signals, latents, pictures.
//!
//! One [`VideoStream`] is one session. Weights are shared; all that a session remembers is here.

use std::{
    error::Error as StdError,
    sync::Arc,
    time::{Duration, Instant},
};

use scope_engine::{
    Tensor,
    ops::{self, PendingBytes},
};
use smallvec::SmallVec;

use crate::{
    control::{Control, StreamEncoder},
    frames::{self, FrameError, Layout, Picture},
    noise_controller::NoiseController,
    prompt::{self, Change, Interpolation, Prompt, PromptError, PromptState, Transition},
    quirks::Quirks,
    text::TextEncoder,
    vae::{DecoderMemory, EncoderMemory, LatentScale, VaeError, VideoAutoencoder},
    wan::{Adapters, ChunkRequest, ChunkStream, Family, NoiseSource, VaceContext, WanError, WanTransformer},
};

/// Turns prompts into embeddings.
pub trait TextConditioner {
    /// One embedding `[positions, features]` for each text.
    ///
    /// # Errors
    /// When a text can't be encoded.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Tensor>, ConditionError>;
}

/// What a [`TextConditioner`] ran into.
#[derive(Debug, thiserror::Error)]
#[error("the prompt could not be encoded: {0}")]
pub struct ConditionError(#[source] pub Box<dyn StdError + Send + Sync>);

impl TextConditioner for Arc<TextEncoder> {
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Tensor>, ConditionError> {
        self.encode(texts).map_err(|error| ConditionError(error.into()))
    }
}

/// Why a chunk could not be generated. The next one starts the stream anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The prompts give no embedding.
    #[error("{0}")]
    Prompt(#[from] PromptError<ConditionError>),
    /// The input pictures can't be used.
    #[error("the input video: {0}")]
    Input(#[from] FrameError),
    /// The transformer refused.
    #[error("{0}")]
    Model(#[from] WanError),
    /// The autoencoder refused.
    #[error("{0}")]
    Autoencoder(#[from] VaeError),
    /// The engine refused an operator.
    #[error("{0}")]
    Engine(#[from] scope_engine::Error),
}

/// What to control a chunk with: pictures of any size and, where they are a video, of any number. What they mean is said
/// at [`Control`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlPictures<'a> {
    /// A control video, or a video to inpaint.
    pub frames: Option<&'a [Picture<'a>]>,
    /// What of it is generated anew: masks of one channel.
    pub masks: Option<&'a [Picture<'a>]>,
    /// Pictures of things to show.
    pub references: &'a [Picture<'a>],
    /// A picture to start from.
    pub first: Option<Picture<'a>>,
    /// A picture to arrive at.
    pub last: Option<Picture<'a>>,
}

impl ControlPictures<'_> {
    /// Is there a picture that leads the way, so that a chunk must have VACE blocks?
    #[must_use]
    pub fn any(&self) -> bool {
        self.frames.is_some() || !self.references.is_empty() || self.first.is_some() || self.last.is_some()
    }
}

/// What a chunk is asked to be.
#[derive(Clone, Copy, Debug)]
pub struct VideoCall<'a> {
    /// The mix of prompts that the user holds.
    pub prompts: &'a [Prompt],
    /// A move to other prompts that starts now.
    pub transition: Option<&'a Transition>,
    /// How the prompts of a mix are blended.
    pub method: Interpolation,
    /// Pictures to turn into others, of any size and number; without them the video is made from text alone.
    pub video: Option<&'a [Picture<'a>]>,
    /// How much noise hides the input video, 0 to 1; `None` is 0.7.
    pub noise_scale: Option<f64>,
    /// The noise follows the motion of the input.
    pub follow_motion: bool,
    /// Timesteps, noisiest first.
    pub steps: &'a [f64],
    /// The steps move by themselves, so that other ones are no reason to start anew.
    pub moving_steps: bool,
    /// Changes that the past would spoil start the stream anew: other steps, or another prompt over an input video.
    pub manage_cache: bool,
    /// The stream starts anew.
    pub reset: bool,
    /// Seed of the video. The noise of a chunk depends on it and on the chunk's place in the stream.
    pub seed: u64,
    /// Control signals.
    pub control: ControlPictures<'a>,
    /// Their strength.
    pub control_scale: f32,
    /// Weight of the cached past; `None` is the family's default.
    pub cache_weight: Option<f32>,
    /// How the bytes of the pictures are to be laid out.
    pub layout: Layout,
}

/// The pictures of a latent frame.
#[derive(Debug)]
pub struct Decoded {
    /// `[frames, height, width, 3]` in [-1, 1].
    pub pictures: Tensor,
    /// The same as bytes, on their way, laid out as the call says.
    pub bytes: PendingBytes,
    /// Pictures of the chunk before these.
    pub first: usize,
    /// Pictures of the whole chunk.
    pub total: usize,
}

/// Where the time of a chunk went, as its caller waited for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Text encoding; next to nothing for a chunk whose prompts were encoded before.
    pub text: Duration,
    /// Encoding the input video, its motion included; without one, drawing the noise.
    pub encode: Duration,
    /// Encoding the control signals and the context made anew.
    pub control: Duration,
    /// The transformer's steps.
    pub denoise: Duration,
    /// Decoding the latents to pictures.
    pub decode: Duration,
    /// The transformer's pass over what its steps made, after which the cache is ready for the next chunk.
    pub clean: Duration,
}

impl StageTimes {
    /// Each stage by name, in the order in which a chunk goes through them.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Duration); 6] {
        [
            ("text", self.text),
            ("encode", self.encode),
            ("control", self.control),
            ("denoise", self.denoise),
            ("decode", self.decode),
            ("clean", self.clean),
        ]
    }
}

/// The time since `*last`, which becomes now.
fn lap(last: &mut Instant) -> Duration {
    let now = Instant::now();
    now.duration_since(std::mem::replace(last, now))
}

/// Noise scale of an input video where the user sets none.
const DEFAULT_NOISE_SCALE: f64 = 0.7;
/// Pictures of a latent frame.
const LATENT_FRAMES: usize = 4;

/// The state of one video.
pub struct VideoStream {
    chunks: ChunkStream,
    autoencoder: Arc<dyn VideoAutoencoder>,
    encoder: EncoderMemory,
    decoder: DecoderMemory,
    control: [EncoderMemory; 2],
    prompts: PromptState,
    controller: NoiseController,
    /// Did the chunk before have an input video? `None` before the first chunk.
    had_video: Option<bool>,
    /// Was a transition on its way in the chunk before?
    was_moving: bool,
    steps: Vec<f64>,
    /// The newest decoded pictures, where the family makes context of them.
    decoded: Vec<Tensor>,
    /// Height and width of the pictures.
    size: [usize; 2],
    quirks: Quirks,
    /// The last chunk failed half-way.
    broken: bool,
    stages: StageTimes,
}

impl VideoStream {
    /// A video of pictures of `size`, `[height, width]`.
    ///
    /// # Errors
    /// [`VideoError::Model`] when the size does not suit the model.
    pub fn new(
        model: Arc<WanTransformer>,
        autoencoder: Arc<dyn VideoAutoencoder>,
        family: &Family,
        size: [usize; 2],
        quirks: Quirks,
    ) -> Result<Self, VideoError> {
        let scale = autoencoder.spatial_factor();
        if size.iter().any(|side| !side.is_multiple_of(scale)) {
            return Err(WanError::Input {
                what: "the size of the video",
                found: format!("{}×{}", size[1], size[0]),
                expected: format!("multiples of {scale}"),
            }
            .into());
        }
        let latent_size = size.map(|side| side / scale);
        // The reference gives the controller the number of latent frames, and so watches the newest pictures alone.
        let window = if quirks.short_motion_window {
            family.chunk_frames
        } else {
            LATENT_FRAMES * family.chunk_frames
        };
        Ok(Self {
            chunks: ChunkStream::new(model, family, latent_size, quirks)?,
            autoencoder,
            encoder: EncoderMemory::default(),
            decoder: DecoderMemory::default(),
            control: Default::default(),
            prompts: PromptState::new(quirks),
            controller: NoiseController::new(window),
            had_video: None,
            was_moving: false,
            steps: Vec::new(),
            decoded: Vec::new(),
            size,
            quirks,
            broken: false,
            stages: StageTimes::default(),
        })
    }

    /// The roll-out behind the video.
    #[must_use]
    pub fn chunks(&self) -> &ChunkStream {
        &self.chunks
    }

    /// Where the time of the last chunk went; of one that failed, up to where it got.
    #[must_use]
    pub fn stages(&self) -> &StageTimes {
        &self.stages
    }

    /// Sets the strengths of the runtime adapters. Frames that were made with others keep their keys until they are
    /// evicted, unless the next chunk resets the stream.
    ///
    /// # Errors
    /// [`VideoError::Model`] when the engine refuses an operator.
    pub fn set_adapters(&mut self, adapters: Adapters) -> Result<(), VideoError> {
        Ok(self.chunks.set_adapters(adapters)?)
    }

    /// Goes on with a model of the same sizes: the same one with VACE blocks, say.
    ///
    /// # Errors
    /// [`VideoError::Model`] when its sizes are others.
    pub fn set_model(&mut self, model: Arc<WanTransformer>) -> Result<(), VideoError> {
        Ok(self.chunks.set_model(model)?)
    }

    /// Generates a chunk and returns its latents. `emit` gets the pictures of each latent frame as soon as they are decoded.
    ///
    /// # Errors
    /// [`VideoError`]; the next chunk then starts the stream anew.
    pub fn generate(
        &mut self,
        call: &VideoCall<'_>,
        text: &mut dyn TextConditioner,
        noise: &mut dyn NoiseSource,
        emit: &mut dyn FnMut(Decoded),
    ) -> Result<Tensor, VideoError> {
        let result = self.attempt(call, text, noise, emit);
        self.broken = result.is_err();
        result
    }

    fn attempt(
        &mut self,
        call: &VideoCall<'_>,
        text: &mut dyn TextConditioner,
        noise: &mut dyn NoiseSource,
        emit: &mut dyn FnMut(Decoded),
    ) -> Result<Tensor, VideoError> {
        self.stages = StageTimes::default();
        let mut last = Instant::now();
        let changed_mode = self.had_video != Some(call.video.is_some());
        let mut reset = call.reset || self.broken || changed_mode;
        let asked =
            prompt::Call { prompts: call.prompts, transition: call.transition, method: call.method, reset };
        let conditioning = self.prompts.advance(&asked, |texts| text.embed(texts))?;
        if self.steps != call.steps {
            reset |= call.manage_cache && !call.moving_steps && !self.steps.is_empty();
            self.steps = call.steps.to_vec();
        }
        // Another prompt over an input video would fight with a past that shows the old one; a transition takes the past along.
        let cut = conditioning.change == Change::Cut && !self.was_moving && !conditioning.moving;
        reset |= cut && call.manage_cache && (call.video.is_some() || call.control.frames.is_some());
        self.was_moving = conditioning.moving;
        self.had_video = Some(call.video.is_some());
        if reset {
            self.restart();
        }
        let before = self.chunks.frame();
        self.chunks.wrap();
        if self.chunks.frame() < before {
            self.restart();
        }
        if conditioning.change != Change::None || !self.chunks.has_text() {
            self.chunks.set_text(&conditioning.embedding)?;
        }
        // The autoencoder may have an order of work of its own: what it does and what the transformer does are done side by side.
        let device = self.chunks.model().device().clone();
        let beside = self.autoencoder.device();
        let mut lap = || {
            device.settle();
            beside.settle();
            lap(&mut last)
        };
        self.stages.text = lap();

        noise.begin(call.seed.wrapping_add(self.chunks.frame() as u64));
        let (latents, noise_scale) = match call.video {
            Some(pictures) => {
                let (latents, scale) = self.encode(pictures, call, noise)?;
                (latents, Some(scale))
            }
            None => (self.blank(noise)?, None),
        };
        self.stages.encode = lap();
        let control = self.control(&call.control)?;
        let reencoded = match self.chunks.wants_reencoded() {
            true => self.decoded.first().map(|picture| self.encode_again(picture)).transpose()?,
            false => None,
        };
        self.stages.control = lap();
        let request = ChunkRequest {
            latents: &latents,
            steps: call.steps,
            noise_scale,
            vace: control.as_ref().map(|context| (context, call.control_scale)),
            cache_weight: call.cache_weight,
            reencoded: reencoded.as_ref(),
        };
        let latents = self.chunks.denoise(&request, noise)?;
        self.stages.denoise = lap();
        let opening = if self.decoder.is_fresh() { self.autoencoder.opening_pictures() } else { 0 };
        let total = opening + LATENT_FRAMES * (latents.dim(0) - opening.min(1));
        let mut first = 0;
        // Where operators return early, the rest of the chunk is begun before somebody waits for pictures.
        let mut waiting: SmallVec<[Decoded; 8]> = SmallVec::new();
        let handed = latents.to_device(&beside)?;
        let at_once = if device.returns_early() { self.autoencoder.latents_at_once().max(1) } else { 1 };
        for frame in (0..handed.dim(0)).step_by(at_once) {
            let next = handed.narrow(frame, at_once.min(handed.dim(0) - frame))?;
            let pictures = self.autoencoder.decode_next(&mut self.decoder, &next)?;
            self.remember(&pictures)?;
            let shown = pictures.dim(0);
            let decoded = Decoded { bytes: frames::bytes(&pictures, call.layout)?, pictures, first, total };
            first += shown;
            self.stages.decode += lap();
            if device.returns_early() {
                waiting.push(decoded);
            } else {
                emit(decoded);
                // What becomes of the pictures is not decoding.
                lap();
            }
        }
        self.chunks.finish()?;
        self.stages.clean = lap();
        waiting.into_iter().for_each(&mut *emit);
        Ok(latents)
    }

    /// A decoded picture as a latent of the transformer's.
    fn encode_again(&self, picture: &Tensor) -> Result<Tensor, VideoError> {
        let latent = self.autoencoder.encode_once(picture, self.scale())?;
        Ok(latent.to_device(self.chunks.model().device())?)
    }

    /// The control signals of a chunk.
    fn control(&mut self, pictures: &ControlPictures<'_>) -> Result<Option<VaceContext>, VideoError> {
        if !pictures.any() {
            return Ok(None);
        }
        let (device, size, count) = (self.autoencoder.device(), self.size, self.input_pictures());
        let frames = pictures.frames.map(|frames| frames::video(&device, frames, size, count)).transpose()?;
        let masks = pictures.masks.map(|masks| frames::masks(&device, masks, size, count)).transpose()?;
        let cover = |picture: &Picture<'_>| frames::cover(&device, picture, size);
        let references = pictures.references.iter().map(cover).collect::<Result<Vec<_>, _>>()?;
        let first = pictures.first.as_ref().map(cover).transpose()?;
        let last = pictures.last.as_ref().map(cover).transpose()?;
        let control = Control {
            frames: frames.as_ref(),
            masks: masks.as_ref(),
            references: &references,
            first: first.as_ref(),
            last: last.as_ref(),
        };
        let mut encoder = StreamEncoder {
            autoencoder: &*self.autoencoder,
            video: &mut self.encoder,
            own: &mut self.control,
            decoder: &self.decoder,
            quirks: self.quirks,
        };
        let context = control.context(&mut encoder, self.chunks.family().chunk_frames, self.quirks)?;
        let device = self.chunks.model().device();
        Ok(context.map(|context| context.0.to_device(device).map(VaceContext)).transpose()?)
    }

    /// Pictures that a chunk is made from when it is made from a video.
    fn input_pictures(&self) -> usize {
        let opening = if self.chunks.frame() == 0 { self.autoencoder.opening_pictures() } else { 0 };
        LATENT_FRAMES * self.chunks.family().chunk_frames + opening
    }

    /// Forgets the past; prompts stay.
    fn restart(&mut self) {
        self.chunks.reset();
        self.encoder.clear();
        self.decoder.clear();
        self.control.iter_mut().for_each(EncoderMemory::clear);
        self.controller.forget();
        self.decoded.clear();
    }

    /// Noise alone.
    fn blank(&self, noise: &mut dyn NoiseSource) -> Result<Tensor, VideoError> {
        let scale = self.autoencoder.spatial_factor();
        let channels = self.chunks.model().config().in_dim;
        Ok(noise.draw([self.chunks.next_frames(), self.size[0] / scale, self.size[1] / scale, channels])?)
    }

    /// The input video as noisy latents, and the noise scale.
    fn encode(
        &mut self,
        pictures: &[Picture<'_>],
        call: &VideoCall<'_>,
        noise: &mut dyn NoiseSource,
    ) -> Result<(Tensor, f64), VideoError> {
        let video = frames::video(&self.autoencoder.device(), pictures, self.size, self.input_pictures())?;
        let mut scale = call.noise_scale.unwrap_or(DEFAULT_NOISE_SCALE);
        if call.follow_motion {
            scale = self.controller.update(&video, scale)?;
        }
        let latent_scale = self.scale();
        let clean = self.autoencoder.encode(&mut self.encoder, &video, latent_scale)?;
        let clean = clean.to_device(self.chunks.model().device())?;
        let shape = clean.shape();
        let noise = noise.draw([shape[0], shape[1], shape[2], shape[3]])?;
        Ok((ops::mix(noise, scale as f32, &clean, 1.0 - scale as f32)?, scale))
    }

    fn scale(&self) -> LatentScale {
        if self.chunks.family().normalised_latents { LatentScale::Normalised } else { LatentScale::Raw }
    }

    fn remember(&mut self, pictures: &Tensor) -> Result<(), VideoError> {
        let Some(context) = self.chunks.family().recomputed_context else { return Ok(()) };
        for frame in 0..pictures.dim(0) {
            self.decoded.push(Tensor::concat(&[&pictures.narrow(frame, 1)?])?);
        }
        let excess = self.decoded.len().saturating_sub(context.decoded_frames);
        self.decoded.drain(..excess);
        Ok(())
    }
}
