//! The five families as data.

use scope_models::wan::{Family, VaceConfig, WanConfig};

/// What clients and the loader need to know about a family, and nothing that a run computes with: that is in
/// [`WanFamily::roll_out`].
#[derive(Debug)]
pub(crate) struct WanFamily {
    /// Id of the pipeline, as in the manifest of model files.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// Title of the settings' schema.
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    /// Where its weights are published.
    pub(crate) page: &'static str,
    pub(crate) roll_out: fn() -> Family,
    /// Sizes of the published network.
    pub(crate) network: fn() -> WanConfig,
    /// Main blocks from one VACE block to the next.
    pub(crate) vace_stride: usize,
    /// Pictures that a chunk of a video takes, as its schema says.
    pub(crate) input_size: Option<u32>,
    pub(crate) starts_with_video: bool,
    /// Height and width.
    pub(crate) size: [u32; 2],
    pub(crate) steps: &'static [u32],
    /// What is different in the mode that it does not start in.
    pub(crate) other_mode: OtherMode,
    /// Prompt transitions: by great circles, and over how many chunks.
    pub(crate) slerp: bool,
    pub(crate) transition_steps: u32,
    pub(crate) noise_modulatable: bool,
    /// The weight of cached frames can be set.
    pub(crate) cache_weight: bool,
    pub(crate) vram_gb: f64,
    /// At or below this much memory, 8-bit weights are advised.
    pub(crate) quantise_below_gb: Option<f64>,
}

/// Defaults of a mode.
#[derive(Debug)]
pub(crate) struct OtherMode {
    pub(crate) size: [u32; 2],
    pub(crate) steps: &'static [u32],
    pub(crate) transition_steps: Option<u32>,
}

impl WanFamily {
    /// The blocks that get hints in a network of so many.
    pub(crate) fn vace(&self, blocks: usize) -> VaceConfig {
        VaceConfig { layers: (0..blocks).step_by(self.vace_stride).collect() }
    }
}

const MANY_STEPS: &[u32] = &[1000, 750, 500, 250];
const FEW_STEPS: &[u32] = &[1000, 750];

const LONGLIVE: WanFamily = WanFamily {
    id: "longlive",
    name: "LongLive",
    title: "LongLiveConfig",
    description: "Long, steady videos from text that follow new prompts without a cut.",
    page: "https://huggingface.co/daydreamlive/LongLive-1.3B",
    roll_out: Family::longlive,
    network: WanConfig::t2v_1_3b,
    vace_stride: 2,
    input_size: None,
    starts_with_video: false,
    size: [320, 576],
    steps: MANY_STEPS,
    other_mode: OtherMode { size: [512, 512], steps: FEW_STEPS, transition_steps: None },
    slerp: true,
    transition_steps: 0,
    noise_modulatable: true,
    cache_weight: false,
    vram_gb: 20.0,
    quantise_below_gb: None,
};

/// All of them, in the order in which clients see them.
pub(crate) const FAMILIES: [WanFamily; 5] = [
    LONGLIVE,
    WanFamily {
        id: "streamdiffusionv2",
        name: "StreamDiffusionV2",
        title: "StreamDiffusionV2Config",
        description: "Turns a camera or a video into another one while it plays, with little delay.",
        page: "https://huggingface.co/daydreamlive/StreamDiffusionV2",
        roll_out: Family::streamdiffusion_v2,
        input_size: Some(4),
        starts_with_video: true,
        size: [512, 512],
        steps: &[750, 250],
        noise_modulatable: false,
        ..LONGLIVE
    },
    WanFamily {
        id: "krea-realtime-video",
        name: "Krea Realtime Video",
        title: "KreaRealtimeVideoConfig",
        description: "The largest of the models: the most detail, and by far the most memory and time.",
        page: "https://huggingface.co/daydreamlive/krea-realtime-video",
        roll_out: Family::krea_realtime,
        network: WanConfig::t2v_14b,
        vace_stride: 5,
        other_mode: OtherMode { size: [256, 256], steps: FEW_STEPS, transition_steps: Some(0) },
        slerp: false,
        transition_steps: 4,
        noise_modulatable: false,
        cache_weight: true,
        vram_gb: 32.0,
        quantise_below_gb: Some(40.0),
        ..LONGLIVE
    },
    WanFamily {
        id: "reward-forcing",
        name: "RewardForcing",
        title: "RewardForcingConfig",
        description: "Endless videos with much motion from text.",
        page: "https://huggingface.co/daydreamlive/Reward-Forcing-T2V-1.3B",
        roll_out: Family::reward_forcing,
        noise_modulatable: false,
        ..LONGLIVE
    },
    WanFamily {
        id: "memflow",
        name: "MemFlow",
        title: "MemFlowConfig",
        description: "Long videos from text that remember what was seen many scenes ago.",
        page: "https://huggingface.co/daydreamlive/MemFlow",
        roll_out: Family::memflow,
        noise_modulatable: false,
        ..LONGLIVE
    },
];
