use super::keys::{self, Accepts, KeyKind};
use crate::PipelineSchema;
use crate::prompt::{MAX_TRANSITION_STEPS, parse_prompts};
use serde_json::{Map, Value, json};

/// Most keys accepted in one update.
const MAX_KEYS: usize = 256;
/// Longest list of anything in an update.
const MAX_ITEMS: usize = 256;

/// A parameter that could not be taken as it was sent. The rest of its message is not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{key} {message}")]
pub struct ParameterError {
    /// The key.
    pub key: String,
    /// What is wrong, and what was done instead if anything; completes a sentence that starts with the key.
    pub message: String,
}

/// The acceptable part of a message, sorted by destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// For pipelines.
    pub pipeline: Map<String, Value>,
    /// For the session.
    pub session: Map<String, Value>,
    /// The one node that `pipeline` is for; every node when absent.
    pub node_id: Option<String>,
    /// The sender's name for this update, if it asked to be told when it shows.
    pub id: Option<String>,
    /// Whether it waits for the next beat boundary.
    pub quantized: bool,
}

/// A checked message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validated {
    /// What can be applied.
    pub update: Update,
    /// What cannot, or not as sent.
    pub problems: Vec<ParameterError>,
}

/// Checks a flat map of parameters against what their keys mean and, for keys that only a pipeline knows, against
/// the `schemas` of the session's pipelines. `null` values are dropped; unknown keys pass.
pub fn validate_update(message: Map<String, Value>, schemas: &[&PipelineSchema]) -> Validated {
    let mut out = Validated::default();
    for (count, (key, value)) in message.into_iter().enumerate() {
        if count >= MAX_KEYS {
            let message =
                format!("and everything after it was ignored: a message holds at most {MAX_KEYS} keys");
            out.problems.push(ParameterError { key, message });
            break;
        }
        if value.is_null() {
            continue;
        }
        let (key, value) = match key.as_str() {
            // Names that older clients use for a single prompt.
            "prompt" | "__prompt" => ("prompts".to_owned(), value),
            _ => (key, value),
        };
        match check(&key, value, schemas) {
            Ok(value) => out.update.insert(&key, value),
            Err(Refusal { mut message, instead }) => {
                if let Some(Instead { value, note }) = instead {
                    out.update.insert(&key, value);
                    message = format!("{message}; {note}");
                }
                out.problems.push(ParameterError { key, message });
            }
        }
    }
    if out.update.pipeline.contains_key("transition") {
        // The transition's target becomes the current prompt: one sent along with it is stale.
        out.update.pipeline.shift_remove("prompts");
    }
    out
}

impl Update {
    fn insert(&mut self, key: &str, value: Value) {
        match (keys::key_kind(key), key) {
            (KeyKind::Envelope, "node_id") => self.node_id = value.as_str().map(str::to_owned),
            (KeyKind::Envelope, "_id") => self.id = value.as_str().map(str::to_owned),
            (KeyKind::Envelope, "_quantized") => self.quantized = value == Value::Bool(true),
            (KeyKind::Envelope | KeyKind::Start, _) => {}
            (KeyKind::Session, _) => _ = self.session.insert(key.to_owned(), value),
            _ => _ = self.pipeline.insert(key.to_owned(), value),
        }
    }
}

pub(super) struct Refusal {
    /// What is wrong; completes a sentence that starts with the key.
    pub(super) message: String,
    instead: Option<Instead>,
}

/// What a live session takes in place of a refused value.
struct Instead {
    value: Value,
    /// Which that is, for people.
    note: String,
}

fn refuse(message: impl Into<String>) -> Refusal {
    Refusal { message: message.into(), instead: None }
}

pub(super) fn check(key: &str, value: Value, schemas: &[&PipelineSchema]) -> Result<Value, Refusal> {
    match keys::find(key) {
        Some(known) => check_known(known.accepts, value),
        None => match schemas.iter().find_map(|schema| schema.property(key).map(|prop| (*schema, prop))) {
            Some((schema, property)) => check_property(schema, property, value),
            None => Ok(value),
        },
    }
}

fn check_known(accepts: Accepts, value: Value) -> Result<Value, Refusal> {
    match accepts {
        Accepts::Anything => Ok(value),
        Accepts::Number { min, max } => number(value, Some(min), Some(max)),
        Accepts::Integer { min, max } => integer(&value, Some(min), Some(max)),
        Accepts::Bool => match value {
            Value::Bool(_) => Ok(value),
            // Controllers send 0 and 1.
            Value::Number(ref n) if n.as_f64() == Some(0.0) => Ok(json!(false)),
            Value::Number(ref n) if n.as_f64() == Some(1.0) => Ok(json!(true)),
            _ => Err(refuse("must be true or false")),
        },
        Accepts::Text { max_bytes } => match value.as_str() {
            Some(text) if text.len() <= max_bytes => Ok(value),
            Some(_) => Err(refuse(format!("is longer than {max_bytes} bytes"))),
            None => Err(refuse("must be a text")),
        },
        Accepts::OneOf(options) => match value.as_str() {
            Some(text) if options.contains(&text) => Ok(value),
            _ => Err(refuse(format!("must be one of {}", options.join(", ")))),
        },
        Accepts::Prompts => {
            let prompts = parse_prompts(&value).map_err(refuse)?;
            Ok(json!(prompts))
        }
        Accepts::Transition => transition(value),
        Accepts::Timesteps => timesteps(value),
        Accepts::Path => path(&value).map(|()| value),
        Accepts::Paths => match value.as_array() {
            Some(items) if items.len() <= MAX_ITEMS => {
                items.iter().try_for_each(path)?;
                Ok(value)
            }
            _ => Err(refuse("must be a list of file paths")),
        },
        Accepts::LoraScales => lora_scales(value),
        Accepts::Controller => match value {
            Value::Object(_) => Ok(value),
            _ => Err(refuse("must be an object with button and mouse")),
        },
        Accepts::Object => match value {
            Value::Object(_) => Ok(value),
            _ => Err(refuse("must be an object")),
        },
    }
}

fn number(value: Value, min: Option<f64>, max: Option<f64>) -> Result<Value, Refusal> {
    let Some(x) = value.as_f64() else { return Err(refuse("must be a number")) };
    let (low, high) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
    let clamped = x.clamp(low, high);
    if clamped == x {
        return Ok(value);
    }
    let instead = Instead { value: json!(clamped), note: format!("{clamped} was used") };
    Err(Refusal { message: format!("is {x}, outside {low}…{high}"), instead: Some(instead) })
}

fn integer(value: &Value, min: Option<i64>, max: Option<i64>) -> Result<Value, Refusal> {
    let whole = value
        .as_i64()
        .or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && x.abs() < 9e15).map(|x| x as i64));
    let Some(x) = whole else { return Err(refuse("must be a whole number")) };
    let (low, high) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
    let clamped = x.clamp(low, high);
    if clamped == x {
        return Ok(json!(x));
    }
    let range = match (min, max) {
        (Some(min), Some(max)) if max < i64::MAX => format!("outside {min}…{max}"),
        (Some(min), _) if x < min => format!("below {min}"),
        _ => format!("above {high}"),
    };
    let instead = Instead { value: json!(clamped), note: format!("{clamped} was used") };
    Err(Refusal { message: format!("is {x}, {range}"), instead: Some(instead) })
}

fn transition(value: Value) -> Result<Value, Refusal> {
    let Value::Object(mut object) = value else {
        return Err(refuse("must be an object with target_prompts"));
    };
    let target = object.get("target_prompts").ok_or_else(|| refuse("has no target_prompts"))?;
    let prompts = parse_prompts(target).map_err(|error| refuse(format!("target_prompts {error}")))?;
    if prompts.is_empty() {
        return Err(refuse("has an empty list of target_prompts"));
    }
    let steps = match object.get("num_steps") {
        None | Some(Value::Null) => json!(4),
        Some(steps) => integer(steps, Some(0), Some(i64::from(MAX_TRANSITION_STEPS)))
            .map_err(|error| refuse(format!("num_steps {}", error.message)))?,
    };
    object.insert("target_prompts".into(), json!(prompts));
    object.insert("num_steps".into(), steps);
    Ok(Value::Object(object))
}

fn timesteps(value: Value) -> Result<Value, Refusal> {
    let steps: Option<Vec<i64>> =
        value.as_array().and_then(|items| items.iter().map(Value::as_i64).collect());
    match steps {
        Some(steps)
            if (1..=MAX_ITEMS).contains(&steps.len())
                && steps.iter().all(|step| (0..=1000).contains(step))
                && steps.is_sorted_by(|a, b| a > b) =>
        {
            Ok(value)
        }
        _ => Err(refuse("must be a strictly descending list of whole numbers from 0 to 1000")),
    }
}

fn path(value: &Value) -> Result<(), Refusal> {
    match value.as_str() {
        Some(text) if !text.is_empty() && text.len() <= 4096 && !text.contains('\0') => Ok(()),
        _ => Err(refuse("must be a file path")),
    }
}

fn lora_scales(value: Value) -> Result<Value, Refusal> {
    let Value::Array(mut items) = value else { return Err(refuse("must be a list of {path, scale}")) };
    if items.len() > MAX_ITEMS {
        return Err(refuse(format!("has more than {MAX_ITEMS} entries")));
    }
    let mut clamped = None;
    for (index, item) in items.iter_mut().enumerate() {
        path(item.get("path").unwrap_or(&Value::Null))
            .map_err(|_| refuse(format!("entry {index} has no path")))?;
        let scale = item.get("scale").cloned().unwrap_or(json!(1.0));
        match number(scale, Some(-10.0), Some(10.0)) {
            Ok(_) => {}
            Err(Refusal { message, instead: Some(instead) }) => {
                item["scale"] = instead.value;
                clamped = Some((format!("entry {index}: scale {message}"), instead.note));
            }
            Err(refusal) => return Err(refuse(format!("entry {index}: scale {}", refusal.message))),
        }
    }
    match clamped {
        None => Ok(Value::Array(items)),
        Some((message, note)) => {
            Err(Refusal { message, instead: Some(Instead { value: Value::Array(items), note }) })
        }
    }
}

/// Checks a value against the JSON Schema of a setting: type, range and enumeration, through `anyOf` and `$ref`.
fn check_property(schema: &PipelineSchema, property: &Value, value: Value) -> Result<Value, Refusal> {
    if let Some(options) = property.get("anyOf").and_then(Value::as_array) {
        let mut last = None;
        for option in options.iter().filter(|option| option.get("type") != Some(&json!("null"))) {
            match check_property(schema, option, value.clone()) {
                Ok(value) => return Ok(value),
                Err(refusal) => last = Some(refusal),
            }
        }
        return last.map_or(Ok(value), Err);
    }
    if let Some(name) = property.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"))
    {
        return match schema.config_schema.get("$defs").and_then(|defs| defs.get(name)) {
            Some(definition) => check_property(schema, definition, value),
            None => Ok(value),
        };
    }
    if let Some(options) = property.get("enum").and_then(Value::as_array) {
        if options.contains(&value) {
            return Ok(value);
        }
        let names: Vec<_> = options.iter().map(ToString::to_string).collect();
        return Err(refuse(format!("must be one of {}", names.join(", "))));
    }
    let bound = |name: &str| property.get(name).and_then(Value::as_f64);
    match property.get("type").and_then(Value::as_str) {
        Some("number") => number(value, bound("minimum"), bound("maximum")),
        Some("integer") => {
            let whole = |name: &str| property.get(name).and_then(Value::as_i64);
            integer(&value, whole("minimum"), whole("maximum"))
        }
        Some("boolean") => check_known(Accepts::Bool, value),
        Some("string") => check_known(Accepts::Text { max_bytes: 64 * 1024 }, value),
        Some("array") => match value.as_array() {
            Some(items) if items.len() <= MAX_ITEMS => Ok(value),
            _ => Err(refuse(format!("must be a list of at most {MAX_ITEMS} entries"))),
        },
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use proptest::prelude::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_bad_key_does_not_spoil_its_message() {
        let checked =
            validate_update(object(json!({"noise_scale": 7, "prompts": 3, "manage_cache": true})), &[]);
        assert_eq!(Value::Object(checked.update.pipeline), json!({"noise_scale": 1.0, "manage_cache": true}));
        let keys: Vec<_> = checked.problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["noise_scale", "prompts"]);
    }

    #[test]
    fn nulls_are_dropped_and_unknown_keys_pass() {
        let checked = validate_update(object(json!({"noise_scale": null, "glitter": {"x": 1}})), &[]);
        assert_eq!(Value::Object(checked.update.pipeline), json!({"glitter": {"x": 1}}));
        assert!(checked.problems.is_empty());
    }

    #[test]
    fn old_names_of_a_single_prompt_are_understood() {
        for key in ["prompt", "__prompt"] {
            let checked = validate_update(object(json!({key: "a cow"})), &[]);
            assert_eq!(checked.update.pipeline["prompts"], json!([{"text": "a cow", "weight": 1.0}]));
        }
    }

    #[test]
    fn session_keys_and_the_envelope_are_kept_apart() {
        let message = json!({"node_id": "gen", "_id": "t1", "_quantized": true, "paused": 1, "base_seed": 3});
        let update = validate_update(object(message), &[]).update;
        assert_eq!((update.node_id.as_deref(), update.id.as_deref()), (Some("gen"), Some("t1")));
        assert!(update.quantized);
        assert_eq!(Value::Object(update.session), json!({"paused": true}));
        assert_eq!(Value::Object(update.pipeline), json!({"base_seed": 3}));
    }

    #[test]
    fn a_transition_overrules_prompts_sent_with_it() {
        let message = json!({"prompts": ["old"], "transition": {"target_prompts": ["new"]}});
        let update = validate_update(object(message), &[]).update;
        assert!(!update.pipeline.contains_key("prompts"));
        assert_eq!(update.pipeline["transition"]["num_steps"], 4);
    }

    #[test]
    fn keys_of_a_pipeline_are_checked_by_its_schema() {
        let registry = Registry::builtin();
        let schema = registry.get("testcard").unwrap().schema();
        let checked = validate_update(object(json!({"width": "wide"})), &[schema]);
        assert_eq!(checked.problems[0].key, "width");
        assert!(checked.update.pipeline.is_empty());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z_]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z_]{1,8}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever a client sends under any known key, the result is acceptable when checked again.
        #[test]
        fn accepted_values_are_stable(index in 0..keys::KEYS.len(), value in any_json()) {
            let key = keys::KEYS[index].name;
            let first = validate_update(Map::from_iter([(key.to_owned(), value)]), &[]);
            let again = validate_update(first.update.pipeline.clone(), &[]);
            prop_assert_eq!(again.update.pipeline, first.update.pipeline);
            prop_assert!(again.problems.is_empty(), "{:?}", again.problems);
        }
    }
}
