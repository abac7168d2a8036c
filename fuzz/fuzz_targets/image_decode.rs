//! Any file becomes a picture within the limits, or an error, without a panic.
#![no_main]

use scope_frame::MAX_DIMENSION;
use scope_media::still;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(image) = still::decode(data) {
        assert!(image.width().max(image.height()) <= MAX_DIMENSION);
    }
});
