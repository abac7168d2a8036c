//! Descriptions of tensors for the copy engine of Hopper, which brings boxes of them into shared memory.

use cudarc::driver::sys;

use super::{failed, launch::Argument};
use crate::Result;

/// A description as kernels take it: bf16, rows swizzled, zeros outside.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub(super) struct TensorMap(sys::CUtensorMap);

impl Argument for TensorMap {}

/// How the 16-byte pieces of rows in shared memory are permuted: in rows of so many bytes.
#[derive(Clone, Copy)]
pub(super) enum Swizzle {
    Bytes64,
    Bytes128,
}

/// Memory as a tensor, the innermost dimension first, and the boxes of it that are brought at a time.
pub(super) struct Boxes<const RANK: usize> {
    pub(super) address: u64,
    /// Elements.
    pub(super) dims: [usize; RANK],
    /// Bytes from one entry to the next, of all dimensions; the first is not looked at.
    pub(super) strides: [usize; RANK],
    /// Elements of a box, those that are stepped over among them.
    pub(super) extent: [usize; RANK],
    /// Elements from one that is brought to the next.
    pub(super) steps: [usize; RANK],
    pub(super) swizzle: Swizzle,
}

impl TensorMap {
    /// A description of nothing, for kernels that have more places than are used.
    pub(super) const NONE: Self = Self(sys::CUtensorMap { opaque: [0; 16] });

    pub(super) fn new<const RANK: usize>(boxes: &Boxes<RANK>) -> Result<Self> {
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let dims = boxes.dims.map(|dim| dim as u64);
        let strides = boxes.strides.map(|stride| stride as u64);
        let extent = boxes.extent.map(|count| count as u32);
        let steps = boxes.steps.map(|step| step as u32);
        let swizzle = match boxes.swizzle {
            Swizzle::Bytes64 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B,
            Swizzle::Bytes128 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
        };
        // SAFETY: the arrays are as long as the rank says, that of strides shorter by one; nothing is read at the address.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                RANK as u32,
                boxes.address as *mut _,
                dims.as_ptr(),
                strides[1..].as_ptr(),
                extent.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        }
        .result()
        .map_err(failed("a tensor map"))?;
        Ok(Self(map))
    }
}
