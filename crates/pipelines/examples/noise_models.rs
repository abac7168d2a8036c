//! Writes the model files of a family in the published formats, names and sizes, with noise for weights: to measure how fast
//! such files are loaded, on machines that have none.
//!
//! `cargo run --release -p scope-pipelines --example noise_models -- FOLDER PIPELINE [KEY=VALUE …]`
//!
//! The folder is then a models folder, `scope bench --pipeline PIPELINE --models-dir FOLDER` loads from it. Settings such as
//! `vae_type=tae` and `vace_enabled=false` say which files are needed; those that are there stay. LongLive takes 15.8 GB.

// A tool of the tests: what should not happen may panic.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{FAMILIES, Scale, needed_with, write_family};
use scope_store::{ModelFolder, Settings};
use serde_json::{Map, Value};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, id, settings @ ..] = &arguments[..] else {
        return refuse("usage: noise_models FOLDER PIPELINE [KEY=VALUE …]");
    };
    if !FAMILIES.contains(&id.as_str()) {
        return refuse(&format!("{id} is none of {}", FAMILIES.join(", ")));
    }
    let mut params = Map::new();
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else { return refuse("write KEY=VALUE") };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        params.insert(key.to_owned(), value);
    }
    let began = Instant::now();
    let (folder, settings) = (Path::new(folder), Settings::from_params(&params));
    let written = write_family(folder, id, Scale::Published, needed_with(settings));
    ModelFolder::new(folder).locate(id, &settings).unwrap();
    let mut all = 0;
    for path in &written {
        let bytes = path.metadata().unwrap().len();
        println!("{:>8.3} GB  {}", bytes as f64 / 1e9, path.display());
        all += bytes;
    }
    println!("{:>8.3} GB  in {:.1} s", all as f64 / 1e9, began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}
