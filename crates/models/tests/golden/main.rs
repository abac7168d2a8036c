//! Parity with recorded tensors.
//!
//! A case is `<name>.json` (configuration and procedure) beside `<name>.safetensors` (inputs, weights as `w.*`, and
//! expected results), recorded at tiny sizes with random weights. The cases in `data/` always run; `SCOPE_GOLDEN_DIR`
//! names a further folder, of which every case runs (`cargo xtask golden <dir>`).
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

mod case;
mod control;
mod dit;
mod frames;
mod generator;
mod lora;
mod processors;
mod prompts;
mod quant;
mod scheduler;
mod text;
mod vae;
mod video;

use std::{env, fs, path::PathBuf};

use case::{Case, Check};

/// How a kind of case is replayed.
type Replay = fn(&Case, &mut Check) -> anyhow::Result<()>;

/// The replay of each `kind`.
const KINDS: &[(&str, Replay)] = &[
    ("blending", prompts::blending),
    ("dit_forward", dit::forward),
    ("e2e_v2v", video::from_video),
    ("fp8_linear", quant::fp8_linear),
    ("generator", generator::replay),
    ("lora", lora::replay),
    ("noise_controller", frames::noise_controller),
    ("preprocess", frames::preprocess),
    ("rife", processors::rife),
    ("scheduler", scheduler::scheduler),
    ("scribble", processors::scribble),
    ("tae", vae::tae),
    ("umt5_encoder", text::umt5),
    ("vace_encoding", control::replay),
    ("vace_forward", dit::vace_forward),
    ("vace_stream", video::controlled),
    ("wan_vae", vae::wan),
];

fn folders() -> Vec<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data");
    [Some(own), env::var_os("SCOPE_GOLDEN_DIR").map(PathBuf::from)].into_iter().flatten().collect()
}

#[test]
fn recorded_cases_are_reproduced() {
    let mut failures = Vec::new();
    let mut count = 0;
    for folder in folders() {
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a folder entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        files.sort();
        for file in files {
            count += 1;
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut check = Check::default();
            let result = Case::load(&file).and_then(|case| {
                let kind = case.text("kind")?;
                let Some((_, replay)) = KINDS.iter().find(|(name, _)| *name == kind) else {
                    anyhow::bail!("no replay for cases of kind {kind:?}");
                };
                replay(&case, &mut check)
            });
            if let Err(error) = result {
                check.fail(format!("{error:#}"));
            }
            println!("{name:28} {}", check.summary());
            if !check.passed() {
                failures.push(format!("{name}: {}", check.failures().join("; ")));
            }
        }
    }
    println!("{count} cases, {} failed", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
