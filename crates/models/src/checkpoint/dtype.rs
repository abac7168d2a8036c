//! Element types as files know them.

use scope_engine::DType;
use std::fmt;

/// How one element of a tensor is stored in a file, always little-endian. Files know more types than the engine
/// computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileDType {
    /// One byte, zero or not.
    Bool,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 64-bit integer.
    U64,
    /// OCP 8-bit float with 4 exponent bits, no infinities (torch's `float8_e4m3fn`).
    F8E4M3,
    /// OCP 8-bit float with 5 exponent bits.
    F8E5M2,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl FileDType {
    const ALL: [Self; 15] = [
        Self::Bool,
        Self::U8,
        Self::I8,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::F16,
        Self::Bf16,
        Self::F32,
        Self::F64,
    ];

    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// The name that safetensors files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::I16 => "I16",
            Self::U16 => "U16",
            Self::I32 => "I32",
            Self::U32 => "U32",
            Self::I64 => "I64",
            Self::U64 => "U64",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        }
    }

    /// The name torch has for the type, as in `torch.bfloat16`.
    const fn torch_name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::F8E4M3 => "float8_e4m3fn",
            Self::F8E5M2 => "float8_e5m2",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// The type of a name in a safetensors header.
    pub(super) fn from_safetensors(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The type of a `torch.<name>`.
    pub(super) fn from_torch(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.torch_name() == name)
    }

    /// The type of the elements in a `torch.<name>Storage`. Newer types have no storage class of their own.
    pub(super) fn from_torch_storage(name: &str) -> Option<Self> {
        Some(match name.strip_suffix("Storage")? {
            "Bool" => Self::Bool,
            "Byte" => Self::U8,
            "Char" => Self::I8,
            "Short" => Self::I16,
            "Int" => Self::I32,
            "Long" => Self::I64,
            "Half" => Self::F16,
            "BFloat16" => Self::Bf16,
            "Float" => Self::F32,
            "Double" => Self::F64,
            "Float8_e4m3fn" => Self::F8E4M3,
            "Float8_e5m2" => Self::F8E5M2,
            _ => return None,
        })
    }

    /// The engine's type with the same bytes, where there is one.
    #[must_use]
    pub const fn engine(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::Bf16 => Some(DType::Bf16),
            Self::F8E4M3 => Some(DType::F8E4M3),
            Self::U8 => Some(DType::U8),
            Self::I32 => Some(DType::I32),
            _ => None,
        }
    }
}

impl fmt::Display for FileDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_both_of_its_names() {
        for dtype in FileDType::ALL {
            assert_eq!(FileDType::from_safetensors(dtype.name()), Some(dtype));
            assert_eq!(FileDType::from_torch(dtype.torch_name()), Some(dtype));
            if let Some(engine) = dtype.engine() {
                assert_eq!((engine.name(), engine.size_bytes()), (dtype.name(), dtype.size_bytes()));
            }
        }
        assert_eq!(FileDType::from_safetensors("F4"), None);
        assert_eq!(FileDType::from_torch_storage("ComplexFloatStorage"), None);
        assert_eq!(FileDType::from_torch_storage("Float"), None);
    }
}
