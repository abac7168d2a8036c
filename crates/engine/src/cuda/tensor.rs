//! Tensors on a GPU.

use std::sync::Arc;

use half::{bf16, f16};

use super::{
    Cost, Cuda,
    kernels::ELEMENTWISE,
    launch::{Grid, launch},
    memory::Allocation,
};
use crate::{DType, Error, Result, Shape, Tensor, convert::f32_from_f8e4m3};

/// Memory of a GPU with elements of one type.
#[derive(Clone)]
pub(crate) struct CudaBuffer {
    allocation: Arc<Allocation>,
    dtype: DType,
}

impl CudaBuffer {
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.allocation) > 1
    }
}

impl Cuda {
    /// Memory with any content.
    pub(crate) fn buffer(&self, dtype: DType, count: usize) -> Result<CudaBuffer> {
        let allocation = Arc::new(self.memory().allocate(count * dtype.size_bytes())?);
        Ok(CudaBuffer { allocation, dtype })
    }

    /// Memory with these elements.
    pub(crate) fn filled<T: bytemuck::Pod>(&self, dtype: DType, data: &[T]) -> Result<CudaBuffer> {
        let buffer = self.buffer(dtype, data.len())?;
        self.memory().upload(&buffer.allocation, data)?;
        Ok(buffer)
    }

    /// Zeros, in the type of activations.
    pub(crate) fn zeros(&self, count: usize) -> Result<CudaBuffer> {
        let buffer = self.buffer(self.dtype(), count)?;
        self.memory().clear(&buffer.allocation)?;
        Ok(buffer)
    }

    /// Fills a tensor that nobody else holds with zeros.
    pub(super) fn clear(&self, op: &'static str, x: &Tensor) -> Result<()> {
        let (_, buffer, _) = x.cuda_parts().ok_or(Error::Elsewhere { op })?;
        self.memory().clear(&buffer.allocation)
    }

    /// A tensor of activations with any content.
    pub(super) fn empty(&self, shape: Shape) -> Result<Tensor> {
        self.empty_of(self.dtype(), shape)
    }

    /// A tensor of this type with any content.
    pub(super) fn empty_of(&self, dtype: DType, shape: Shape) -> Result<Tensor> {
        Ok(Tensor::on_cuda(self.clone(), self.buffer(dtype, shape.numel())?, shape))
    }

    /// The address of a tensor's first element.
    pub(super) fn address(&self, op: &'static str, x: &Tensor) -> Result<u64> {
        let (device, buffer, offset) = x.cuda_parts().ok_or(Error::Elsewhere { op })?;
        if !device.same(self) {
            return Err(Error::Elsewhere { op });
        }
        Ok(buffer.allocation.ptr() + (offset * buffer.dtype.size_bytes()) as u64)
    }

    /// The address of a tensor whose elements must be of this type.
    pub(super) fn address_of(&self, op: &'static str, dtype: DType, x: &Tensor) -> Result<u64> {
        if x.dtype() != dtype {
            return Err(Error::DType { op, expected: dtype, found: x.dtype() });
        }
        self.address(op, x)
    }

    /// `x` in the type of activations.
    pub(super) fn activations(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        self.cast(op, x, self.dtype())
    }

    /// `x` as `f32`: parameters of norms and the like, which are few.
    pub(super) fn singles(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        self.cast(op, x, DType::F32)
    }

    /// `x` in this type; itself if it is.
    pub(crate) fn cast(&self, op: &'static str, x: &Tensor, dtype: DType) -> Result<Tensor> {
        let source = self.address(op, x)?;
        if x.dtype() == dtype {
            return Ok(x.clone());
        }
        let out = self.empty_of(dtype, x.shape())?;
        let count = x.shape().numel();
        if count > 0 {
            let types = [kernel_type(x.dtype()), kernel_type(dtype)];
            let target = self.address(op, &out)?;
            launch!(
                self,
                ELEMENTWISE,
                "cast",
                Grid::over(count),
                [source, target, count as i64, types[0], types[1]],
                Cost::moving([x, &out])
            )?;
        }
        Ok(out)
    }

    /// A tensor to write the result of an operator on single elements of `x` to: `x` itself where nobody else holds it.
    pub(super) fn reuse(&self, x: &Tensor) -> Result<Tensor> {
        match x.cuda_parts() {
            // One handle is the caller's `x`; what is given back here would be the second.
            Some((_, buffer, _)) if !buffer.is_shared() => Ok(x.clone()),
            _ => self.empty_of(x.dtype(), x.shape()),
        }
    }

    /// The elements in host memory, converted to `f32` exactly; zeros if the device fails.
    pub(crate) fn to_vec(&self, x: &Tensor) -> Result<Vec<f32>> {
        let count = x.shape().numel();
        let mut bytes = vec![0u8; count * x.dtype().size_bytes()];
        self.memory().download(self.address("copy", x)?, &mut bytes)?;
        fn words<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|&word| value(word)).collect()
        }
        Ok(match x.dtype() {
            DType::F32 => words(&bytes, f32::from_le_bytes),
            DType::F16 => words(&bytes, |word| f16::from_le_bytes(word).to_f32()),
            DType::Bf16 => words(&bytes, |word| bf16::from_le_bytes(word).to_f32()),
            DType::F8E4M3 => words(&bytes, |[byte]| f32_from_f8e4m3(byte)),
            DType::U8 => words(&bytes, |[byte]| f32::from(byte)),
            DType::I32 => words(&bytes, |word| i32::from_le_bytes(word) as f32),
        })
    }

    /// The tensors one after the other: `parts` differ in their outermost dimension alone, and `shape` is that of all.
    pub(crate) fn concat(&self, op: &'static str, parts: &[&Tensor], shape: Shape) -> Result<Tensor> {
        let same = parts.windows(2).all(|pair| pair[0].dtype() == pair[1].dtype());
        let dtype = if same { parts.first().map_or(DType::F32, |part| part.dtype()) } else { DType::F32 };
        let joined = self.empty_of(dtype, shape)?;
        let mut target = self.address(op, &joined)?;
        for part in parts {
            let part = self.cast(op, part, dtype)?;
            let bytes = part.shape().numel() * dtype.size_bytes();
            self.memory().copy(target, self.address(op, &part)?, bytes)?;
            target += bytes as u64;
        }
        Ok(joined)
    }

    /// Gives a tensor that shares its memory with others a copy of its own.
    pub(super) fn unshare(&self, op: &'static str, target: &mut Tensor) -> Result<()> {
        if target.cuda_parts().is_some_and(|(_, buffer, _)| buffer.is_shared()) {
            let copy = self.empty_of(target.dtype(), target.shape())?;
            let bytes = copy.shape().numel() * copy.dtype().size_bytes();
            self.memory().copy(self.address(op, &copy)?, self.address(op, target)?, bytes)?;
            *target = copy;
        }
        Ok(())
    }

    /// A copy of a tensor of another stream of the same GPU. Work on this stream goes on once it is complete; the other one
    /// waits for nothing.
    pub(crate) fn take_over(&self, x: &Tensor) -> Result<Tensor> {
        const OP: &str = "to_device";
        let (source, ..) = x.cuda_parts().ok_or(Error::Elsewhere { op: OP })?;
        let shape = x.shape();
        let bytes = shape.numel() * x.dtype().size_bytes();
        let mut copy = source.memory().allocate(bytes)?;
        source.memory().copy(copy.ptr(), source.address(OP, x)?, bytes)?;
        self.memory().follow(source.memory())?;
        copy.hand_to(self.memory());
        let buffer = CudaBuffer { allocation: Arc::new(copy), dtype: x.dtype() };
        Ok(Tensor::on_cuda(self.clone(), buffer, shape))
    }

    /// Overwrites elements of `target` from number `at` on; copied first if others share its memory.
    pub(crate) fn write(
        &self,
        op: &'static str,
        target: &mut Tensor,
        at: usize,
        source: &Tensor,
    ) -> Result<()> {
        let dtype = target.dtype();
        let source = self.cast(op, source, dtype)?;
        self.unshare(op, target)?;
        let place = self.address(op, target)? + (at * dtype.size_bytes()) as u64;
        self.memory().copy(place, self.address(op, &source)?, source.shape().numel() * dtype.size_bytes())
    }
}

/// The number by which kernels know an element type.
pub(super) fn kernel_type(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 0,
        DType::Bf16 => 1,
        DType::F16 => 2,
        DType::F8E4M3 => 3,
        DType::U8 => 4,
        DType::I32 => 5,
    }
}
