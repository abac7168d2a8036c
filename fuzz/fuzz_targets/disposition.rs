//! The file name that a server puts into `Content-Disposition`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| {
    let _ = scope_store::disposition::file_name(header);
});
