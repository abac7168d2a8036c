use crate::{
    Chunk, ChunkReport, GenerateError, Generator, InputMode, Needs, Output, Sampling, Snapshot, prompt,
};
use scope_engine::Tensor;
use scope_frame::{Image, PixelFormat};
use scope_models::control::Control;
use scope_models::frames::{self, Picture};
use scope_models::noise::SeededNoise;
use scope_models::pocket::PocketModel;
use scope_models::prompt::{Interpolation, Prompt, Transition};
use scope_models::video::{VideoCall, VideoError, VideoStream};
use serde_json::Value;
use std::sync::Arc;

/// Pictures of a chunk, which is one latent frame.
const PICTURES: usize = 4;

/// One session's video.
pub(super) struct Run {
    model: Arc<PocketModel>,
    stream: VideoStream,
    /// Height and width.
    size: [usize; 2],
    /// Seed of a session that sets none.
    seed: u64,
    /// Timesteps of a session that sets none.
    steps: Vec<f64>,
    /// Latent frames since the last reset: each has noise of its own.
    frame: u64,
    /// A reset that the next chunk makes.
    reset: bool,
}

impl Run {
    pub(super) fn new(model: Arc<PocketModel>, size: [usize; 2], seed: u64) -> Result<Self, VideoError> {
        let stream = model.video(size)?;
        let steps = model.config().timesteps();
        Ok(Self { model, stream, size, seed, steps, frame: 0, reset: false })
    }

    fn pictures(&mut self, chunk: &Chunk<'_>) -> Result<Vec<Image>, GenerateError> {
        let parameters = chunk.parameters;
        let reset = std::mem::take(&mut self.reset) || parameters.is_true("reset_cache");
        if reset {
            self.frame = 0;
        }
        let prompts = texts(&parameters.prompts().unwrap_or_default());
        // A model of pictures needs some text, and knows the empty one.
        let prompts = if prompts.is_empty() { texts(&[nothing()]) } else { prompts };
        let transition = transition(parameters);
        let steps = parameters.get::<Vec<f64>>("denoising_step_list").filter(|steps| !steps.is_empty());
        let input: Vec<Image> =
            chunk.inputs.get("video").into_iter().flatten().map(|frame| frame.image.to_rgb8()).collect();
        let input: Vec<Picture<'_>> = input
            .iter()
            .map(|image| Picture {
                height: image.height() as usize,
                width: image.width() as usize,
                bytes: image.data(),
            })
            .collect();
        let seed = parameters.get::<u64>("base_seed").unwrap_or(self.seed);
        let call = VideoCall {
            prompts: &prompts,
            transition: transition.as_ref(),
            method: method(parameters.get::<Value>("prompt_interpolation_method").as_ref()),
            video: (!input.is_empty()).then_some(&input),
            noise_scale: parameters.f64("noise_scale"),
            follow_motion: parameters.get("noise_controller").unwrap_or(true),
            steps: steps.as_deref().unwrap_or(&self.steps),
            manage_cache: parameters.get("manage_cache").unwrap_or(true),
            reset,
            control: Control::default(),
            control_scale: 1.0,
            cache_weight: None,
        };
        let device = self.model.device().clone();
        let mut noise = SeededNoise::new(&device, seed.wrapping_add(self.frame));
        let mut text = Arc::clone(self.model.text_encoder());
        let stream = &mut self.stream;
        let mut decoded: Option<Tensor> = None;
        let made = device
            .install(|| stream.generate(&call, &mut text, &mut noise, &mut |tensor| decoded = Some(tensor)));
        made.map_err(|error| failed(&error))?;
        self.frame = self.frame.wrapping_add(1);
        let bytes = decoded.map(|pictures| frames::bytes(&pictures)).transpose();
        let bytes = bytes.map_err(|error| failed(&error))?.unwrap_or_default();
        let [height, width] = self.size;
        bytes
            .chunks_exact(height * width * 3)
            .map(|bytes| Image::new(PixelFormat::Rgb8, width as u32, height as u32, bytes.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|error| failed(&error))
    }
}

impl Generator for Run {
    fn needs(&self, mode: InputMode) -> Needs {
        match mode {
            InputMode::Text => Needs::Nothing,
            InputMode::Video => Needs::Frames { count: PICTURES, sampling: Sampling::Uniform },
        }
    }

    fn generate(
        &mut self,
        chunk: Chunk<'_>,
        emit: &mut dyn FnMut(Output),
    ) -> Result<ChunkReport, GenerateError> {
        let pictures = self.pictures(&chunk)?;
        let input = chunk.inputs.get("video").map_or(&[][..], Vec::as_slice);
        for (index, image) in pictures.into_iter().enumerate() {
            // Fewer input frames than pictures stand for several each.
            let source = input.get(index * input.len() / PICTURES);
            emit(Output::Frame { port: "video", image, captured_at: source.map(|frame| frame.captured_at) });
        }
        Ok(ChunkReport::default())
    }

    fn frame_rate(&self, mode: InputMode) -> Option<f64> {
        (mode == InputMode::Text).then_some(self.model.config().video.fps)
    }

    fn reset(&mut self) {
        self.reset = true;
    }
}

fn failed(error: &dyn ToString) -> GenerateError {
    GenerateError::Failed(error.to_string())
}

fn nothing() -> prompt::Prompt {
    prompt::Prompt { text: String::new(), weight: 1.0 }
}

fn texts(prompts: &[prompt::Prompt]) -> Vec<Prompt> {
    prompts.iter().map(|prompt| Prompt { text: prompt.text.clone(), weight: prompt.weight }).collect()
}

/// The transition that starts with this chunk.
fn transition(parameters: &Snapshot) -> Option<Transition> {
    let asked = parameters.transition()?;
    let raw: Value = parameters.get("transition")?;
    let method = method(raw.get("temporal_interpolation_method"));
    Some(Transition { target: texts(&asked.target_prompts), steps: asked.num_steps, method })
}

fn method(name: Option<&Value>) -> Interpolation {
    match name.and_then(Value::as_str) {
        Some("slerp") => Interpolation::Slerp,
        _ => Interpolation::Linear,
    }
}
