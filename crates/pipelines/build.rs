//! Embeds the pocket model, if its files are there: `models/pocket` of the repository.
//!
//! Without all of them the list is empty, and the program has no such pipeline.
#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The networks' names; each has its weights in `name.safetensors`, or in `name.0.safetensors` and so on.
const NETWORKS: [&str; 3] = ["dit", "text", "ae"];
const DOCUMENTS: [&str; 2] = ["config.json", "tokenizer.json"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = root.join("../../models/pocket");
    println!("cargo::rerun-if-changed={}", folder.display());
    let files = if folder.is_dir() { model_files(&folder)? } else { Vec::new() };
    let entries: String = files
        .iter()
        .map(|file| {
            format!("    ({file:?}, include_bytes!({:?})),\n", folder.join(file).display().to_string())
        })
        .collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("pocket_files.rs");
    fs::write(out, format!("static FILES: &[(&str, &[u8])] = &[\n{entries}];\n"))
}

/// Names of the model's files, or none if one is missing.
fn model_files(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    names.retain(|name| DOCUMENTS.contains(&name.as_str()) || network(name).is_some());
    names.sort();
    let documents = DOCUMENTS.iter().all(|document| names.iter().any(|name| name == document));
    let networks = NETWORKS.iter().all(|wanted| names.iter().any(|name| network(name) == Some(*wanted)));
    Ok(if documents && networks { names } else { Vec::new() })
}

/// The network that a file holds weights of.
fn network(file: &str) -> Option<&str> {
    let stem = file.strip_suffix(".safetensors")?;
    let (name, part) = stem.split_once('.').unwrap_or((stem, "0"));
    let numbered = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (numbered && NETWORKS.contains(&name)).then_some(name)
}
