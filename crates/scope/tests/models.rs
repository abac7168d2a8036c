//! `scope models` as a user runs it, against a server on this machine.

#![cfg(unix)]
// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/hub/mod.rs"]
mod hub;

use hub::{Fault, Hub, noise};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const OWN: &str = "daydreamlive/StreamDiffusionV2";
const MODEL: &str = "wan_causal_dmd_v2v/model.pt";

/// A server with everything that one pipeline needs, much smaller.
fn hub() -> Hub {
    let hub = Hub::new();
    let base = "daydreamlive/Wan2.1-T2V-1.3B";
    hub.put(base, "Wan2.1_VAE.pth", &noise(1, 3000));
    hub.put(base, "config.json", b"{}");
    hub.put(base, "google/umt5-xxl/tokenizer.json", b"{}");
    let empty = b"\x02\0\0\0\0\0\0\0{}";
    hub.put("daydreamlive/WanVideo_comfy", "umt5-xxl-enc-fp8_e4m3fn.safetensors", empty);
    hub.put("daydreamlive/WanVideo_comfy", "Wan2_1-VACE_module_1_3B_bf16.safetensors", empty);
    for name in ["lightvaew2_1.pth", "taew2_1.pth", "lighttaew2_1.pth"] {
        hub.put("daydreamlive/Autoencoders", name, &noise(2, 300));
    }
    hub.put(OWN, MODEL, &noise(3, 2 << 20));
    hub
}

fn scope(home: &Path, hub: &Hub, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scope"));
    command.env_clear().env("HOME", home).env("HF_ENDPOINT", format!("http://127.0.0.1:{}", hub.port));
    command.arg("models").args(words).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn states(output: &Output) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let document = json(output);
    let models = document["models"].as_array().unwrap();
    models.iter().map(|model| (text(&model["pipeline_id"]), text(&model["state"]))).collect()
}

#[test]
fn models_are_listed_downloaded_verified_and_removed() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let run = |words: &[&str]| scope(home.path(), &hub, words);
    let list = run(&["list"]);
    assert!(list.status.success());
    assert!(String::from_utf8_lossy(&list.stdout).contains("about 14.5 GB"), "{list:?}");
    assert_eq!(states(&run(&["list", "--json"])).len(), 9);

    hub.fault(&format!("/{OWN}/resolve/main/{MODEL}"), Fault::Cut(1 << 20));
    let done = run(&["download", "streamdiffusionv2"]);
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains("streamdiffusionv2 is complete") && text.contains("Apache-2.0"), "{text}");
    let models = home.path().join(".daydream-scope/models");
    assert_eq!(std::fs::read(models.join("StreamDiffusionV2").join(MODEL)).unwrap(), noise(3, 2 << 20));
    let found = states(&run(&["list", "--json"]));
    assert_eq!(found[0], ("streamdiffusionv2".into(), "complete".into()));
    assert_eq!(found[1], ("longlive".into(), "partial".into()));

    let verified = run(&["verify", "streamdiffusionv2"]);
    assert!(verified.status.success(), "{verified:?}");
    std::fs::write(models.join("Autoencoders/taew2_1.pth"), noise(9, 300)).unwrap();
    let damaged = run(&["verify", "streamdiffusionv2", "--json"]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(json(&damaged)["files"].as_array().unwrap().iter().any(|file| file["outcome"] == "damaged"));
    assert_eq!(states(&run(&["list", "--json"]))[0].1, "damaged");

    let removed = run(&["remove", "streamdiffusionv2", "--json"]);
    assert!(removed.status.success());
    assert!(json(&removed)["bytes"].as_u64().unwrap() > 2 << 20);
    assert!(!models.join("StreamDiffusionV2").exists());
}

#[test]
fn what_cannot_be_had_is_said_and_the_exit_code_tells() {
    let (home, hub) = (tempfile::tempdir().unwrap(), hub());
    let missing = scope(home.path(), &hub, &["download", "longlive"]);
    assert_eq!(missing.status.code(), Some(1));
    let text = String::from_utf8_lossy(&missing.stderr);
    assert!(text.contains("longlive_base.pt") || text.contains("lora.pt"), "{text}");
    let unknown = scope(home.path(), &hub, &["download", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    let wrong = scope(home.path(), &hub, &["download", "longlive", "--vae", "nobody"]);
    assert_eq!(wrong.status.code(), Some(2));
}
