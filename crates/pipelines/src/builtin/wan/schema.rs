//! What clients know about a family.

use super::families::WanFamily;
use crate::schema::Interpolation;
use crate::video::{CONTROL, MASKS, VIDEO};
use crate::{InputMode, PipelineSchema};
use serde_json::{Map, Value, json};

pub(super) const SEED: u64 = 42;
pub(super) const NOISE_SCALE: f64 = 0.7;
/// Sizes are multiples: eight pixels of a latent, two latents of a token.
pub(super) const SIDE: u64 = 16;
pub(super) const MAX_SIDE: u64 = 2048;

const PROMPT: &str = "A red fox trots through fresh snow between birch trees in the warm light of a winter morning, \
                      its fur moving in the wind, filmed from the side by a camera that keeps up with it.";
const EXAMPLES: [&str; 3] = [
    PROMPT,
    "Waves roll onto a black beach at dusk, foam runs over the pebbles, and far out a lighthouse turns its beam.",
    "A clockwork owl of brass and glass on a workbench opens its eyes, turns its head and spreads its wings, \
     while dust dances in the light of a desk lamp.",
];

/// The schema of a family's pipeline.
pub(super) fn schema(family: &WanFamily) -> PipelineSchema {
    let [height, width] = family.size;
    let input_size = match family.input_size {
        Some(size) => json!({"default": size, "minimum": 1, "title": "Input Size", "type": "integer"}),
        None => json!({
            "anyOf": [{"minimum": 1, "type": "integer"}, {"type": "null"}], "default": 1, "title": "Input Size",
        }),
    };
    let mut schema = PipelineSchema::new(family.id, family.name, family.title)
        .with_property("height", size_property("Height", height))
        .with_property("width", size_property("Width", width))
        .with_property("manage_cache", manage_cache())
        .with_property("base_seed", base_seed())
        .with_property("denoising_steps", denoising_steps(family))
        .with_property("lora_merge_strategy", lora_merge_strategy())
        .with_property("noise_scale", noise_scale(family))
        .with_property("noise_controller", noise_controller())
        .with_property("input_size", input_size)
        .with_property("vace_context_scale", vace_context_scale())
        .with_property("vae_type", vae_type())
        .with_property("quantization", quantization());
    schema.config_schema["$defs"] = json!({
        "Quantization": {"enum": ["fp8_e4m3fn"], "title": "Quantization", "type": "string"},
        "VaeType": {"enum": ["wan", "lightvae", "tae", "lighttae"], "title": "VaeType", "type": "string"},
    });
    schema.description = family.description.into();
    schema.docs_url = Some(family.page.into());
    schema.supported_modes = vec![InputMode::Text, InputMode::Video];
    schema.default_mode = if family.starts_with_video { InputMode::Video } else { InputMode::Text };
    schema.supports_prompts = true;
    let method = if family.slerp { Interpolation::Slerp } else { Interpolation::Linear };
    schema.default_temporal_interpolation_method = Some(method);
    schema.default_temporal_interpolation_steps = Some(family.transition_steps);
    schema.estimated_vram_gb = Some(family.vram_gb);
    schema.requires_models = true;
    schema.supports_lora = true;
    schema.supports_vace = true;
    schema.random_weights = true;
    schema.supports_cache_management = true;
    schema.supports_kv_cache_bias = family.cache_weight;
    schema.supports_quantization = true;
    schema.min_dimension = SIDE as u32;
    schema.recommended_quantization_vram_threshold = family.quantise_below_gb;
    schema.modified = true;
    schema.inputs = [VIDEO, CONTROL, MASKS].map(Into::into).to_vec();
    schema.mode_defaults = mode_defaults(family);
    schema.default_prompt = Some(PROMPT.into());
    schema.example_prompts = EXAMPLES.map(Into::into).to_vec();
    schema
}

/// What differs in the mode that the pipeline does not start in.
fn mode_defaults(family: &WanFamily) -> Map<String, Value> {
    let other = &family.other_mode;
    let [height, width] = other.size;
    let mut defaults = Map::from_iter([("height".into(), json!(height)), ("width".into(), json!(width))]);
    defaults.insert("denoising_steps".into(), json!(other.steps));
    if !family.starts_with_video {
        defaults.insert("noise_scale".into(), json!(NOISE_SCALE));
        defaults.insert("noise_controller".into(), json!(true));
    }
    if let Some(steps) = other.transition_steps {
        defaults.insert("default_temporal_interpolation_steps".into(), json!(steps));
    }
    let mode = if family.starts_with_video { "text" } else { "video" };
    Map::from_iter([(mode.to_owned(), Value::Object(defaults))])
}

fn size_property(title: &str, default: u32) -> Value {
    json!({
        "default": default, "minimum": 1, "title": title, "type": "integer",
        "ui": {"category": "configuration", "component": "resolution", "is_load_param": true, "order": 4,
            "multiple_of": SIDE, "section": "quality"},
    })
}

fn manage_cache() -> Value {
    json!({
        "default": true, "title": "Manage Cache", "type": "boolean",
        "description": "Starts the video anew where its past would spoil a change: other steps, another LoRA strength.",
        "ui": {"category": "configuration", "component": "cache", "is_load_param": true, "order": 5,
            "section": "motion"},
    })
}

fn base_seed() -> Value {
    json!({
        "default": SEED, "minimum": 0, "title": "Base Seed", "type": "integer",
        "description": "The same seed and prompts make the same video.",
        "ui": {"category": "configuration", "is_load_param": true, "label": "Seed", "order": 5, "section": "look"},
    })
}

fn denoising_steps(family: &WanFamily) -> Value {
    json!({
        "default": family.steps, "items": {"type": "integer"}, "title": "Denoising Steps", "type": "array",
        "description": "Noise levels of the steps, in thousandths. Fewer steps are faster, more are sharper.",
        "ui": {"category": "configuration", "component": "denoising_steps", "is_load_param": true,
            "modulatable": true, "modulatable_max": 1000, "modulatable_min": 100, "order": 6, "section": "quality"},
    })
}

fn lora_merge_strategy() -> Value {
    json!({
        "default": "permanent_merge", "title": "Lora Merge Strategy", "type": "string",
        "description": "Merged adapters cost nothing while they run; those at runtime can change their strength.",
        "ui": {"category": "configuration", "component": "lora", "is_load_param": true, "order": 2,
            "section": "look"},
    })
}

fn noise_scale(family: &WanFamily) -> Value {
    let mut property = json!({
        "default": NOISE_SCALE, "maximum": 1.0, "minimum": 0.0, "title": "Noise Scale", "type": "number",
        "description": "How much of the input video is hidden: more lets the prompt have its way.",
        "ui": {"category": "configuration", "component": "noise", "is_load_param": false, "modes": ["video"],
            "order": 7, "section": "motion"},
    });
    if family.noise_modulatable {
        property["ui"]["modulatable"] = json!(true);
        property["ui"]["modulatable_max"] = json!(1.0);
        property["ui"]["modulatable_min"] = json!(0.0);
    }
    property
}

fn noise_controller() -> Value {
    json!({
        "default": true, "title": "Noise Controller", "type": "boolean",
        "description": "Less noise where the input moves much.",
        "ui": {"category": "configuration", "component": "noise", "is_load_param": false, "modes": ["video"],
            "order": 7, "section": "motion"},
    })
}

fn vace_context_scale() -> Value {
    json!({
        "default": 1.0, "maximum": 2.0, "minimum": 0.0, "title": "Vace Context Scale", "type": "number",
        "description": "How closely control videos and reference pictures are followed.",
        "ui": {"category": "configuration", "component": "vace", "is_load_param": true, "order": 1,
            "section": "motion"},
    })
}

fn vae_type() -> Value {
    json!({
        "$ref": "#/$defs/VaeType", "default": "wan",
        "description": "Wan's own autoencoder is the sharpest; the light and tiny ones are faster.",
        "ui": {"category": "configuration", "is_load_param": true, "label": "VAE", "order": 3,
            "section": "quality"},
    })
}

fn quantization() -> Value {
    json!({
        "anyOf": [{"$ref": "#/$defs/Quantization"}, {"type": "null"}], "default": null,
        "description": "Weights in 8 bits, for graphics cards with little memory. On a CPU it saves none.",
        "ui": {"category": "configuration", "component": "quantization", "is_load_param": true, "order": 8,
            "section": "quality"},
    })
}
