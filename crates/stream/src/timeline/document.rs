//! The two formats as they are written, and their way into one [`Timeline`].

use super::{Block, MAX_BLOCKS, MAX_BYTES, Timeline, TimelineError, Transition};
use scope_pipelines::InputMode;
use scope_pipelines::prompt::{
    MAX_PROMPT_BYTES, MAX_PROMPTS, MAX_TRANSITION_STEPS, Prompt, normalised_weights,
};
use scope_pipelines::schema::Interpolation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A week.
const MAX_SECONDS: f64 = 7.0 * 24.0 * 3600.0;
/// Most settings, LoRA adapters or pipelines of a file.
const MAX_ENTRIES: usize = 256;

pub(super) fn parse(bytes: &[u8]) -> Result<Timeline, TimelineError> {
    if bytes.len() > MAX_BYTES {
        return Err(TimelineError::TooLong(bytes.len()));
    }
    let document: Value =
        serde_json::from_slice(bytes).map_err(|error| TimelineError::Json(error.to_string()))?;
    let found = |key: &str| document.get(key).filter(|value| !value.is_null());
    if let Some(format) = found("format") {
        version("format", format, &["scope-workflow"], "\"scope-workflow\"")?;
        let number = found("format_version").unwrap_or(&Value::Null);
        version("format_version", number, &["1.0"], "\"1.0\"")?;
        return read::<Workflow>(document)?.into_timeline();
    }
    if found("prompts").is_none() {
        return Err(TimelineError::Unknown);
    }
    let number = found("version").unwrap_or(&Value::Null);
    version("version", number, &["2.0", "2.1"], "\"2.0\" or \"2.1\"")?;
    read::<Legacy>(document)?.into_timeline()
}

fn version(
    path: &'static str,
    value: &Value,
    known: &[&str],
    expected: &'static str,
) -> Result<(), TimelineError> {
    if value.as_str().is_some_and(|text| known.contains(&text)) {
        return Ok(());
    }
    let found = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) => value.to_string().chars().take(40).collect(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Err(TimelineError::Version { path, expected, found })
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T, TimelineError> {
    serde_path_to_error::deserialize(document).map_err(|error| TimelineError::Field {
        path: error.path().to_string(),
        problem: error.inner().to_string(),
    })
}

/// Seconds from the start.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
struct Seconds(Duration);

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        if (0.0..=MAX_SECONDS).contains(&seconds) {
            Ok(Self(Duration::from_secs_f64(seconds)))
        } else {
            Err(format!("expected seconds from 0 to {MAX_SECONDS}, found {seconds}"))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Text(String);

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() <= MAX_PROMPT_BYTES {
            Ok(Self(text))
        } else {
            Err(format!("expected a text of at most {MAX_PROMPT_BYTES} bytes, found {}", text.len()))
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
struct Weight(f64);

impl TryFrom<f64> for Weight {
    type Error = String;

    fn try_from(weight: f64) -> Result<Self, String> {
        if (0.0..=1e6).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(format!("expected a weight from 0 to 100, found {weight}"))
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
struct Steps(u32);

impl TryFrom<u64> for Steps {
    type Error = String;

    fn try_from(steps: u64) -> Result<Self, String> {
        match u32::try_from(steps) {
            Ok(steps) if steps <= MAX_TRANSITION_STEPS => Ok(Self(steps)),
            _ => Err(format!("expected 0 to {MAX_TRANSITION_STEPS} chunks, found {steps}")),
        }
    }
}

/// A list of at most `N` entries.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<T>", bound = "T: Deserialize<'de>")]
struct List<T, const N: usize>(Vec<T>);

impl<T, const N: usize> TryFrom<Vec<T>> for List<T, N> {
    type Error = String;

    fn try_from(items: Vec<T>) -> Result<Self, String> {
        if items.len() <= N {
            Ok(Self(items))
        } else {
            Err(format!("expected at most {N} entries, found {}", items.len()))
        }
    }
}

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Linear,
    Slerp,
}

impl From<Method> for Interpolation {
    fn from(method: Method) -> Self {
        match method {
            Method::Linear => Self::Linear,
            Method::Slerp => Self::Slerp,
        }
    }
}

#[derive(Debug, Deserialize)]
struct WeightedText {
    text: Text,
    weight: Option<Weight>,
}

type Mix = List<WeightedText, MAX_PROMPTS>;

impl Mix {
    /// With weights that sum to 1, whether the file counts to 1 or to 100. Texts of nothing but space show nothing.
    fn into_prompts(self) -> Vec<Prompt> {
        let mut prompts: Vec<Prompt> = self
            .0
            .into_iter()
            .filter(|prompt| !prompt.text.0.trim().is_empty())
            .map(|WeightedText { text: Text(text), weight }| Prompt {
                text,
                weight: weight.map_or(1.0, |weight| weight.0),
            })
            .collect();
        for (prompt, weight) in normalised_weights(&prompts).into_iter().enumerate() {
            prompts[prompt].weight = weight;
        }
        prompts
    }
}

/// A block as both formats know it.
struct Entry {
    start: Seconds,
    end: Seconds,
    prompts: Vec<Prompt>,
    steps: Option<Steps>,
    method: Option<Method>,
}

/// The blocks in order. `path` names an entry's end.
fn blocks(entries: Vec<Entry>, path: impl Fn(usize) -> String) -> Result<Vec<Block>, TimelineError> {
    let mut blocks = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let (start, end) = (entry.start.0, entry.end.0);
        if end < start {
            let problem = format!(
                "expected at least the start, {} s, found {} s",
                start.as_secs_f64(),
                end.as_secs_f64()
            );
            return Err(TimelineError::Field { path: path(index), problem });
        }
        if end == start || entry.prompts.is_empty() {
            continue;
        }
        let transition = entry
            .steps
            .filter(|steps| steps.0 > 0)
            .map(|steps| Transition { steps: steps.0, method: entry.method.map(Into::into) });
        blocks.push(Block { start, end, prompts: entry.prompts, transition });
    }
    blocks.sort_by_key(|block| block.start);
    Ok(blocks)
}

/// A timeline of version 2.0 or 2.1.
#[derive(Debug, Deserialize)]
struct Legacy {
    settings: Option<LegacySettings>,
    prompts: List<LegacyBlock, MAX_BLOCKS>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacySettings {
    pipeline_id: Option<Text>,
    resolution: Option<Resolution>,
    seed: Option<u64>,
    denoising_steps: Option<List<u32, MAX_ENTRIES>>,
    noise_scale: Option<f64>,
    noise_controller: Option<bool>,
    manage_cache: Option<bool>,
    quantization: Option<Text>,
    kv_cache_attention_bias: Option<f64>,
    loras: Option<List<Value, MAX_ENTRIES>>,
    lora_merge_strategy: Option<Text>,
    input_mode: Option<InputMode>,
}

#[derive(Debug, Deserialize)]
struct Resolution {
    height: u32,
    width: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyBlock {
    start_time: Seconds,
    end_time: Seconds,
    prompts: Option<Mix>,
    /// How a block says it that has one prompt and no weights.
    text: Option<Text>,
    transition_steps: Option<Steps>,
    temporal_interpolation_method: Option<Method>,
}

impl Legacy {
    fn into_timeline(self) -> Result<Timeline, TimelineError> {
        let entries = self.prompts.0.into_iter().map(|block| {
            let alone = |text| List(vec![WeightedText { text, weight: None }]);
            let mix = block.prompts.filter(|mix| !mix.0.is_empty()).or_else(|| block.text.map(alone));
            Entry {
                start: block.start_time,
                end: block.end_time,
                prompts: mix.unwrap_or_default().into_prompts(),
                steps: block.transition_steps,
                method: block.temporal_interpolation_method,
            }
        });
        let blocks = blocks(entries.collect(), |index| format!("prompts[{index}].endTime"))?;
        let mut timeline = Timeline { blocks, ..Timeline::default() };
        let Some(settings) = self.settings else { return Ok(timeline) };
        timeline.pipeline_id = settings.pipeline_id.map(|id| id.0);
        timeline.mode = settings.input_mode;
        timeline.loras = settings.loras.unwrap_or_default().0;
        let values = [
            ("height", settings.resolution.as_ref().map(|size| json!(size.height))),
            ("width", settings.resolution.as_ref().map(|size| json!(size.width))),
            ("base_seed", settings.seed.map(Value::from)),
            ("denoising_step_list", settings.denoising_steps.map(|steps| json!(steps.0))),
            ("noise_scale", settings.noise_scale.map(Value::from)),
            ("noise_controller", settings.noise_controller.map(Value::from)),
            ("manage_cache", settings.manage_cache.map(Value::from)),
            ("quantization", settings.quantization.map(|name| json!(name.0))),
            ("kv_cache_attention_bias", settings.kv_cache_attention_bias.map(Value::from)),
            ("lora_merge_strategy", settings.lora_merge_strategy.map(|name| json!(name.0))),
        ];
        timeline.settings =
            values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        Ok(timeline)
    }
}

/// A workflow of version 1.0. Its graph is somebody else's business.
#[derive(Debug, Deserialize)]
struct Workflow {
    #[serde(default)]
    pipelines: List<WorkflowPipeline, MAX_ENTRIES>,
    prompts: Option<Mix>,
    interpolation_method: Option<Method>,
    timeline: Option<Entries>,
}

#[derive(Debug, Deserialize)]
struct WorkflowPipeline {
    pipeline_id: Text,
    role: Option<Role>,
    loras: Option<List<Value, MAX_ENTRIES>>,
    params: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Role {
    Preprocessor,
    Main,
    Postprocessor,
}

#[derive(Debug, Deserialize)]
struct Entries {
    entries: List<WorkflowBlock, MAX_BLOCKS>,
}

#[derive(Debug, Deserialize)]
struct WorkflowBlock {
    start_time: Seconds,
    end_time: Seconds,
    #[serde(default)]
    prompts: Mix,
    transition_steps: Option<Steps>,
    temporal_interpolation_method: Option<Method>,
}

impl Workflow {
    fn into_timeline(self) -> Result<Timeline, TimelineError> {
        let entries = self.timeline.map(|timeline| timeline.entries.0).unwrap_or_default();
        let entries = entries.into_iter().map(|block| Entry {
            start: block.start_time,
            end: block.end_time,
            prompts: block.prompts.into_prompts(),
            steps: block.transition_steps,
            method: block.temporal_interpolation_method,
        });
        let blocks = blocks(entries.collect(), |index| format!("timeline.entries[{index}].end_time"))?;
        let opening = self.prompts.unwrap_or_default().into_prompts();
        let mut timeline = Timeline { opening, blocks, ..Timeline::default() };
        // Without any role the first pipeline is the main one.
        let pipelines = self.pipelines.0;
        let main = pipelines.iter().position(|pipeline| pipeline.role == Some(Role::Main));
        let main =
            main.or_else(|| pipelines.iter().position(|pipeline| pipeline.role.is_none())).unwrap_or(0);
        if let Some((index, pipeline)) = pipelines.into_iter().enumerate().nth(main) {
            let mut settings = pipeline.params.unwrap_or_default();
            if settings.len() > MAX_ENTRIES {
                let problem = format!("expected at most {MAX_ENTRIES} settings, found {}", settings.len());
                return Err(TimelineError::Field { path: format!("pipelines[{index}].params"), problem });
            }
            settings.retain(|_, value| !value.is_null());
            timeline.mode =
                settings.shift_remove("input_mode").map(InputMode::deserialize).transpose().map_err(
                    |error| TimelineError::Field {
                        path: format!("pipelines[{index}].params.input_mode"),
                        problem: error.to_string(),
                    },
                )?;
            timeline.pipeline_id = Some(pipeline.pipeline_id.0);
            timeline.loras = pipeline.loras.unwrap_or_default().0;
            timeline.settings = settings;
        }
        if let Some(method) = self.interpolation_method {
            timeline.settings.entry("prompt_interpolation_method").or_insert(json!(method));
        }
        Ok(timeline)
    }
}
