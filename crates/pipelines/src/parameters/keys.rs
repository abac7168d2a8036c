/// How a parameter behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Holds until it is set again.
    Sticky,
    /// Delivered with one chunk, then forgotten.
    OneShot,
    /// Adds up between chunks and is zeroed by delivery.
    Accumulating,
    /// Starts a move to other prompts; delivered once.
    Transition,
    /// Concerns the session, not its pipelines.
    Session,
    /// Describes the message that carries it.
    Envelope,
    /// Read only when a session starts.
    Start,
}

/// What values a key accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Accepts {
    Number { min: f64, max: f64 },
    Integer { min: i64, max: i64 },
    Bool,
    Text { max_bytes: usize },
    OneOf(&'static [&'static str]),
    Prompts,
    Transition,
    Timesteps,
    Path,
    Paths,
    LoraScales,
    Controller,
    Object,
    Anything,
}

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: KeyKind,
    pub(super) accepts: Accepts,
}

const fn key(name: &'static str, kind: KeyKind, accepts: Accepts) -> Key {
    Key { name, kind, accepts }
}

const INTERPOLATION: Accepts = Accepts::OneOf(&["linear", "slerp"]);
const BEAT_RATES: Accepts = Accepts::OneOf(&["none", "beat", "bar", "2_bar", "4_bar"]);

/// Every key with a meaning of its own, in groups of one kind. Other keys stick, and are checked by the schema.
pub(super) const KEYS: &[Key] = {
    use Accepts as A;
    use KeyKind as K;
    &[
        key("prompts", K::Sticky, A::Prompts),
        key("prompt_interpolation_method", K::Sticky, INTERPOLATION),
        key("denoising_step_list", K::Sticky, A::Timesteps),
        key("noise_scale", K::Sticky, A::Number { min: 0.0, max: 1.0 }),
        key("noise_controller", K::Sticky, A::Bool),
        key("manage_cache", K::Sticky, A::Bool),
        key("kv_cache_attention_bias", K::Sticky, A::Number { min: 0.01, max: 1.0 }),
        key("vace_context_scale", K::Sticky, A::Number { min: 0.0, max: 2.0 }),
        key("base_seed", K::Sticky, A::Integer { min: 0, max: i64::MAX }),
        key("transition", K::Transition, A::Transition),
        key("reset_cache", K::OneShot, A::Bool),
        key("lora_scales", K::OneShot, A::LoraScales),
        key("vace_ref_images", K::OneShot, A::Paths),
        key("images", K::OneShot, A::Paths),
        key("first_frame_image", K::OneShot, A::Path),
        key("last_frame_image", K::OneShot, A::Path),
        key("ctrl_input", K::Accumulating, A::Controller),
        key("paused", K::Session, A::Bool),
        key("input_mode", K::Session, A::OneOf(&["text", "video"])),
        key("quantize_mode", K::Session, BEAT_RATES),
        key("lookahead_ms", K::Session, A::Number { min: 0.0, max: 10_000.0 }),
        key("modulations", K::Session, A::Object),
        key("beat_cache_reset_rate", K::Session, BEAT_RATES),
        key("bpm", K::Session, A::Number { min: 1.0, max: 999.0 }),
        key("beat_phase", K::Session, A::Number { min: 0.0, max: 1.0 }),
        key("bar_position", K::Session, A::Number { min: 0.0, max: 64.0 }),
        key("beat_count", K::Session, A::Integer { min: 0, max: i64::MAX }),
        key("is_playing", K::Session, A::Bool),
        key("output_sinks", K::Session, A::Object),
        key("input_source", K::Session, A::Object),
        key("spout_sender", K::Session, A::Object),
        key("spout_receiver", K::Session, A::Object),
        key("node_id", K::Envelope, A::Text { max_bytes: 256 }),
        key("_quantized", K::Envelope, A::Bool),
        key("_id", K::Envelope, A::Text { max_bytes: 64 }),
        key("_ping", K::Envelope, A::Anything),
        key("pipeline_ids", K::Start, A::Anything),
        key("graph", K::Start, A::Anything),
        key("produces_video", K::Start, A::Bool),
        key("produces_audio", K::Start, A::Bool),
        key("recording", K::Start, A::Bool),
        key("score", K::Start, A::Anything),
        key("source_track_order", K::Start, A::Anything),
        key("vace_enabled", K::Start, A::Bool),
        key("vace_use_input_video", K::Start, A::Bool),
    ]
};

pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// How the parameter `name` behaves over time; keys without a meaning of their own stick.
pub fn key_kind(name: &str) -> KeyKind {
    find(name).map_or(KeyKind::Sticky, |key| key.kind)
}
