use super::{ID, MAX_SIZE, MIN_SIZE, NOISE_CONTROLLER, NOISE_SCALE, SEED, SIDE};
use crate::schema::Interpolation;
use crate::{InputMode, PipelineSchema};
use scope_models::pocket::PocketConfig;
use serde_json::{Value, json};

/// What clients know about the pipeline.
pub(super) fn schema(config: &PocketConfig) -> PipelineSchema {
    let whole = |steps: Vec<f64>| steps.iter().map(|step| step.round() as u32).collect::<Vec<u32>>();
    let steps = whole(config.timesteps());
    let examples: Vec<_> = config.fewer_timesteps().map(whole).into_iter().chain([steps.clone()]).collect();
    let [width, height] = config.video.default_size;
    let mut schema = PipelineSchema::new(ID, "Pocket", "PocketConfig")
        .with_property("height", size_property("Height", height))
        .with_property("width", size_property("Width", width))
        .with_property(
            "base_seed",
            json!({
                "default": SEED, "minimum": 0, "title": "Base Seed", "type": "integer",
                "description": "The same seed and prompts make the same video.",
                "ui": {"category": "configuration", "is_load_param": false, "order": 5, "section": "look"},
            }),
        )
        .with_property(
            "denoising_steps",
            json!({
                "default": steps, "items": {"type": "integer", "minimum": 0, "maximum": 1000},
                "title": "Denoising Steps", "type": "array", "examples": examples,
                "description": "Noise levels of the steps, in thousandths. Two steps are faster, three sharper.",
                "ui": {"category": "configuration", "component": "denoising_steps", "is_load_param": true,
                    "order": 6, "section": "quality"},
            }),
        )
        .with_property(
            "adaptive_quality",
            json!({
                "default": true, "title": "Adaptive Quality", "type": "boolean",
                "description": "Fewer steps, or a smaller picture, while this machine is too slow. Steps that you set yourself stay.",
                "ui": {"category": "configuration", "is_load_param": false, "order": 7, "section": "quality"},
            }),
        )
        .with_property(
            "noise_scale",
            json!({
                "default": NOISE_SCALE, "minimum": 0.0, "maximum": 1.0, "title": "Noise Scale", "type": "number",
                "description": "How much of the input video is hidden: more lets the prompt have its way.",
                "ui": {"category": "configuration", "component": "noise", "is_load_param": false, "order": 7,
                    "modes": ["video"], "modulatable": true, "modulatable_min": 0.0, "modulatable_max": 1.0,
                    "section": "motion"},
            }),
        )
        .with_property(
            "noise_controller",
            json!({
                "default": NOISE_CONTROLLER, "title": "Noise Controller", "type": "boolean",
                "description": "Less noise where the input moves much.",
                "ui": {"category": "configuration", "component": "noise", "is_load_param": false, "order": 8,
                    "modes": ["video"], "section": "motion"},
            }),
        );
    schema.description =
        "A small model that is part of Scope: paints cartoon scenes in real time, without a GPU.".into();
    schema.supported_modes = vec![InputMode::Text, InputMode::Video];
    schema.default_mode = InputMode::Text;
    schema.supports_prompts = true;
    schema.supports_cache_management = true;
    schema.default_temporal_interpolation_method = Some(Interpolation::Linear);
    schema.default_temporal_interpolation_steps = Some(4);
    schema.min_dimension = SIDE as u32;
    schema.default_prompt = config.example_prompts.first().cloned();
    schema.example_prompts.clone_from(&config.example_prompts);
    schema
}

fn size_property(title: &str, default: usize) -> Value {
    json!({
        "default": default, "minimum": MIN_SIZE, "maximum": MAX_SIZE, "title": title, "type": "integer",
        "ui": {"category": "configuration", "component": "resolution", "is_load_param": true, "order": 4,
            "multiple_of": SIDE, "section": "quality"},
    })
}
