//! Load parameters of the families.

use super::families::WanFamily;
use super::schema::{MAX_SIDE, NOISE_SCALE, SEED, SIDE};
use crate::video::{Lora, VideoSettings};
use crate::{LoadError, LoadParams};
use scope_models::weights::Precision;
use scope_store::Settings;
use serde_json::Value;

/// Adapters that can be loaded at once.
const MAX_LORAS: usize = 16;
/// Largest strength of an adapter, either way.
const MAX_SCALE: f64 = 10.0;

/// Load parameters, read and checked.
#[derive(Debug)]
pub(super) struct Options {
    /// Which files are needed.
    pub(super) files: Settings,
    pub(super) precision: Precision,
    /// Weights made up instead of files.
    pub(super) random: Option<RandomSize>,
    /// What sessions start from.
    pub(super) video: VideoSettings,
}

/// How large made-up networks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RandomSize {
    /// As published.
    Real,
    /// As small as networks of these layers get.
    Tiny,
}

impl Options {
    pub(super) fn read(family: &WanFamily, params: &LoadParams) -> Result<Self, LoadError> {
        let values = params.as_map();
        let refuse = |key: &str, problem: &str| LoadError::InvalidParameter {
            pipeline: family.id.into(),
            key: key.into(),
            problem: problem.into(),
        };
        let one_of = |key: &str, options: &[&str]| match values.get(key).map(|value| value.as_str()) {
            None => Ok(None),
            Some(Some(text)) if options.contains(&text) => Ok(Some(text)),
            _ => Err(refuse(key, &format!("must be one of {}", options.join(", ")))),
        };
        one_of("vae_type", &["wan", "lightvae", "tae", "lighttae"])?;
        let quantised = one_of("quantization", &["fp8_e4m3fn"])?.is_some();
        let random = match values.get("random_weights") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(RandomSize::Real),
            Some(Value::String(size)) if size == "real" => Some(RandomSize::Real),
            Some(Value::String(size)) if size == "tiny" => Some(RandomSize::Tiny),
            Some(_) => return Err(refuse("random_weights", "must be true, false, \"real\" or \"tiny\"")),
        };
        let side = |key: &str, default: u32| side(family, params, key, default);
        let size = [side("height", family.size[0])?, side("width", family.size[1])?];
        let context_scale = match values.get("vace_context_scale").map(Value::as_f64) {
            None => 1.0,
            Some(Some(scale)) if (0.0..=2.0).contains(&scale) => scale as f32,
            Some(_) => return Err(refuse("vace_context_scale", "must be a number from 0 to 2")),
        };
        let seed = match values.get("base_seed").map(Value::as_u64) {
            None => SEED,
            Some(Some(seed)) => seed,
            Some(None) => return Err(refuse("base_seed", "must be a whole number ≥ 0")),
        };
        let chosen =
            steps(values.get("denoising_steps")).map_err(|problem| refuse("denoising_steps", &problem))?;
        let or_default = |default: &[u32]| {
            chosen.clone().unwrap_or_else(|| default.iter().map(|&step| f64::from(step)).collect())
        };
        let [own, other] = [or_default(family.steps), or_default(family.other_mode.steps)];
        let (text_steps, video_steps) = if family.starts_with_video { (other, own) } else { (own, other) };
        Ok(Self {
            files: Settings::from_params(values),
            precision: if quantised { Precision::F8E4M3 } else { Precision::Bf16 },
            random,
            video: VideoSettings {
                size,
                seed,
                text_steps,
                video_steps,
                noise_scale: NOISE_SCALE,
                noise_controller: true,
                cache_weight: family.cache_weight,
                manage_cache: params.bool("manage_cache").unwrap_or(true),
                frame_rate: None,
                savings: Vec::new(),
                loras: loras(params).map_err(|(key, problem)| refuse(key, &problem))?,
                references: paths(values.get("ref_images"))
                    .map_err(|problem| refuse("ref_images", &problem))?,
                context_scale,
            },
        })
    }
}

fn side(family: &WanFamily, params: &LoadParams, key: &str, default: u32) -> Result<usize, LoadError> {
    let refuse = |problem: String| LoadError::InvalidParameter {
        pipeline: family.id.into(),
        key: key.into(),
        problem,
    };
    let value = match params.as_map().get(key).map(Value::as_u64) {
        None => u64::from(default),
        Some(Some(value)) => value,
        Some(None) => return Err(refuse(format!("must be a multiple of {SIDE} up to {MAX_SIDE}"))),
    };
    if value.is_multiple_of(SIDE) && (SIDE..=MAX_SIDE).contains(&value) {
        return Ok(value as usize);
    }
    let nearest = (value / SIDE * SIDE).clamp(SIDE, MAX_SIDE);
    Err(refuse(format!("is {value}; it must be a multiple of {SIDE} up to {MAX_SIDE}. Use {nearest}")))
}

fn steps(value: Option<&Value>) -> Result<Option<Vec<f64>>, String> {
    let Some(value) = value else { return Ok(None) };
    let steps: Option<Vec<f64>> =
        value.as_array().and_then(|items| items.iter().map(Value::as_f64).collect());
    match steps {
        Some(steps)
            if (1..=64).contains(&steps.len())
                && steps.iter().all(|step| (0.0..=1000.0).contains(step))
                && steps.is_sorted_by(|a, b| a > b) =>
        {
            Ok(Some(steps))
        }
        _ => Err("must be a strictly descending list of numbers from 0 to 1000".into()),
    }
}

fn paths(value: Option<&Value>) -> Result<Vec<String>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let paths: Option<Vec<String>> = value
        .as_array()
        .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    paths
        .filter(|paths| paths.len() <= MAX_LORAS)
        .ok_or_else(|| format!("must be a list of at most {MAX_LORAS} paths"))
}

/// The adapters: `loras`, each with its own way of merging or that of all.
fn loras(params: &LoadParams) -> Result<Vec<Lora>, (&'static str, String)> {
    let values = params.as_map();
    let common = values.get("lora_merge_mode").or_else(|| values.get("lora_merge_strategy"));
    let common = merges(common).map_err(|problem| ("lora_merge_mode", problem))?.unwrap_or(true);
    let items = match values.get("loras") {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_LORAS => items,
        Some(_) => return Err(("loras", format!("must be a list of at most {MAX_LORAS} {{path, scale}}"))),
    };
    let mut loras: Vec<Lora> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let wrong = |problem: String| ("loras", format!("entry {index} {problem}"));
        let path = item.get("path").and_then(Value::as_str).ok_or_else(|| wrong("has no path".into()))?;
        let scale = match item.get("scale") {
            None | Some(Value::Null) => 1.0,
            Some(scale) => scale.as_f64().filter(|scale| scale.abs() <= MAX_SCALE).ok_or_else(|| {
                wrong(format!("has a scale that is no number from -{MAX_SCALE} to {MAX_SCALE}"))
            })?,
        };
        if loras.iter().any(|lora| lora.path == path) {
            return Err(wrong(format!("names {path} a second time")));
        }
        let merged = merges(item.get("merge_mode")).map_err(wrong)?.unwrap_or(common);
        loras.push(Lora { path: path.to_owned(), scale: scale as f32, merged });
    }
    Ok(loras)
}

/// Whether a way of merging is to merge.
fn merges(value: Option<&Value>) -> Result<Option<bool>, String> {
    match value.map(|value| value.as_str()) {
        None => Ok(None),
        Some(None) if value == Some(&Value::Null) => Ok(None),
        Some(Some("permanent_merge")) => Ok(Some(true)),
        Some(Some("runtime_peft")) => Ok(Some(false)),
        _ => Err("must merge by permanent_merge or runtime_peft".into()),
    }
}
