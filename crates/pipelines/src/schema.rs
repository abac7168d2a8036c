//! The document that describes a pipeline to clients: identity, capabilities, and a JSON Schema of its settings.
//!
//! Key names and the dialect (`anyOf` with `null`, titles, `ui` annotations) are those that existing clients read.

use crate::InputMode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Ports that a pipeline described from outside may have.
const MAX_PORTS: usize = 64;
/// Bytes of a port's name.
const MAX_PORT_NAME: usize = 64;

/// Why a document describes no pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema can't be used: {key}{}{problem}", if .key.is_empty() { "" } else { " " })]
pub struct SchemaError {
    /// The offending key, if it is one.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

/// How embeddings of prompts are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Weighted mean.
    Linear,
    /// Along the great circle.
    Slerp,
}

/// Where in a chain a pipeline usually stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// Before a generator.
    Preprocessor,
    /// After a generator.
    Postprocessor,
}

/// Everything clients know about a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)]
pub struct PipelineSchema {
    /// Unique id, part of the wire format.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// One or two sentences for people.
    pub description: String,
    /// Version of the pipeline.
    pub version: String,
    /// Modes it can run in.
    pub supported_modes: Vec<InputMode>,
    /// The mode it starts in.
    pub default_mode: InputMode,
    /// Whether it reads prompts.
    pub supports_prompts: bool,
    /// How prompt changes move over time.
    pub default_temporal_interpolation_method: Option<Interpolation>,
    /// Over how many chunks.
    pub default_temporal_interpolation_steps: Option<u32>,
    /// How prompts of one moment mix.
    pub default_spatial_interpolation_method: Option<Interpolation>,
    /// Where to read more.
    pub docs_url: Option<String>,
    /// GPU memory it needs, roughly.
    pub estimated_vram_gb: Option<f64>,
    /// Whether weights must be downloaded first.
    pub requires_models: bool,
    /// Whether `random_weights` loads it without its files, to measure it.
    #[serde(skip)]
    pub random_weights: bool,
    /// Whether LoRA adapters can be used.
    pub supports_lora: bool,
    /// Whether VACE conditioning can be used.
    pub supports_vace: bool,
    /// Whether `manage_cache` and `reset_cache` mean something.
    pub supports_cache_management: bool,
    /// Whether `kv_cache_attention_bias` means something.
    pub supports_kv_cache_bias: bool,
    /// Whether weights can be quantised.
    pub supports_quantization: bool,
    /// Sizes must be multiples of this.
    pub min_dimension: u32,
    /// At or below this much GPU memory, quantisation is advised.
    pub recommended_quantization_vram_threshold: Option<f64>,
    /// Whether it differs from its upstream.
    pub modified: bool,
    /// Whether it puts out pictures.
    pub produces_video: bool,
    /// Whether it puts out sound.
    pub produces_audio: bool,
    /// Where in a chain it usually stands; empty for a main pipeline.
    pub usage: Vec<Usage>,
    /// Names of its input ports.
    pub inputs: Vec<String>,
    /// Names of its output ports.
    pub outputs: Vec<String>,
    /// JSON Schema of its settings.
    pub config_schema: Value,
    /// Settings that differ by mode.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub mode_defaults: Map<String, Value>,
    /// The prompt a new user finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_prompt: Option<String>,
    /// Prompts worth trying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub example_prompts: Vec<String>,
    /// The plugin that it belongs to; `None` for what is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_name: Option<String>,
}

impl PipelineSchema {
    /// A schema with the defaults that hold unless a pipeline says otherwise: a video filter with one port each way.
    pub fn new(id: &str, name: &str, config_title: &str) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            description: String::new(),
            version: "1.0.0".into(),
            supported_modes: vec![InputMode::Video],
            default_mode: InputMode::Video,
            supports_prompts: false,
            default_temporal_interpolation_method: Some(Interpolation::Slerp),
            default_temporal_interpolation_steps: Some(0),
            default_spatial_interpolation_method: Some(Interpolation::Linear),
            docs_url: None,
            estimated_vram_gb: None,
            requires_models: false,
            random_weights: false,
            supports_lora: false,
            supports_vace: false,
            supports_cache_management: false,
            supports_kv_cache_bias: false,
            supports_quantization: false,
            min_dimension: 1,
            recommended_quantization_vram_threshold: None,
            modified: false,
            produces_video: true,
            produces_audio: false,
            usage: Vec::new(),
            inputs: vec!["video".into()],
            outputs: vec!["video".into()],
            config_schema: json!({
                "additionalProperties": false,
                "properties": base_properties(),
                "title": config_title,
                "type": "object",
            }),
            mode_defaults: Map::new(),
            default_prompt: None,
            example_prompts: Vec::new(),
            plugin_name: None,
        }
    }

    /// The schema that a document from outside describes: keys as in [`to_value`](Self::to_value), of which only `id` must be there. Settings
    /// are added to those that every pipeline has; unknown keys are ignored.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn from_value(document: &Value) -> Result<Self, SchemaError> {
        let wrong = |key: &str, problem: &str| SchemaError { key: key.into(), problem: problem.into() };
        let given = document.as_object().ok_or_else(|| wrong("", "the schema must be an object"))?;
        let id = given.get("id").and_then(Value::as_str).ok_or_else(|| wrong("id", "must be a text"))?;
        let name = given.get("name").and_then(Value::as_str).unwrap_or(id);
        let mut whole = Self::new(id, name, name).to_value();
        for (key, value) in given.iter().filter(|(key, _)| *key != "config_schema") {
            whole[key.as_str()] = value.clone();
        }
        if let Some(settings) = given.get("config_schema") {
            let settings = settings.as_object().ok_or_else(|| wrong("config_schema", "must be an object"))?;
            for (key, value) in settings.iter().filter(|(key, _)| *key != "properties") {
                whole["config_schema"][key.as_str()] = value.clone();
            }
            let properties = settings.get("properties").and_then(Value::as_object);
            for (key, value) in properties.into_iter().flatten() {
                whole["config_schema"]["properties"][key.as_str()] = value.clone();
            }
        }
        let schema: Self = serde_json::from_value(whole).map_err(|error| wrong("", &error.to_string()))?;
        if !schema.supported_modes.contains(&schema.default_mode) {
            return Err(wrong("default_mode", "must be one of supported_modes"));
        }
        let ports = || schema.inputs.iter().chain(&schema.outputs);
        if ports().count() > MAX_PORTS || ports().any(|port| port.is_empty() || port.len() > MAX_PORT_NAME) {
            return Err(wrong("inputs, outputs", "are too many, or have a name that is empty or too long"));
        }
        Ok(schema)
    }

    /// Adds or replaces a setting.
    #[must_use]
    pub fn with_property(mut self, key: &str, property: Value) -> Self {
        if let Some(properties) = self.config_schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(key.into(), property);
        }
        self
    }

    /// The JSON Schema of the setting `key`.
    pub fn property(&self, key: &str) -> Option<&Value> {
        self.config_schema.get("properties")?.get(key)
    }

    /// The default of the setting `key` in `mode`.
    pub fn default_of(&self, key: &str, mode: InputMode) -> Option<&Value> {
        let mode = match mode {
            InputMode::Text => "text",
            InputMode::Video => "video",
        };
        self.mode_defaults
            .get(mode)
            .and_then(|defaults| defaults.get(key))
            .or_else(|| self.property(key)?.get("default"))
    }

    /// The document as clients read it.
    pub fn to_value(&self) -> Value {
        // A struct of strings, numbers and JSON values always serialises.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// The entry of `GET /api/v1/nodes/definitions` for this pipeline.
    pub fn node_definition(&self) -> Value {
        let port = |name: &str, kind: &str, required: bool| json!({"name": name, "port_type": kind, "required": required, "description": "", "default_value": null});
        let mut inputs: Vec<Value> = self.inputs.iter().map(|name| port(name, "video", true)).collect();
        if self.supports_prompts {
            inputs.push(port("prompts", "string", false));
        }
        let outputs: Vec<Value> = self.outputs.iter().map(|name| port(name, "video", true)).collect();
        json!({
            "node_type_id": self.id,
            "display_name": self.name,
            "category": "pipeline",
            "description": self.description,
            "inputs": inputs,
            "outputs": outputs,
            "params": [],
            "continuous": false,
            "pipeline_meta": self.to_value(),
            "plugin_name": self.plugin_name,
        })
    }
}

/// The settings that every pipeline has. Without a `ui` key no client renders them.
fn base_properties() -> Value {
    let nullable = |kind: Value, title: &str| json!({"anyOf": [kind, {"type": "null"}], "default": null, "title": title});
    json!({
        "height": {"default": 512, "minimum": 1, "title": "Height", "type": "integer"},
        "width": {"default": 512, "minimum": 1, "title": "Width", "type": "integer"},
        "manage_cache": {"default": true, "title": "Manage Cache", "type": "boolean"},
        "base_seed": {"default": 42, "minimum": 0, "title": "Base Seed", "type": "integer"},
        "denoising_steps": nullable(json!({"items": {"type": "integer"}, "type": "array"}), "Denoising Steps"),
        "lora_merge_strategy":
            nullable(json!({"enum": ["permanent_merge", "runtime_peft"], "type": "string"}), "Lora Merge Strategy"),
        "noise_scale": nullable(json!({"maximum": 1.0, "minimum": 0.0, "type": "number"}), "Noise Scale"),
        "noise_controller": nullable(json!({"type": "boolean"}), "Noise Controller"),
        "input_size": {
            "anyOf": [{"minimum": 1, "type": "integer"}, {"type": "null"}], "default": 1, "title": "Input Size",
        },
        "ref_images": nullable(json!({"items": {"type": "string"}, "type": "array"}), "Ref Images"),
        "vace_context_scale":
            {"default": 1.0, "maximum": 2.0, "minimum": 0.0, "title": "Vace Context Scale", "type": "number"},
    })
}

#[cfg(test)]
mod tests {
    use super::PipelineSchema;
    use crate::Registry;
    use serde_json::{Value, json};

    /// Facts of the wire format that clients were written against.
    const FACTS: &str = include_str!("../tests/passthrough.facts.json");

    #[test]
    fn the_passthrough_schema_is_what_clients_expect() {
        let facts: Value = serde_json::from_str(FACTS).unwrap();
        let mut ours = Registry::builtin().get("passthrough").unwrap().schema().to_value();
        ours.as_object_mut().unwrap().remove("description");
        assert_eq!(ours, facts);
    }

    #[test]
    fn a_schema_from_outside_says_what_differs_and_comes_back_whole() {
        let document = json!({"id": "grain", "description": "Film grain.", "later": 1, "config_schema": {"properties": {
            "amount": {"type": "number", "default": 0.5},
        }}});
        let schema = PipelineSchema::from_value(&document).unwrap();
        assert_eq!((schema.name.as_str(), schema.description.as_str()), ("grain", "Film grain."));
        assert!(schema.property("amount").is_some() && schema.property("height").is_some());
        for pipeline in Registry::builtin().iter() {
            let schema = pipeline.schema();
            assert_eq!(PipelineSchema::from_value(&schema.to_value()).as_ref(), Ok(schema));
        }
    }

    #[test]
    fn a_schema_that_makes_no_sense_is_refused_with_the_key() {
        let wrong = [
            (json!([]), "object"),
            (json!({"name": "x"}), "id"),
            (json!({"id": "x", "supported_modes": ["text"]}), "default_mode"),
            (json!({"id": "x", "supported_modes": ["dance"]}), "dance"),
            (json!({"id": "x", "config_schema": 1}), "config_schema"),
            (json!({"id": "x", "outputs": [""]}), "outputs"),
        ];
        for (document, word) in wrong {
            let error = PipelineSchema::from_value(&document).unwrap_err().to_string();
            assert!(error.contains(word), "{document}: {error}");
        }
    }

    #[test]
    fn prompt_ports_appear_in_node_definitions_of_prompted_pipelines_only() {
        let registry = Registry::builtin();
        let inputs = |id: &str| {
            let node = registry.get(id).unwrap().schema().node_definition();
            node["inputs"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(inputs("testcard"), ["video", "prompts"]);
        assert_eq!(inputs("passthrough"), ["video"]);
    }
}
