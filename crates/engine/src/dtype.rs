//! Element types.

use std::fmt;

/// How one element of a tensor is stored. Arithmetic is `f32`, but for layers with 8-bit weights
/// ([`crate::ops::Weights::Int8`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// OCP 8-bit float, 4 exponent and 3 mantissa bits, no infinities (torch's `float8_e4m3fn`).
    F8E4M3,
    /// Unsigned byte.
    U8,
    /// Signed 32-bit integer.
    I32,
}

impl DType {
    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4M3 | Self::U8 => 1,
        }
    }

    /// The name in messages, as safetensors files spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::U8 => "U8",
            Self::I32 => "I32",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
