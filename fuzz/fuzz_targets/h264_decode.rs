//! Any sequence of packets is decoded without a panic, whatever came before. Packets are cut at the bytes fe fd.
#![no_main]

use scope_media::codec::{Decoder, VideoCodec};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(mut decoder) = Decoder::new(VideoCodec::H264) else { return };
    let mut start = 0;
    for end in (0..data.len()).filter(|&at| data[at..].starts_with(&[0xfe, 0xfd])).chain([data.len()]) {
        let _ = decoder.decode(&data[start..end]);
        start = (end + 2).min(data.len());
    }
});
