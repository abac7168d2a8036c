//! Addresses of adapters that users paste, and names of files from anywhere.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scope_store::{LoraSource, StorePath};

fuzz_target!(|text: &str| {
    let _ = LoraSource::parse(text);
    if let Ok(path) = text.parse::<StorePath>() {
        assert!(path.below("root".as_ref()).starts_with("root"));
    }
});
