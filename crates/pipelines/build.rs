//! Embeds the pocket model, if its files are there: `models/pocket` of the repository.
//!
//! Without all of them the list is empty, and the program has no such pipeline. Compressed ones (`.gz`) are unpacked here,
//! so that the program has them as they are read.
#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

use flate2::read::GzDecoder;
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The networks' names; each has its weights in `name.safetensors`, or in `name.0.safetensors` and so on.
const NETWORKS: [&str; 3] = ["dit", "text", "ae"];
const PACKED: &str = ".gz";
const DOCUMENTS: [&str; 2] = ["config.json", "tokenizer.json"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = root.join("../../models/pocket");
    println!("cargo::rerun-if-changed={}", folder.display());
    let files = if folder.is_dir() { model_files(&folder)? } else { Vec::new() };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut entries = String::new();
    for file in files {
        let (name, path) = match file.strip_suffix(PACKED) {
            Some(name) => (name, unpack(&folder.join(&file), &out.join(name))?),
            None => (&*file, folder.join(&file)),
        };
        entries += &format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string());
    }
    fs::write(out.join("pocket_files.rs"), format!("static FILES: &[(&str, &[u8])] = &[\n{entries}];\n"))
}

fn unpack(packed: &Path, to: &Path) -> io::Result<PathBuf> {
    io::copy(&mut GzDecoder::new(File::open(packed)?), &mut File::create(to)?)?;
    Ok(to.to_owned())
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
    let stem = file.strip_suffix(PACKED).unwrap_or(file).strip_suffix(".safetensors")?;
    let (name, part) = stem.split_once('.').unwrap_or((stem, "0"));
    let numbered = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (numbered && NETWORKS.contains(&name)).then_some(name)
}
