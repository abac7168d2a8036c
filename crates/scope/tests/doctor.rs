//! `scope doctor` on machines with a GPU's driver: one of ours, that knows a card or refuses.

#![cfg(target_os = "linux")]
// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// As much of the driver as is asked. `INIT` is what its start returns.
const DRIVER: &str = r#"
#include <string.h>
int cuInit(unsigned flags) { return flags ? 1 : INIT; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return 0; }
int cuDeviceGetName(char *name, int len, int device) {
    strncpy(name, device == 40 ? "NVIDIA Test 1" : "another", len);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 24ull << 30; return device != 40; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : attribute == 16 ? 128 : -1;
    return device != 40;
}
int cuGetErrorString(int error, const char **text) { *text = "the test's own words"; return error == 0; }
"#;

/// Puts a driver into a folder, as the file that programs ask for.
fn install_driver(folder: &Path, init: u32) {
    let source = folder.join("driver.c");
    fs::write(&source, DRIVER).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", &format!("-DINIT={init}")]);
    let status = cc.arg("-o").arg(folder.join("libcuda.so.1")).arg(&source).status().unwrap();
    assert!(status.success());
}

fn doctor(home: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scope"));
    command.env_clear().env("HOME", home).env("LD_LIBRARY_PATH", home);
    let output = command.args(["doctor", "--port", "0"]).args(words).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_card_is_described_and_what_it_lacks_is_told_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    install_driver(home.path(), 0);
    // An older toolkit's stand-in under the name that is asked for first: it would end the program.
    fs::write(home.path().join("libcuda.so"), b"no library").unwrap();
    let (code, text) = doctor(home.path(), &["--json"]);
    assert_eq!(code, Some(0), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    let gpu = &document["gpu"];
    assert_eq!(gpu["cuda"], "13.2", "{gpu:#}");
    let card = &gpu["cards"][0];
    assert_eq!((&card["name"], &card["compute_capability"]), (&"NVIDIA Test 1".into(), &"8.9".into()));
    assert_eq!((&card["memory_bytes"], &card["multiprocessors"]), (&(24_u64 << 30).into(), &128.into()));
    let driver = &gpu["libraries"][0];
    assert_eq!(driver["path"], home.path().join("libcuda.so.1").to_str().unwrap());

    // Where setup-gpu puts it; the file is only looked at.
    let library = home.path().join(".daydream-scope/gpu/libraries/nvidia/cu13/lib/libcublasLt.so.13");
    fs::create_dir_all(library.parent().unwrap()).unwrap();
    fs::copy(home.path().join("libcuda.so.1"), &library).unwrap();
    let (_, text) = doctor(home.path(), &[]);
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default();
    assert!(line(" GPU  ").contains("NVIDIA Test 1 · 24 GiB · compute capability 8.9"), "{text}");
    assert!(
        line(" cuBLASLt ").starts_with("ok") && line(" cuBLASLt ").contains(library.to_str().unwrap()),
        "{text}"
    );
}

#[test]
fn a_driver_that_refuses_is_quoted_and_nothing_is_broken() {
    let home = tempfile::tempdir().unwrap();
    install_driver(home.path(), 803);
    let (code, text) = doctor(home.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    let line = text.lines().find(|line| line.contains("GPU driver")).unwrap();
    assert!(
        line.starts_with("limited") && line.contains("the test's own words: models run on the CPU"),
        "{text}"
    );
}

#[test]
fn a_driver_without_cards_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    install_driver(home.path(), 100);
    let (code, text) = doctor(home.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("shows no GPU: models run on the CPU") && text.contains("--gpus all"), "{text}");
}
