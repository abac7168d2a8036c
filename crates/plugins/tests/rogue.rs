//! A plugin that does everything wrong: nothing but an error comes of it, and the next chunk is tried.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Plugins, chunk, load, pictures, rogue, watched};
use scope_frame::Image;
use scope_pipelines::{GenerateError, LoadError, Registry};
use serde_json::json;
use std::time::Duration;

fn installed() -> (Plugins, Registry) {
    let plugins = Plugins::new();
    plugins.install(&plugins.source("rogue", &[])).unwrap();
    let registry = plugins.registry();
    (plugins, registry)
}

/// What a chunk of a rogue ends with.
fn misbehave(registry: &Registry, misdeed: &str) -> GenerateError {
    let (loaded, _) = load(registry, "rogue", rogue(misdeed)).unwrap();
    let mut generator = loaded.start().unwrap();
    let input = [Image::solid(16, 16, [1, 2, 3]).unwrap()];
    chunk(&mut *generator, 1, &input, json!({})).unwrap_err()
}

#[test]
fn every_misdeed_is_one_failed_chunk_that_says_what_happened() {
    let (_plugins, registry) = installed();
    let misdeeds = [
        ("crash", "stopped unexpectedly (signal: 6"),
        ("hang", "did not answer for 1 s and was ended"),
        ("flood", "more than 4096 messages"),
        ("giant message", "a message of 4294967295 bytes"),
        ("garbage", "not a message"),
        ("half a message", "stopped unexpectedly"),
        ("huge picture", "4294967295×4294967295 pixels"),
        ("empty picture", "0×16 pixels"),
        ("no such place", "place 1000 of 8"),
        ("no such port", "no output port back door"),
        ("wrong answer", "answered generate with loaded"),
        ("fail", "this chunk was too hard"),
    ];
    for (misdeed, words) in misdeeds {
        let error = misbehave(&registry, misdeed);
        let text = error.to_string();
        assert!(text.starts_with("the plugin rogue: ") && text.contains(words), "{misdeed}: {text}");
        assert!(!error.is_fatal(), "{misdeed}");
    }
    // Which of the two is seen first is a matter of luck.
    let text = misbehave(&registry, "deaf").to_string();
    assert!(text.contains("more than 4096") || text.contains("does not read its messages"), "{text}");
    let error = misbehave(&registry, "no memory");
    assert!(error.is_fatal() && error.to_string().contains("1 GiB was not to be had"), "{error}");
}

#[test]
fn a_session_ends_without_waiting_for_the_chunk_of_another() {
    let (_plugins, registry) = installed();
    let (loaded, _) = load(&registry, "rogue", rogue("behave")).unwrap();
    let mut busy = loaded.start().unwrap();
    let mut other = Some(loaded.start().unwrap());
    let input = [Image::solid(16, 16, [1, 2, 3]).unwrap()];
    let mut ended_within = Vec::new();
    // In the midst of a chunk, which goes on only after this.
    let mut emit = |_| {
        let other = other.take();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            drop(other);
            tell.send(()).ok();
        });
        ended_within.push(told.recv_timeout(Duration::from_secs(20)).is_ok());
    };
    watched(&mut *busy, 1, &input, json!({}), &mut emit).unwrap();
    assert_eq!(ended_within, [true]);
    chunk(&mut *busy, 2, &input, json!({})).unwrap();
}

#[test]
fn trouble_at_loading_is_a_load_error() {
    let (_plugins, registry) = installed();
    let error = load(&registry, "rogue", rogue("fail to load")).err().unwrap();
    assert!(error.to_string().contains("the weights are missing. Download them"), "{error}");
    let error = load(&registry, "rogue", rogue("endless progress")).err().unwrap();
    assert!(error.to_string().contains("too many messages"), "{error}");
    let error = load(&registry, "rogue", rogue("no memory to load")).err().unwrap();
    assert!(matches!(error, LoadError::OutOfMemory { .. }), "{error}");
}

#[test]
fn what_does_not_speak_the_protocol_is_not_installed() {
    let plugins = Plugins::new();
    for (misdeed, words) in [
        ("die at once", "exit status: 3); its last line: no such library"),
        ("other version", "version 7"),
        ("mute", "did not answer for 5 s"),
    ] {
        let error = plugins.install(&plugins.source("rogue", &[misdeed])).unwrap_err().to_string();
        assert!(error.contains(words), "{misdeed}: {error}");
    }
    assert!(plugins.library.scan().plugins.is_empty());
}

#[test]
fn a_plugin_that_crashed_is_started_again_but_not_forever() {
    let (_plugins, registry) = installed();
    let input = [Image::solid(16, 16, [1, 2, 3]).unwrap()];
    let (loaded, _) = load(&registry, "rogue", rogue("crash once")).unwrap();
    let mut generator = loaded.start().unwrap();
    chunk(&mut *generator, 1, &input, json!({})).unwrap_err();
    let (outputs, _) = chunk(&mut *generator, 2, &input, json!({})).unwrap();
    assert_eq!(pictures(&outputs).len(), 1);

    let (loaded, _) = load(&registry, "rogue", rogue("crash")).unwrap();
    let mut generator = loaded.start().unwrap();
    let errors: Vec<String> = (1..=5)
        .map(|index| chunk(&mut *generator, index, &input, json!({})).unwrap_err().to_string())
        .collect();
    assert!(errors[3].contains("signal") && errors[4].contains("not started again"), "{errors:?}");
}

#[test]
fn a_flooded_log_delays_nothing_but_the_plugin() {
    let (_plugins, registry) = installed();
    let (loaded, _) = load(&registry, "rogue", rogue("flood the log")).unwrap();
    let mut generator = loaded.start().unwrap();
    let input = [Image::solid(16, 16, [1, 2, 3]).unwrap()];
    chunk(&mut *generator, 1, &input, json!({})).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn unloading_ends_the_process_even_if_it_wants_to_stay() {
    let (plugins, registry) = installed();
    let (loaded, _) = load(&registry, "rogue", rogue("stay")).unwrap();
    let running = || {
        let folders = std::fs::read_dir("/proc").unwrap().flatten();
        let programs = folders.filter_map(|folder| std::fs::read_link(folder.path().join("exe")).ok());
        let ours = plugins.folder.path();
        programs.filter(|program| program.starts_with(ours)).count()
    };
    assert_eq!(running(), 1);
    drop(loaded);
    assert_eq!(running(), 0);
}
