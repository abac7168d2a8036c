//! What one chunk is asked to be.

use super::VideoSettings;
use crate::{Snapshot, prompt};
use scope_models::control::Control;
use scope_models::frames::Picture;
use scope_models::prompt::{Interpolation, Prompt, Transition};
use scope_models::video::VideoCall;
use serde_json::Value;

/// A chunk's parameters, with the session's defaults where there are none.
pub(super) struct Request {
    prompts: Vec<Prompt>,
    transition: Option<Transition>,
    method: Interpolation,
    steps: Vec<f64>,
    noise_scale: f64,
    noise_controller: bool,
    manage_cache: bool,
    reset: bool,
    seed: u64,
    cache_weight: Option<f32>,
}

impl Request {
    pub(super) fn read(parameters: &Snapshot, steps: Vec<f64>, settings: &VideoSettings) -> Self {
        let prompts = texts(&parameters.prompts().unwrap_or_default());
        // A model of pictures needs some text, and knows the empty one.
        let prompts =
            if prompts.is_empty() { vec![Prompt { text: String::new(), weight: 1.0 }] } else { prompts };
        Self {
            prompts,
            transition: transition(parameters),
            method: method(parameters.get::<Value>("prompt_interpolation_method").as_ref()),
            steps,
            noise_scale: parameters.f64("noise_scale").unwrap_or(settings.noise_scale),
            noise_controller: parameters.get("noise_controller").unwrap_or(settings.noise_controller),
            manage_cache: parameters.get("manage_cache").unwrap_or(true),
            reset: parameters.is_true("reset_cache"),
            seed: parameters.get("base_seed").unwrap_or(settings.seed),
            cache_weight: parameters.f64("kv_cache_attention_bias").map(|weight| weight as f32),
        }
    }

    /// The chunk with this input video, if any.
    pub(super) fn call<'a>(&'a self, video: Option<&'a [Picture<'a>]>, reset: bool) -> VideoCall<'a> {
        VideoCall {
            prompts: &self.prompts,
            transition: self.transition.as_ref(),
            method: self.method,
            video,
            noise_scale: Some(self.noise_scale),
            follow_motion: self.noise_controller,
            steps: &self.steps,
            manage_cache: self.manage_cache,
            reset: self.reset || reset,
            seed: self.seed,
            control: Control::default(),
            control_scale: 1.0,
            cache_weight: self.cache_weight,
        }
    }
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
