//! Checks for people who can correct what they wrote: nothing is clamped, and nothing passes that no pipeline reads.

use super::keys::{self, KeyKind};
use super::validate::check;
use super::{ParameterError, validate_update};
use crate::{LoadParams, PipelineSchema};
use serde_json::{Map, Value};

/// Where a pipeline reads a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Once, when it is loaded.
    Load,
    /// With every chunk.
    Chunk,
    /// Not the pipeline but the session around it.
    Session,
    /// It does not have this setting.
    Nowhere,
}

impl PipelineSchema {
    /// Where the setting `key` is read.
    pub fn place(&self, key: &str) -> Place {
        let is_load =
            self.property(key).map(|it| it.pointer("/ui/is_load_param") != Some(&Value::Bool(false)));
        if is_load == Some(false) {
            return Place::Chunk;
        }
        let known = keys::find(key).map(|known| known.kind);
        let has = match key {
            "prompts" | "prompt" | "transition" | "prompt_interpolation_method" | "denoising_step_list" => {
                self.supports_prompts
            }
            "manage_cache" | "reset_cache" => self.supports_cache_management,
            "kv_cache_attention_bias" => self.supports_kv_cache_bias,
            "lora_scales" => self.supports_lora,
            // Read where the schema shows them, which was looked at above.
            "noise_scale" | "noise_controller" | "base_seed" | "vace_context_scale" => false,
            _ => matches!(known, Some(KeyKind::OneShot | KeyKind::Accumulating)),
        };
        match (known, is_load) {
            _ if has => Place::Chunk,
            _ if self.unlisted().iter().any(|(unlisted, _)| *unlisted == key) => Place::Load,
            (Some(KeyKind::Session), _) => Place::Session,
            (_, Some(true)) => Place::Load,
            _ => Place::Nowhere,
        }
    }

    /// Load parameters that no property describes, as clients know them, and what values they take.
    fn unlisted(&self) -> Vec<(&'static str, &'static str)> {
        let all = [
            (self.supports_lora, "loras", "a list of {\"path\", \"scale\"}"),
            (self.supports_lora, "lora_merge_mode", "permanent_merge or runtime_peft"),
            (self.supports_vace, "vace_enabled", "true or false"),
            (self.supports_vace, "ref_images", "a list of paths"),
            (self.random_weights, "random_weights", "true, false or tiny"),
        ];
        all.into_iter().filter(|(has, ..)| *has).map(|(_, key, values)| (key, values)).collect()
    }

    /// The settings that are read at `place` and meant for people, each with the values it takes: `noise_scale (0…1)`.
    pub fn described(&self, place: Place) -> Vec<String> {
        let properties = self.config_schema.get("properties").and_then(Value::as_object);
        let mut found: Vec<String> = properties
            .into_iter()
            .flatten()
            .filter(|(key, property)| {
                let for_people = ["ui", "description"].iter().any(|it| property.get(it).is_some());
                for_people && self.place(key) == place
            })
            .map(|(key, property)| format!("{key} ({})", values_of(property)))
            .collect();
        if place == Place::Chunk {
            let more = [
                ("denoising_step_list", "a falling list of whole numbers to 1000"),
                ("prompt_interpolation_method", "linear or slerp"),
                ("manage_cache", "true or false"),
                ("reset_cache", "true or false"),
                ("kv_cache_attention_bias", "0.01…1"),
            ];
            let has = more.iter().filter(|(key, _)| self.place(key) == place);
            found.extend(has.map(|(key, values)| format!("{key} ({values})")));
        }
        if place == Place::Load {
            found.extend(self.unlisted().iter().map(|(key, values)| format!("{key} ({values})")));
        }
        found
    }
}

/// What values a setting takes, in a few words.
fn values_of(property: &Value) -> String {
    let options = property.get("anyOf").and_then(Value::as_array);
    let option = options.and_then(|all| all.iter().find(|it| it.get("type") != Some(&Value::from("null"))));
    let property = option.unwrap_or(property);
    if let Some(options) = property.get("enum").and_then(Value::as_array) {
        return options.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    }
    let kind = property.get("type").and_then(Value::as_str);
    match (property.get("minimum"), property.get("maximum"), kind) {
        (Some(min), Some(max), _) => format!("{min}…{max}"),
        (Some(min), None, _) => format!("at least {min}"),
        (_, _, Some("boolean")) => "true or false".into(),
        (_, _, Some("string")) => "a text".into(),
        (_, _, Some("array")) => "a list".into(),
        (_, _, Some(_)) => "a number".into(),
        _ => "any value".into(),
    }
}

/// Checks parameters of chunks: each is one that the pipeline reads, with a value that it takes.
///
/// # Errors
/// Every parameter that is wrong, with what would be right.
pub fn check_parameters(
    values: Map<String, Value>,
    schema: &PipelineSchema,
) -> Result<Map<String, Value>, Vec<ParameterError>> {
    let mut good = Map::new();
    let mut problems = Vec::new();
    for (key, value) in values {
        let checked = match schema.place(&key) {
            Place::Chunk => check(&key, value, &[schema]).map_err(|refusal| refusal.message),
            Place::Load => Err("is read when the pipeline is loaded, and not later".into()),
            Place::Session => Err("is for live sessions, not for a pipeline".into()),
            Place::Nowhere => Err(unknown(schema, "parameter", Place::Chunk)),
        };
        match checked {
            Ok(value) => _ = good.insert(key, value),
            Err(message) => problems.push(ParameterError { key, message }),
        }
    }
    if problems.is_empty() { Ok(validate_update(good, &[schema]).update.pipeline) } else { Err(problems) }
}

/// Checks load parameters in the same way.
///
/// # Errors
/// Every parameter that is wrong, with what would be right.
pub fn check_load_parameters(
    values: Map<String, Value>,
    schema: &PipelineSchema,
) -> Result<LoadParams, Vec<ParameterError>> {
    let mut good = Map::new();
    let mut problems = Vec::new();
    for (key, value) in values {
        let checked = match schema.place(&key) {
            // The seed of sessions that set none.
            _ if key == "base_seed" => check(&key, value, &[schema]).map_err(|refusal| refusal.message),
            Place::Load => check(&key, value, &[schema]).map_err(|refusal| refusal.message),
            Place::Chunk => Err("is read with every chunk, and not when the pipeline is loaded".into()),
            Place::Session => Err("is for live sessions, not for a pipeline".into()),
            Place::Nowhere => Err(unknown(schema, "load parameter", Place::Load)),
        };
        match checked {
            Ok(value) => _ = good.insert(key, value),
            Err(message) => problems.push(ParameterError { key, message }),
        }
    }
    if problems.is_empty() { Ok(LoadParams::new(good)) } else { Err(problems) }
}

fn unknown(schema: &PipelineSchema, what: &str, place: Place) -> String {
    match schema.described(place).as_slice() {
        [] => format!("is no {what} of {}, which has none", schema.id),
        all => format!("is no {what} of {}, which has {}", schema.id, all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn schema(id: &str) -> PipelineSchema {
        Registry::builtin().get(id).unwrap().schema().clone()
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_what_would_be_right() {
        let values =
            json!({"glitter": 1, "noise_scale": 7, "width": 64, "paused": true, "reset_cache": "now"});
        let problems = check_parameters(map(values), &schema("testcard")).unwrap_err();
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(problems.len(), 5, "{text}");
        assert!(
            text.contains("glitter is no parameter of testcard, which has noise_scale (0.0…1.0), delay_ms")
        );
        assert!(text.contains("noise_scale is 7, outside 0…1\n"), "{text}");
        assert!(text.contains("width is read when the pipeline is loaded"));
        assert!(text.contains("reset_cache must be true or false"));
    }

    #[test]
    fn good_values_come_back_as_a_session_would_take_them() {
        let values = map(json!({"prompts": "a cow", "chunk_frames": 2, "reset_cache": 1}));
        let checked = check_parameters(values, &schema("testcard")).unwrap();
        let expected =
            json!({"prompts": [{"text": "a cow", "weight": 1.0}], "chunk_frames": 2, "reset_cache": true});
        assert_eq!(Value::Object(checked), expected);
    }

    #[test]
    fn what_is_loaded_with_is_told_apart_from_what_chunks_read() {
        let good =
            check_load_parameters(map(json!({"width": 64, "base_seed": 3})), &schema("testcard")).unwrap();
        assert_eq!(good.u64("base_seed"), Some(3));
        let bad = map(json!({"width": 1, "noise_scale": 0.5, "random_weights": true}));
        let problems = check_load_parameters(bad, &schema("testcard")).unwrap_err();
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains("width is 1, outside 64…2048\n"), "{text}");
        assert!(text.contains("noise_scale is read with every chunk"), "{text}");
        assert!(
            text.contains(
                "random_weights is no load parameter of testcard, which has height (64…2048), width"
            )
        );
    }

    #[test]
    fn a_pipeline_without_parameters_says_so() {
        let problems = check_parameters(map(json!({"glitter": 1})), &schema("passthrough")).unwrap_err();
        assert!(problems[0].message.ends_with("which has none"), "{}", problems[0]);
        assert_eq!(schema("passthrough").place("prompts"), Place::Nowhere);
        assert_eq!(schema("passthrough").place("noise_scale"), Place::Load);
    }
}
