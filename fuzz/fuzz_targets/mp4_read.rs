//! Any file is read to its end without a panic, in memory bounded by its length and in increasing time.
#![no_main]

use scope_media::mp4::Mp4Reader;
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = Mp4Reader::new(Cursor::new(data)) else { return };
    let mut last = -1;
    for _ in 0..reader.frames() {
        match reader.next_sample() {
            Ok(Some(sample)) => {
                assert!(sample.pts > last);
                last = sample.pts;
            }
            Ok(None) => return,
            Err(_) => {}
        }
    }
});
