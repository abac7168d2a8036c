//! A well-behaved plugin, from its installation to its removal.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Plugins, chunk, load, pictures};
use scope_frame::{Image, Timestamp};
use scope_pipelines::{InputMode, Needs};
use scope_plugins::InstallError;
use serde_json::json;

#[test]
fn pictures_go_through_with_their_capture_times_and_parameters_are_checked() {
    let plugins = Plugins::new();
    plugins.install(&plugins.source("invert", &[])).unwrap();
    let registry = plugins.registry();
    let schema = registry.get("invert").unwrap().schema();
    assert_eq!((schema.name.as_str(), schema.plugin_name.as_deref()), ("Invert", Some("invert")));
    assert!(schema.property("amount").is_some());

    let (loaded, told) = load(&registry, "invert", json!({})).unwrap();
    assert_eq!(told, ["Starting Invert…"]);
    let mut generator = loaded.start().unwrap();
    assert!(matches!(generator.needs(InputMode::Video), Needs::Frames { count: 1, .. }));
    // More pictures than there are places for them, of several sizes.
    let input: Vec<Image> = (1..=20).map(|i| Image::solid(2 * i, 6, [i as u8, 100, 255]).unwrap()).collect();
    let (outputs, report) = chunk(&mut *generator, 1, &input, json!({})).unwrap();
    let output = pictures(&outputs);
    assert_eq!(output.len(), 20);
    for (i, (image, captured_at)) in (1..).zip(&output) {
        assert_eq!(image.size(), (2 * i, 6));
        assert_eq!(image.data()[..3], [255 - i as u8, 155, 0]);
        assert_eq!(*captured_at, Some(Timestamp::from_micros(u64::from(i) * 1000)));
    }
    assert!(report.parameter_problems.is_empty());

    let (outputs, report) = chunk(&mut *generator, 2, &input[..1], json!({"amount": "much"})).unwrap();
    assert_eq!(pictures(&outputs).len(), 1);
    assert_eq!(report.parameter_problems, [("amount".into(), "must be a number from 0 to 1".into())]);
}

#[test]
fn sessions_of_one_pipeline_share_a_process_and_end_separately() {
    let plugins = Plugins::new();
    plugins.install(&plugins.source("invert", &[])).unwrap();
    let (loaded, _) = load(&plugins.registry(), "invert", json!({})).unwrap();
    let picture = [Image::solid(4, 4, [0; 3]).unwrap()];
    let mut first = loaded.start().unwrap();
    let mut second = loaded.start().unwrap();
    chunk(&mut *first, 1, &picture, json!({})).unwrap();
    drop(first);
    // Loading is over for whoever asked for it; the session goes on.
    drop(loaded);
    assert_eq!(pictures(&chunk(&mut *second, 1, &picture, json!({})).unwrap().0).len(), 1);
}

#[test]
fn installing_again_needs_force_and_removing_leaves_nothing() {
    let plugins = Plugins::new();
    let source = plugins.source("invert", &[]);
    plugins.install(&source).unwrap();
    assert!(matches!(plugins.install(&source), Err(InstallError::Exists(_))));
    let plan = plugins.library.plan(source.to_str().unwrap(), false).unwrap();
    plugins.library.install(&plan, true, &mut |_| ()).unwrap();
    plugins.library.remove("invert").unwrap();
    assert!(plugins.library.scan().plugins.is_empty());
    let error = plugins.library.remove("invert").unwrap_err().to_string();
    assert!(error.contains("no plugin invert"), "{error}");
    assert!(matches!(plugins.library.remove("../source"), Err(InstallError::Unknown { .. })));
}

#[test]
fn a_new_version_that_does_not_work_leaves_the_old_one() {
    let plugins = Plugins::new();
    let source = plugins.source("invert", &[]);
    plugins.install(&source).unwrap();
    let file = source.join(format!("invert{}", std::env::consts::EXE_SUFFIX));
    std::fs::copy(common::example("rogue"), file).unwrap();
    let manifest = source.join("scope-plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("/invert\"", "/invert\", \"die at once\"")).unwrap();
    let plan = plugins.library.plan(source.to_str().unwrap(), false).unwrap();
    let error = plugins.library.install(&plan, true, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("no such library: libcuda.so"), "{error}");
    assert_eq!(plugins.registry().get("invert").unwrap().schema().name, "Invert");
}

#[test]
fn ids_of_other_pipelines_can_not_be_taken() {
    let plugins = Plugins::new();
    plugins.install(&plugins.source("invert", &[])).unwrap();
    let source = plugins.source("invert", &[]);
    let manifest = source.join("scope-plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("name = \"invert\"", "name = \"other\"")).unwrap();
    let error = plugins.install(&source).unwrap_err().to_string();
    assert!(error.contains("already called invert"), "{error}");
}

#[test]
fn a_damaged_record_is_told_and_stops_nothing() {
    let plugins = Plugins::new();
    plugins.install(&plugins.source("invert", &[])).unwrap();
    let other = plugins.folder.path().join("plugins/damaged");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("installed.json"), "{").unwrap();
    let scan = plugins.library.scan();
    assert_eq!(scan.plugins.len(), 1);
    assert_eq!(scan.broken.len(), 1);
    assert!(scan.broken[0].problem.contains("can't be read"), "{}", scan.broken[0].problem);
}
