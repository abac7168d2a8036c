//! How much memory a model takes, as it was estimated and as it is; and that it all comes back.
//!
//! One test, alone in its program: what is counted is the memory of all threads.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{FAMILIES, Session};
use peak_alloc::PeakAlloc;
use scope_pipelines::{Compute, LoadParams, Registry};
use scope_store::ModelFolder;
use serde_json::json;
use std::sync::Arc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How far an estimate may be off, either way: tiny layers are padded to the width of a vector, and freed memory waits in
/// sizes for its next use.
const TOLERANCE: f64 = 0.5;

/// What the program takes besides models: threads end a moment after whoever waits for them goes on.
const LEFT_BYTES: usize = 1 << 20;

#[test]
fn estimates_are_near_the_truth_and_unloading_frees_everything() {
    let nowhere = tempfile::TempDir::new().unwrap();
    let registry = Registry::with_models(&ModelFolder::new(nowhere.path()), &Compute::default());
    let empty = MEMORY.current_usage();
    for id in FAMILIES {
        for (vae, side) in [("wan", 128), ("tae", 192)] {
            let params = json!({"random_weights": "tiny", "height": side, "width": side, "vae_type": vae});
            let params = LoadParams::new(common::map(params));
            let pipeline = registry.get(id).unwrap();
            let estimate = pipeline.estimate(&params).unwrap();
            let before = MEMORY.current_usage();
            let loaded = pipeline.load(&params, &|_| {}).unwrap();
            let weights = MEMORY.current_usage() - before;
            MEMORY.reset_peak_usage();
            let mut session =
                Session::new(&loaded, json!({"prompts": ["a"], "denoising_step_list": [900, 500]}));
            session.set(json!({"vace_ref_images": ["red"]}));
            session.video("video", 0);
            session.video("video", 12);
            session.set(json!({"prompts": ["b"]}));
            session.text();
            let whole = MEMORY.peak_usage() - before;
            let mib = |bytes: f64| bytes / f64::from(1 << 20);
            let ratio = |found: usize, estimated: u64| found as f64 / estimated as f64;
            println!(
                "{id:20} {vae:4} weights {:6.2} MiB, {:.2} of the estimate; all {:6.2} MiB, {:.2} of the estimate",
                mib(weights as f64),
                ratio(weights, estimate.weights),
                mib(whole as f64),
                ratio(whole, estimate.total())
            );
            println!("  {estimate:?}");
            for ratio in [ratio(weights, estimate.weights), ratio(whole, estimate.total())] {
                assert!((ratio - 1.0).abs() < TOLERANCE, "{id} {vae}: {ratio}");
            }
            let weak = Arc::downgrade(&loaded);
            drop(loaded);
            session.text();
            drop(session);
            assert!(weak.upgrade().is_none());
            let until = std::iter::repeat_with(|| {
                std::thread::yield_now();
                MEMORY.current_usage()
            });
            let left = until.take(1_000_000).find(|&left| left < empty + LEFT_BYTES);
            assert!(left.is_some(), "{id}: {} bytes are still taken", MEMORY.current_usage() - empty);
        }
    }
}
