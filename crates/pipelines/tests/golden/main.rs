//! Recorded videos of the reference, through the generator that serves sessions.
//!
//! A case is what the models' golden test describes, and its readers are used here: latents and keys are compared as
//! well as pictures. `SCOPE_GOLDEN_DIR` names a further folder of cases (`cargo xtask golden <dir>`).
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

#[allow(dead_code)]
#[path = "../../../models/tests/golden/case.rs"]
mod case;
#[allow(dead_code)]
#[path = "../../../models/tests/golden/dit.rs"]
mod dit;
#[allow(dead_code)]
#[path = "../../../models/tests/golden/generator.rs"]
mod generator;
#[allow(dead_code)]
#[path = "../../../models/tests/golden/vae.rs"]
mod vae;
mod video;
mod watched;

use case::Replay;

const OTHERS: [&str; 16] = [
    "blending",
    "dit_forward",
    "fp8_linear",
    "lora",
    "noise_controller",
    "preprocess",
    "raft",
    "rife",
    "scheduler",
    "scribble",
    "tae",
    "umt5_encoder",
    "vace_encoding",
    "vace_forward",
    "video_depth",
    "wan_vae",
];

#[test]
fn recorded_videos_are_reproduced() {
    let own: [(&str, Option<Replay>); 3] = [
        ("e2e_v2v", Some(video::from_video)),
        ("generator", Some(video::from_noise)),
        ("vace_stream", Some(video::controlled)),
    ];
    let kinds: Vec<_> = own.into_iter().chain(OTHERS.map(|kind| (kind, None))).collect();
    case::replay_all(&kinds);
}
