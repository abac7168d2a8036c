//! Any bytes as a torch archive, or as the pickle in a sound one: refused or read, never more than the file holds.
#![no_main]

use scope_models::checkpoint::Checkpoint;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let file = if data.starts_with(b"PK") { data.to_vec() } else { archive_of(data) };
    let file_bytes = file.len();
    let Ok(checkpoint) = Checkpoint::from_bytes("fuzz.pt", file) else { return };
    // Many tensors may share one storage; reading each of them says nothing new.
    for tensor in checkpoint.tensors().take(16) {
        let bytes = tensor.bytes();
        assert!(bytes.len() <= file_bytes);
        assert_eq!(bytes.len(), tensor.elements() * tensor.dtype().size_bytes());
        assert_eq!(tensor.to_f32().len(), tensor.elements());
        assert_eq!(tensor.to_bf16().len(), tensor.elements());
        assert!(checkpoint.find(tensor.name()).is_some());
    }
});

/// An archive with this pickle and one storage, `data/0`, of 256 bytes.
fn archive_of(pickle: &[u8]) -> Vec<u8> {
    let storage: [u8; 256] = std::array::from_fn(|i| i as u8);
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in [("a/data.pkl", pickle), ("a/data/0", &storage)] {
        let at = file.len() as u32;
        let sizes = [(data.len() as u32).to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        let name_bytes = (name.len() as u16).to_le_bytes();
        file.extend(
            [&b"PK\x03\x04"[..], &[0; 14], &sizes, &name_bytes, &[0; 2], name.as_bytes(), data].concat(),
        );
        let header =
            [&b"PK\x01\x02"[..], &[0; 16], &sizes, &name_bytes, &[0; 12], &at.to_le_bytes()].concat();
        directory.extend([&header[..], name.as_bytes()].concat());
    }
    let (start, bytes) = (file.len() as u32, directory.len() as u32);
    file.extend(directory);
    file.extend(
        [&b"PK\x05\x06\0\0\0\0\x02\0\x02\0"[..], &bytes.to_le_bytes(), &start.to_le_bytes(), &[0; 2]]
            .concat(),
    );
    file
}
