//! LoRA adapters: reading their files.

pub mod keys;
