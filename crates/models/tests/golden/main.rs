//! Parity with recorded tensors.
//!
//! A case is `<name>.json` (configuration and procedure) beside `<name>.safetensors` or `<name>.safetensors.gz` (inputs,
//! weights as `w.*`, and expected results), recorded at tiny sizes with random weights. The cases in `data/` always run; `SCOPE_GOLDEN_DIR`
//! names a further folder, of which every case runs (`cargo xtask golden <dir>`).
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

mod case;
mod control;
mod dit;
mod frames;
mod generator;
mod lora;
mod made;
mod processors;
mod prompts;
mod quant;
mod scheduler;
mod text;
mod vae;

use case::Replay;

/// The replay of each `kind`.
const KINDS: &[(&str, Option<Replay>)] = &[
    ("blending", Some(prompts::blending)),
    ("dit_forward", Some(dit::forward)),
    // Whole videos are replayed by the pipelines' own generator, in its crate.
    ("e2e_v2v", None),
    ("fp8_linear", Some(quant::fp8_linear)),
    ("generator", Some(generator::replay)),
    ("lora", Some(lora::replay)),
    ("noise_controller", Some(frames::noise_controller)),
    ("preprocess", Some(frames::preprocess)),
    ("raft", Some(processors::raft)),
    ("rife", Some(processors::rife)),
    ("scheduler", Some(scheduler::scheduler)),
    ("scribble", Some(processors::scribble)),
    ("tae", Some(vae::tae)),
    ("umt5_encoder", Some(text::umt5)),
    ("vace_encoding", Some(control::replay)),
    ("vace_forward", Some(dit::vace_forward)),
    ("vace_stream", None),
    ("video_depth", Some(processors::video_depth)),
    ("wan_vae", Some(vae::wan)),
];

#[test]
fn recorded_cases_are_reproduced() {
    case::replay_all(KINDS);
}
