//! Any bytes as a safetensors file: refused or read, never more than the file holds.
#![no_main]

use scope_models::checkpoint::Checkpoint;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(checkpoint) = Checkpoint::from_bytes("fuzz.safetensors", data.to_vec()) else { return };
    for tensor in checkpoint.tensors() {
        let bytes = tensor.bytes();
        assert!(bytes.len() <= data.len());
        assert_eq!(bytes.len(), tensor.elements() * tensor.dtype().size_bytes());
        assert_eq!(tensor.to_f32().len(), tensor.elements());
        assert_eq!(tensor.to_bf16().len(), tensor.elements());
        assert!(checkpoint.find(tensor.name()).is_some());
    }
});
