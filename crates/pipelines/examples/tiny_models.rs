//! Writes model files for tests of the whole program: every family's, in the published formats under the published names,
//! with tiny networks of random weights, and a LoRA adapter for them.
//!
//! `cargo run --release -p scope-pipelines --example tiny_models -- FOLDER`
//!
//! The folder is then a models folder; `adapters/swirl.safetensors` is the adapter.

// A tool of the tests: what should not happen may panic.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stderr)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: tiny_models FOLDER");
        return ExitCode::from(2);
    };
    common::write_families(&folder);
    let width = common::Scale::Tiny.network(false).dim;
    let adapters = folder.join("adapters");
    std::fs::create_dir_all(&adapters).unwrap();
    std::fs::write(adapters.join("swirl.safetensors"), common::lora("blocks.1.self_attn.v", [width, width]))
        .unwrap();
    ExitCode::SUCCESS
}
