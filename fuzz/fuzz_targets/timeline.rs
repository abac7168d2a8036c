//! Timeline and workflow files: what is accepted is in order and plays.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scope_stream::timeline::{MAX_BLOCKS, Timeline};
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    let Ok(timeline) = Timeline::parse(bytes) else { return };
    assert!(timeline.blocks.len() <= MAX_BLOCKS);
    assert!(timeline.blocks.is_sorted_by_key(|block| block.start));
    assert!(timeline.blocks.iter().all(|block| block.start < block.end && !block.prompts.is_empty()));
    let mut script = timeline.script();
    script.due(u64::MAX, Duration::MAX / 2);
    assert!(script.is_empty());
});
