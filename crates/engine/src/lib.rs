//! Tensors and the operators that Scope's networks are made of. This crate knows nothing of video.
//!
//! # The contract
//!
//! * A [`Tensor`] is contiguous, row-major and for inference only: no strides, no gradients. Cloning shares its memory.
//! * Activations are `f32` (on a GPU of the type of its [`cuda::Arithmetic`]) and *channels-last*: tokens are `[tokens,
//!   features]`, pictures `[frames, height, width, channels]`. Weights are laid out for the device once, when they are loaded ([`Linear`](ops::Linear),
//!   [`Conv`](ops::Conv)), and may stay in bf16.
//! * [`ops`] holds the operators, one family a file, each with its shapes and errors. They check their inputs, refuse
//!   with an [`Error`] that names operator and shapes, and never panic.
//! * Memory belongs to the [`Device`]: what a dropped tensor held is taken by the next one, so a loop that repeats its
//!   shapes allocates nothing.
//! * An operator returns when its result is complete on the CPU, and at once on a GPU, which works in order. Callers are written against [`Device`] and
//!   [`Tensor`] alone and name no kind of device.
//!
//! ```
//! use scope_engine::{Cpu, Device, Tensor, ops};
//!
//! # fn main() -> scope_engine::Result<()> {
//! let device = Device::from(Cpu::new(None)?);
//! let layer = ops::Linear::new(&device, ops::Weights::F32(&[1.0, 2.0, 3.0, 4.0]), [2, 2], Some(&[0.5, 0.0]))?;
//! let x = Tensor::from_f32(&device, &[1, 2], &[10.0, 1.0])?;
//! assert_eq!(ops::linear(&x, &layer, ops::Activation::None)?.to_vec(), [12.5, 34.0]);
//! # Ok(())
//! # }
//! ```

pub mod convert;
mod cpu;
pub mod cuda;
mod device;
mod dtype;
mod error;
pub mod ops;
mod shape;
mod tensor;

pub use cpu::{Cpu, FreeMemory};
pub use cuda::Cuda;
pub use device::Device;
pub use dtype::DType;
pub use error::{Error, Result};
pub use shape::{MAX_RANK, Shape};
pub use tensor::Tensor;
