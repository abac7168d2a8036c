//! SDP offers and ICE candidates, as a client sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scope_server::webrtc::{parse_candidate, parse_offer};

fuzz_target!(|text: &str| {
    parse_offer(text).ok();
    for line in text.lines().take(8) {
        parse_candidate(line).ok();
    }
});
