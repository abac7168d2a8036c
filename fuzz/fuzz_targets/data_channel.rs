//! Data-channel messages: whatever is accepted must be acceptable again, and merge without harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scope_pipelines::{ParameterStore, Registry, validate_update};
use scope_server::webrtc::parse_message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = parse_message(bytes) else { return };
    let registry = Registry::builtin();
    let schemas: Vec<_> = registry.iter().map(|pipeline| pipeline.schema()).collect();
    let checked = validate_update(message, &schemas);
    let again = validate_update(checked.update.pipeline.clone(), &schemas);
    assert_eq!(again.update.pipeline, checked.update.pipeline);
    let mut store = ParameterStore::default();
    store.merge(&checked.update.pipeline, 1);
    let snapshot = store.take();
    store.restore(snapshot);
    store.take();
});
