//! What one chunk is asked to be.

use super::VideoSettings;
use crate::{AssetLoader, Snapshot, prompt};
use scope_frame::{Image, PixelFormat};
use scope_models::frames::{Layout, Picture};
use scope_models::prompt::{Interpolation, Prompt, Transition};
use scope_models::video::{ControlPictures, VideoCall};
use serde::Deserialize;
use serde_json::Value;

/// A chunk's parameters, with the session's defaults where there are none.
pub(super) struct Request {
    prompts: Vec<Prompt>,
    transition: Option<Transition>,
    method: Interpolation,
    steps: Vec<f64>,
    moving_steps: bool,
    noise_scale: f64,
    noise_controller: bool,
    pub(super) manage_cache: bool,
    pub(super) reset: bool,
    seed: u64,
    cache_weight: Option<f32>,
    context_scale: f32,
    /// Strengths of adapters, by the files' paths.
    pub(super) lora_scales: Vec<LoraScale>,
    references: Vec<Image>,
    first: Option<Image>,
    last: Option<Image>,
    /// Parameters that could not be used, each with its reason.
    pub(super) problems: Vec<(String, String)>,
}

#[derive(Deserialize)]
pub(super) struct LoraScale {
    pub(super) path: String,
    #[serde(default = "full")]
    pub(super) scale: f32,
}

const fn full() -> f32 {
    1.0
}

/// The pictures that a chunk is made from, by port.
#[derive(Default)]
pub(super) struct Input<'a> {
    pub(super) video: Vec<Picture<'a>>,
    pub(super) control: Vec<Picture<'a>>,
    pub(super) masks: Vec<Picture<'a>>,
    /// Those of the request.
    pub(super) references: Vec<Picture<'a>>,
}

impl Request {
    pub(super) fn read(
        parameters: &Snapshot,
        steps: Vec<f64>,
        assets: &dyn AssetLoader,
        settings: &VideoSettings,
    ) -> Self {
        let mut problems = Vec::new();
        let mut problem = |key: &str, text: String| problems.push((key.to_owned(), text));
        let prompts = texts(&parameters.prompts().unwrap_or_default());
        // A model of pictures needs some text, and knows the empty one.
        let prompts =
            if prompts.is_empty() { vec![Prompt { text: String::new(), weight: 1.0 }] } else { prompts };
        let asked = parameters.get::<Vec<f64>>("denoising_step_list").is_some_and(|steps| !steps.is_empty());
        if !asked && parameters.as_map().contains_key("denoising_step_list") {
            problem("denoising_step_list", "is no list of timesteps; the default was used".into());
        }
        let mut image = |key: &str, path: &str| match assets.image(path) {
            Ok(image) => Some(image.to_rgb8()),
            Err(reason) => {
                problem(key, reason);
                None
            }
        };
        let paths: Vec<String> = parameters.get("vace_ref_images").unwrap_or_default();
        let references = paths.iter().filter_map(|path| image("vace_ref_images", path)).collect();
        let [first, last] = ["first_frame_image", "last_frame_image"]
            .map(|key| parameters.get::<String>(key).and_then(|path| image(key, &path)));
        let cache_weight = parameters.f64("kv_cache_attention_bias").filter(|_| settings.cache_weight);
        Self {
            prompts,
            transition: transition(parameters),
            method: method(parameters.as_map().get("prompt_interpolation_method")),
            steps,
            moving_steps: parameters.is_replaced("denoising_step_list"),
            noise_scale: parameters.f64("noise_scale").unwrap_or(settings.noise_scale),
            noise_controller: parameters.get("noise_controller").unwrap_or(settings.noise_controller),
            manage_cache: parameters.get("manage_cache").unwrap_or(settings.manage_cache),
            reset: parameters.is_true("reset_cache"),
            seed: parameters.get("base_seed").unwrap_or(settings.seed),
            cache_weight: cache_weight.map(|weight| weight as f32),
            context_scale: parameters.get("vace_context_scale").unwrap_or(settings.context_scale),
            lora_scales: parameters.get("lora_scales").unwrap_or_default(),
            references,
            first,
            last,
            problems,
        }
    }

    /// Notes a parameter that could not be used.
    pub(super) fn problem(&mut self, key: &str, text: impl Into<String>) {
        self.problems.push((key.to_owned(), text.into()));
    }

    /// Adds reference pictures to those that the parameters name.
    pub(super) fn show(&mut self, key: &str, paths: &[String], assets: &dyn AssetLoader) {
        for path in paths {
            match assets.image(path) {
                Ok(image) => self.references.push(image.to_rgb8()),
                Err(reason) => self.problem(key, reason),
            }
        }
    }

    /// The keys of the pictures that need VACE blocks.
    pub(super) fn control_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("vace_ref_images", !self.references.is_empty()),
            ("first_frame_image", self.first.is_some()),
            ("last_frame_image", self.last.is_some()),
        ];
        keys.into_iter().filter(|(_, used)| *used).map(|(key, _)| key).collect()
    }

    /// Leaves the pictures out that need VACE blocks.
    pub(super) fn drop_control(&mut self) {
        self.references.clear();
        self.first = None;
        self.last = None;
    }

    /// A chunk that is too short for both has no last picture.
    pub(super) fn one_end(&mut self) {
        if self.first.is_some() && self.last.take().is_some() {
            self.problem(
                "last_frame_image",
                "was left out: a chunk of this model is too short for a first and a last picture",
            );
        }
    }

    /// The reference pictures.
    pub(super) fn references(&self) -> Vec<Picture<'_>> {
        self.references.iter().map(picture).collect()
    }

    /// The chunk that is made from these pictures.
    pub(super) fn call<'a>(
        &'a self,
        input: &'a Input<'a>,
        reset: bool,
        format: PixelFormat,
    ) -> VideoCall<'a> {
        let some = |pictures: &'a Vec<Picture<'a>>| (!pictures.is_empty()).then_some(pictures.as_slice());
        VideoCall {
            prompts: &self.prompts,
            transition: self.transition.as_ref(),
            method: self.method,
            video: some(&input.video),
            noise_scale: Some(self.noise_scale),
            follow_motion: self.noise_controller,
            steps: &self.steps,
            moving_steps: self.moving_steps,
            manage_cache: self.manage_cache,
            reset: self.reset || reset,
            seed: self.seed,
            control: ControlPictures {
                frames: some(&input.control),
                masks: some(&input.masks).filter(|_| !input.control.is_empty()),
                references: &input.references,
                first: self.first.as_ref().map(picture),
                last: self.last.as_ref().map(picture),
            },
            control_scale: self.context_scale,
            cache_weight: self.cache_weight,
            layout: layout(format),
        }
    }
}

/// An image as models take it.
pub(super) fn picture(image: &Image) -> Picture<'_> {
    Picture {
        height: image.height() as usize,
        width: image.width() as usize,
        bytes: image.data(),
        layout: layout(image.format()),
    }
}

const fn layout(format: PixelFormat) -> Layout {
    match format {
        PixelFormat::Rgb8 => Layout::Packed,
        PixelFormat::I420 => Layout::I420,
    }
}

fn texts(prompts: &[prompt::Prompt]) -> Vec<Prompt> {
    prompts.iter().map(|prompt| Prompt { text: prompt.text.clone(), weight: prompt.weight }).collect()
}

/// The transition that starts with this chunk.
fn transition(parameters: &Snapshot) -> Option<Transition> {
    let asked = parameters.transition()?;
    let raw = parameters.as_map().get("transition")?;
    let method = method(raw.get("temporal_interpolation_method"));
    Some(Transition { target: texts(&asked.target_prompts), steps: asked.num_steps, method })
}

fn method(name: Option<&Value>) -> Interpolation {
    match name.and_then(Value::as_str) {
        Some("slerp") => Interpolation::Slerp,
        _ => Interpolation::Linear,
    }
}
