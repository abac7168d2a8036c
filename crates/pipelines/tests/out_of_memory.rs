//! Models on a machine whose memory ends.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::unnecessary_wraps)]

mod common;

use common::{Models, Session, map};
use scope_pipelines::{
    Chunk, Compute, GenerateError, Generator, InputMode, LoadError, LoadParams, LoadedPipeline,
    ParameterStore, Registry,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the machine says is free.
static FREE: AtomicU64 = AtomicU64::new(u64::MAX);

fn free() -> Option<u64> {
    Some(FREE.load(Ordering::Relaxed))
}

fn load(models: &Models) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
    // Large enough for tensors that are not had without asking.
    let params = json!({"height": 128, "width": 128, "vace_enabled": false});
    let compute = Compute { free_memory: Some(free), ..Compute::default() };
    let registry = Registry::with_models(&models.models(), &compute);
    registry.get("longlive").unwrap().load(&LoadParams::new(map(params)), &|_| {})
}

fn parameters() -> Value {
    json!({"prompts": ["a"], "denoising_step_list": [900]})
}

fn chunk(run: &mut dyn Generator) -> Result<(), GenerateError> {
    let mut store = ParameterStore::new(&map(parameters()));
    let chunk = Chunk {
        index: 1,
        mode: InputMode::Text,
        parameters: &store.take(),
        inputs: BTreeMap::new(),
        assets: &common::Pictures(BTreeMap::new()),
        now: scope_frame::Timestamp::default(),
        effort: 0,
        format: scope_frame::PixelFormat::Rgb8,
    };
    run.generate(chunk, &mut |_| ()).map(|_| ())
}

#[test]
fn running_out_of_memory_is_an_error_and_what_comes_after_works() {
    let models = Models::write();
    let loaded = load(&models).unwrap();
    let expected = Session::new(&loaded, parameters()).text();

    let mut run = loaded.start().unwrap();
    FREE.store(65 << 20, Ordering::Relaxed);
    let error = chunk(&mut *run).unwrap_err();
    assert_eq!((error.code(), error.is_fatal()), ("out_of_memory", true));
    let text = error.to_string();
    assert!(text.contains("MB are free") && text.contains("smaller size"), "{text}");
    drop(run);

    FREE.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(Session::new(&loaded, parameters()).text(), expected, "the model is as it was");
    assert_eq!(Session::new(&load(&models).unwrap(), parameters()).text(), expected);
}
