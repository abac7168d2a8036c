//! Tensors: contiguous, row-major, immutable once shared.

use half::{bf16, f16};

use crate::{
    Cpu, DType, Device, Error, Result, Shape,
    convert::{f8e4m3_from_f32, f32_from_f8e4m3},
    cpu::Buffer,
    cuda::{Cuda, CudaBuffer},
    error::ensure_shape,
};

/// A block of numbers with a shape, on a device. Cloning, reshaping and taking a run of its outermost dimension share
/// the memory; it returns to the device when the last of them is dropped.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    /// First element in the buffer.
    offset: usize,
    storage: Storage,
}

/// Where the numbers are: the one place, with [`Device`], where the kinds of devices are told apart.
#[derive(Clone)]
enum Storage {
    Cpu(Cpu, CpuStorage),
    Cuda(Cuda, CudaBuffer),
}

#[derive(Clone)]
enum CpuStorage {
    F32(Buffer<f32>),
    F16(Buffer<f16>),
    Bf16(Buffer<bf16>),
    F8E4M3(Buffer<u8>),
    U8(Buffer<u8>),
    I32(Buffer<i32>),
}

impl Tensor {
    /// A tensor of `f32`s from host memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when `shape` does not hold `data.len()` elements.
    pub fn from_f32(device: &Device, shape: &[usize], data: &[f32]) -> Result<Self> {
        let shape = shape_for("tensor", shape, data.len())?;
        if let Device::Cuda(cuda) = device {
            return Ok(Self::on_cuda(cuda.clone(), cuda.filled(DType::F32, data)?, shape));
        }
        let mut tensor = Self::empty(device, shape)?;
        tensor.f32s_mut("tensor")?.copy_from_slice(data);
        Ok(tensor)
    }

    /// A tensor of bytes from host memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when `shape` does not hold `data.len()` elements.
    pub fn from_u8(device: &Device, shape: &[usize], data: &[u8]) -> Result<Self> {
        let shape = shape_for("tensor", shape, data.len())?;
        let cpu = match device {
            Device::Cpu(cpu) => cpu,
            Device::Cuda(cuda) => {
                return Ok(Self::on_cuda(cuda.clone(), cuda.filled(DType::U8, data)?, shape));
            }
        };
        Self::from_u8_fn(cpu, shape, |target| target.copy_from_slice(data))
    }

    /// A tensor of bytes on the CPU that `fill` writes, all of them.
    pub(crate) fn from_u8_fn(cpu: &Cpu, shape: Shape, fill: impl FnOnce(&mut [u8])) -> Result<Self> {
        let mut buffer = cpu.u8s().take(shape.numel())?;
        if let Some(target) = buffer.unique() {
            fill(&mut target[..shape.numel()]);
        }
        Ok(Self { shape, offset: 0, storage: Storage::Cpu(cpu.clone(), CpuStorage::U8(buffer)) })
    }

    /// A tensor of e4m3 bytes on the CPU.
    pub(crate) fn from_f8(device: &Device, shape: Shape, data: &[u8]) -> Result<Self> {
        const OP: &str = "8-bit numbers";
        ensure_shape!(shape.numel() == data.len(), OP, "{} values for {shape}", data.len());
        let cpu = device.clone().cpu(OP)?;
        let buffer = cpu.u8s().collect(data.iter().copied())?;
        Ok(Self { shape, offset: 0, storage: Storage::Cpu(cpu, CpuStorage::F8E4M3(buffer)) })
    }

    /// A tensor of 32-bit integers from host memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when `shape` does not hold `data.len()` elements.
    pub fn from_i32(device: &Device, shape: &[usize], data: &[i32]) -> Result<Self> {
        let shape = shape_for("tensor", shape, data.len())?;
        let cpu = match device {
            Device::Cpu(cpu) => cpu,
            Device::Cuda(cuda) => {
                return Ok(Self::on_cuda(cuda.clone(), cuda.filled(DType::I32, data)?, shape));
            }
        };
        let mut buffer = cpu.i32s().take(data.len())?;
        if let Some(target) = buffer.unique() {
            target[..data.len()].copy_from_slice(data);
        }
        Ok(Self { shape, offset: 0, storage: Storage::Cpu(cpu.clone(), CpuStorage::I32(buffer)) })
    }

    /// A tensor of `f32`s that `fill` writes in host memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when the shape has too many dimensions or elements.
    pub fn from_fn(device: &Device, shape: &[usize], fill: impl FnOnce(&mut [f32])) -> Result<Self> {
        if let Device::Cuda(_) = device {
            let mut values = vec![0.0; shape_of("tensor", shape)?.numel()];
            fill(&mut values);
            return Self::from_f32(device, shape, &values);
        }
        let mut tensor = Self::zeros(device, shape)?;
        fill(tensor.f32s_mut("tensor")?);
        Ok(tensor)
    }

    /// A tensor of zeros, of the type of the device's activations.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when the shape has too many dimensions or elements.
    pub fn zeros(device: &Device, shape: &[usize]) -> Result<Self> {
        let shape = shape_of("zeros", shape)?;
        if let Device::Cuda(cuda) = device {
            return Ok(Self::on_cuda(cuda.clone(), cuda.zeros(shape.numel())?, shape));
        }
        let mut tensor = Self::empty(device, shape)?;
        tensor.f32s_mut("zeros")?.fill(0.0);
        Ok(tensor)
    }

    /// A tensor of activations with any content, to be overwritten by the operator that asks for it.
    pub(crate) fn empty(device: &Device, shape: Shape) -> Result<Self> {
        let storage = match device {
            Device::Cpu(cpu) => Storage::Cpu(cpu.clone(), CpuStorage::F32(cpu.f32s().take(shape.numel())?)),
            Device::Cuda(cuda) => Storage::Cuda(cuda.clone(), cuda.buffer(cuda.dtype(), shape.numel())?),
        };
        Ok(Self { shape, offset: 0, storage })
    }

    /// A tensor of memory of a GPU, all of it.
    pub(crate) fn on_cuda(device: Cuda, buffer: CudaBuffer, shape: Shape) -> Self {
        Self { shape, offset: 0, storage: Storage::Cuda(device, buffer) }
    }

    /// Device, memory and first element of a tensor on a GPU.
    pub(crate) fn cuda_parts(&self) -> Option<(&Cuda, &CudaBuffer, usize)> {
        match &self.storage {
            Storage::Cpu(..) => None,
            Storage::Cuda(device, buffer) => Some((device, buffer, self.offset)),
        }
    }

    /// Dimensions, outermost first.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Dimension `axis`, or 1 beyond the last.
    #[must_use]
    pub fn dim(&self, axis: usize) -> usize {
        self.shape.get(axis).copied().unwrap_or(1)
    }

    /// How the elements are stored.
    #[must_use]
    pub fn dtype(&self) -> DType {
        let storage = match &self.storage {
            Storage::Cpu(_, storage) => storage,
            Storage::Cuda(_, buffer) => return buffer.dtype(),
        };
        match storage {
            CpuStorage::F32(_) => DType::F32,
            CpuStorage::F16(_) => DType::F16,
            CpuStorage::Bf16(_) => DType::Bf16,
            CpuStorage::F8E4M3(_) => DType::F8E4M3,
            CpuStorage::U8(_) => DType::U8,
            CpuStorage::I32(_) => DType::I32,
        }
    }

    /// The device that holds the elements.
    #[must_use]
    pub fn device(&self) -> Device {
        match &self.storage {
            Storage::Cpu(cpu, _) => Device::Cpu(cpu.clone()),
            Storage::Cuda(cuda, _) => Device::Cuda(cuda.clone()),
        }
    }

    /// The same elements for operators of `device`, which has the same memory: the CPU for the CPU, a GPU for itself with
    /// another order of work ([`Device::beside`]). What is begun on `device` from now on sees them complete.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Elsewhere`] between devices with memory of their own.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        match (&self.storage, device) {
            (Storage::Cpu(_, storage), Device::Cpu(cpu)) => {
                Ok(Self { storage: Storage::Cpu(cpu.clone(), storage.clone()), ..self.clone() })
            }
            (Storage::Cuda(own, _), Device::Cuda(cuda)) if own.same(cuda) => Ok(self.clone()),
            (Storage::Cuda(..), Device::Cuda(cuda)) => cuda.take_over(self),
            _ => Err(Error::Elsewhere { op: "to_device" }),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when the numbers of elements differ.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let new = shape_of("reshape", shape)?;
        ensure_shape!(
            new.numel() == self.shape.numel(),
            "reshape",
            "{} has not as many elements as {new}",
            self.shape
        );
        Ok(Self { shape: new, ..self.clone() })
    }

    /// Entries `start..start + len` of the outermost dimension, without a copy.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when the range ends beyond the dimension.
    pub fn narrow(&self, start: usize, len: usize) -> Result<Self> {
        let outer = self.dim(0);
        ensure_shape!(
            !self.shape.is_empty() && start.checked_add(len).is_some_and(|end| end <= outer),
            "narrow",
            "entries {start}..{start}+{len} of {}",
            self.shape
        );
        let row = self.shape[1..].iter().product::<usize>();
        let mut dims = self.shape;
        dims.set_outer(len);
        Ok(Self { shape: dims, offset: self.offset + start * row, storage: self.storage.clone() })
    }

    /// The tensors one after the other along their outermost dimension.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when there is none or their inner dimensions differ, [`Error::DType`] unless all are
    /// of the type of activations.
    pub fn concat(parts: &[&Self]) -> Result<Self> {
        const OP: &str = "concat";
        let Some(first) = parts.first().filter(|part| !part.shape.is_empty()) else {
            return Err(Error::Shape { op: OP, detail: "nothing to join".to_owned() });
        };
        let mut shape = first.shape;
        let mut outer = 0;
        for part in parts {
            ensure_shape!(
                part.shape.get(1..) == first.shape.get(1..),
                OP,
                "{} after {}",
                part.shape,
                first.shape
            );
            outer += part.dim(0);
        }
        shape.set_outer(outer);
        if let Device::Cuda(cuda) = first.device() {
            return cuda.concat(OP, parts, shape);
        }
        let mut joined = Self::empty(&first.device(), shape)?;
        let mut target = joined.f32s_mut(OP)?;
        for part in parts {
            let source = part.f32s(OP)?;
            let (here, rest) = target.split_at_mut(source.len());
            here.copy_from_slice(source);
            target = rest;
        }
        Ok(joined)
    }

    /// A copy of the elements in host memory, converted to `f32` exactly. Of a GPU that fails meanwhile they are NaN; the
    /// next operator tells why.
    #[must_use]
    pub fn to_vec(&self) -> Vec<f32> {
        let range = self.offset..self.offset + self.shape.numel();
        let storage = match &self.storage {
            Storage::Cpu(_, storage) => storage,
            Storage::Cuda(cuda, _) => {
                return cuda.to_vec(self).unwrap_or_else(|_| vec![f32::NAN; self.shape.numel()]);
            }
        };
        match storage {
            CpuStorage::F32(data) => data[range].to_vec(),
            CpuStorage::F16(data) => data[range].iter().map(|v| v.to_f32()).collect(),
            CpuStorage::Bf16(data) => data[range].iter().map(|v| v.to_f32()).collect(),
            CpuStorage::F8E4M3(data) => data[range].iter().map(|&v| f32_from_f8e4m3(v)).collect(),
            CpuStorage::U8(data) => data[range].iter().map(|&v| f32::from(v)).collect(),
            CpuStorage::I32(data) => data[range].iter().map(|&v| v as f32).collect(),
        }
    }

    /// Copies the elements of an `f32` tensor to host memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when `target` has another length, [`Error::DType`] for other element types.
    pub fn copy_to(&self, target: &mut [f32]) -> Result<()> {
        let count = self.shape.numel();
        ensure_shape!(count == target.len(), "copy", "{} into {} elements", self.shape, target.len());
        match &self.storage {
            Storage::Cpu(..) => target.copy_from_slice(self.f32s("copy")?),
            Storage::Cuda(cuda, _) => target.copy_from_slice(&cuda.to_vec(self)?),
        }
        Ok(())
    }

    /// The elements stored as `dtype`: rounded to nearest, ties to even; integers truncate and saturate.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        let cpu = match &self.storage {
            Storage::Cpu(cpu, _) => cpu,
            Storage::Cuda(cuda, _) => return cuda.cast("conversion", self, dtype),
        };
        let values = self.to_vec();
        let values = values.iter().copied();
        let storage = match dtype {
            DType::F32 => CpuStorage::F32(cpu.f32s().collect(values)?),
            DType::F16 => CpuStorage::F16(cpu.f16s().collect(values.map(f16::from_f32))?),
            DType::Bf16 => CpuStorage::Bf16(cpu.bf16s().collect(values.map(bf16::from_f32))?),
            DType::F8E4M3 => CpuStorage::F8E4M3(cpu.u8s().collect(values.map(f8e4m3_from_f32))?),
            DType::U8 => CpuStorage::U8(cpu.u8s().collect(values.map(|v| v as u8))?),
            DType::I32 => CpuStorage::I32(cpu.i32s().collect(values.map(|v| v as i32))?),
        };
        Ok(Self { shape: self.shape, offset: 0, storage: Storage::Cpu(cpu.clone(), storage) })
    }

    /// Overwrites entries from `start` on along the outermost dimension with those of `source`. If other tensors
    /// share the memory, they keep the old values: it is copied first.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] when the inner dimensions differ or the entries don't fit, [`Error::DType`] unless both are `f32`, or both e4m3.
    pub fn write(&mut self, start: usize, source: &Self) -> Result<()> {
        const OP: &str = "write";
        let fits = start.checked_add(source.dim(0)).is_some_and(|end| end <= self.dim(0));
        ensure_shape!(
            fits && !self.shape.is_empty() && self.shape[1..] == *source.shape.get(1..).unwrap_or_default(),
            OP,
            "{} at entry {start} of {}",
            source.shape,
            self.shape
        );
        let row = self.shape[1..].iter().product::<usize>();
        if let Device::Cuda(cuda) = self.device() {
            return cuda.write(OP, self, start * row, source);
        }
        if self.dtype() == DType::F8E4M3 {
            let source = source.f8s(OP)?;
            self.f8s_mut(OP)?[start * row..][..source.len()].copy_from_slice(source);
            return Ok(());
        }
        let source = source.f32s(OP)?;
        self.f32s_mut(OP)?[start * row..][..source.len()].copy_from_slice(source);
        Ok(())
    }

    /// The elements of an `f32` tensor in host memory.
    pub(crate) fn f32s(&self, op: &'static str) -> Result<&[f32]> {
        match &self.storage {
            Storage::Cpu(_, CpuStorage::F32(data)) => {
                Ok(&data[self.offset..self.offset + self.shape.numel()])
            }
            Storage::Cpu(..) => Err(Error::DType { op, expected: DType::F32, found: self.dtype() }),
            Storage::Cuda(..) => Err(Error::Elsewhere { op }),
        }
    }

    /// The elements of a `u8` tensor in host memory.
    pub(crate) fn u8s(&self, op: &'static str) -> Result<&[u8]> {
        match &self.storage {
            Storage::Cpu(_, CpuStorage::U8(data)) => Ok(&data[self.offset..self.offset + self.shape.numel()]),
            Storage::Cpu(..) => Err(Error::DType { op, expected: DType::U8, found: self.dtype() }),
            Storage::Cuda(..) => Err(Error::Elsewhere { op }),
        }
    }

    /// The bytes of an e4m3 tensor in host memory.
    pub(crate) fn f8s(&self, op: &'static str) -> Result<&[u8]> {
        match &self.storage {
            Storage::Cpu(_, CpuStorage::F8E4M3(data)) => {
                Ok(&data[self.offset..self.offset + self.shape.numel()])
            }
            Storage::Cpu(..) => Err(Error::DType { op, expected: DType::F8E4M3, found: self.dtype() }),
            Storage::Cuda(..) => Err(Error::Elsewhere { op }),
        }
    }

    /// The bytes of an e4m3 tensor for writing; copied first if other tensors share them.
    fn f8s_mut(&mut self, op: &'static str) -> Result<&mut [u8]> {
        let count = self.shape.numel();
        let found = self.dtype();
        match &mut self.storage {
            Storage::Cpu(cpu, CpuStorage::F8E4M3(data)) => {
                if data.unique().is_none() {
                    let bytes = data[self.offset..self.offset + count].iter().copied();
                    let copy = cpu.u8s().collect(bytes)?;
                    (*data, self.offset) = (copy, 0);
                }
                let range = self.offset..self.offset + count;
                Ok(data.unique().map_or(&mut [][..], |data| &mut data[range]))
            }
            Storage::Cpu(..) => Err(Error::DType { op, expected: DType::F8E4M3, found }),
            Storage::Cuda(..) => Err(Error::Elsewhere { op }),
        }
    }

    /// The elements of an `f32` tensor for writing; copied first if other tensors share them.
    pub(crate) fn f32s_mut(&mut self, op: &'static str) -> Result<&mut [f32]> {
        let count = self.shape.numel();
        let found = self.dtype();
        match &mut self.storage {
            Storage::Cpu(cpu, CpuStorage::F32(data)) => {
                if data.unique().is_none() {
                    let mut copy = cpu.f32s().take(count)?;
                    if let Some(copy) = copy.unique() {
                        copy[..count].copy_from_slice(&data[self.offset..self.offset + count]);
                    }
                    (*data, self.offset) = (copy, 0);
                }
                let range = self.offset..self.offset + count;
                // A buffer fresh from the pool, or just found unshared, is unique; were it not, nothing is written.
                Ok(data.unique().map_or(&mut [][..], |data| &mut data[range]))
            }
            Storage::Cpu(..) => Err(Error::DType { op, expected: DType::F32, found }),
            Storage::Cuda(..) => Err(Error::Elsewhere { op }),
        }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({} {})", self.dtype(), self.shape)
    }
}

/// The shape, if it is one.
pub(crate) fn shape_of(op: &'static str, dims: &[usize]) -> Result<Shape> {
    Shape::new(dims)
        .ok_or_else(|| Error::Shape { op, detail: format!("{dims:?} has too many dimensions or elements") })
}

fn shape_for(op: &'static str, dims: &[usize], len: usize) -> Result<Shape> {
    let shape = shape_of(op, dims)?;
    ensure_shape!(shape.numel() == len, op, "{len} values for {shape}");
    Ok(shape)
}
