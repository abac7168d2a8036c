//! Building layers from named tensors.

mod random;

use std::borrow::Cow;
use std::fmt::Display;

use half::bf16;
use scope_engine::{
    Device, Tensor,
    convert::int8_rows_from_f32,
    cuda::Arithmetic,
    ops::{Conv, ConvSpec, Embedding, Enlarge, Linear, LinearFp8, Weights},
};

use crate::{
    checkpoint::{narrow_to_bf16, widen_e4m3},
    quant::{Fp8Linear, is_quantisable},
    wan::Layer,
};

pub use random::RandomWeights;

/// Named tensors of a network: a checkpoint, or one wrapped by something that changes its weights (a merged LoRA).
pub trait TensorSource {
    /// The shape of a tensor, outermost dimension first, or `None` if there is none of that name.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// The values of a tensor, converted to `f32` exactly.
    ///
    /// # Errors
    /// [`WeightError::Missing`] without such a tensor, [`WeightError::Unreadable`] when its bytes can't be had.
    fn read(&self, name: &str) -> Result<Vec<f32>, WeightError>;

    /// Does the source hold a tensor as e4m3 numbers?
    fn is_e4m3(&self, _name: &str) -> bool {
        false
    }

    /// The values of a tensor as the source holds them if that is e4m3, else rounded to bf16: to the nearest, ties to even.
    /// Borrowed where they lie in memory, or in a mapped file, as they are handed out.
    ///
    /// # Errors
    /// As [`TensorSource::read`].
    fn numbers(&self, name: &str) -> Result<Numbers<'_>, WeightError> {
        Ok(Numbers::Bf16(narrow_to_bf16(&self.read(name)?).into()))
    }

    /// The values of a tensor, rounded to bf16: to the nearest, ties to even.
    ///
    /// # Errors
    /// As [`TensorSource::read`].
    fn read_bf16(&self, name: &str) -> Result<Vec<bf16>, WeightError> {
        self.numbers(name).map(|numbers| numbers.into_bf16().into_owned())
    }
}

/// The values of a tensor in a narrow type, row-major.
#[derive(Clone, Debug)]
pub enum Numbers<'a> {
    /// bf16 numbers.
    Bf16(Cow<'a, [bf16]>),
    /// OCP e4m3 numbers, without a scale.
    F8E4M3(Cow<'a, [u8]>),
}

impl<'a> Numbers<'a> {
    /// The same values as bf16, which holds all e4m3 numbers.
    #[must_use]
    pub fn into_bf16(self) -> Cow<'a, [bf16]> {
        match self {
            Self::Bf16(values) => values,
            Self::F8E4M3(bytes) => Cow::Owned(widen_e4m3(&bytes)),
        }
    }
}

impl dyn TensorSource + '_ {
    /// The shape of a tensor of so many dimensions.
    pub(crate) fn extents<const N: usize>(&self, name: &str) -> Result<[usize; N], WeightError> {
        let found = self.shape(name).ok_or_else(|| WeightError::Missing(name.to_owned()))?;
        let wrong = || WeightError::Rank { name: name.to_owned(), expected: N, found: found.clone() };
        found.as_slice().try_into().map_err(|_| wrong())
    }

    /// How many of these tensors there are, counted from 0.
    pub(crate) fn count(&self, name: &dyn Fn(usize) -> String) -> usize {
        (0..MAX_LAYERS).take_while(|&index| self.shape(&name(index)).is_some()).count()
    }
}

/// Layers of a network, at most.
const MAX_LAYERS: usize = 1000;

/// Why a network could not be built from its tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// There is no tensor of that name.
    #[error("the checkpoint has no tensor {0:?}; is it a checkpoint of this network?")]
    Missing(String),
    /// The tensor has another shape than the network's.
    #[error(
        "tensor {name:?} is {found:?} where the network needs {expected:?}; is it a checkpoint of another size?"
    )]
    Shape {
        /// Its name.
        name: String,
        /// What the network needs.
        expected: Vec<usize>,
        /// What the checkpoint holds.
        found: Vec<usize>,
    },
    /// The tensor has another number of dimensions than the network's.
    #[error(
        "tensor {name:?} is {found:?} where the network needs {expected} dimensions; is it a checkpoint of this network?"
    )]
    Rank {
        /// Its name.
        name: String,
        /// Dimensions that the network needs.
        expected: usize,
        /// What the checkpoint holds.
        found: Vec<usize>,
    },
    /// The tensor's bytes can't be read.
    #[error("tensor {name:?} can't be read: {reason}")]
    Unreadable {
        /// Its name.
        name: String,
        /// What happened.
        reason: String,
    },
    /// The engine refused a layer.
    #[error("{0}")]
    Engine(#[from] scope_engine::Error),
}

/// How the weights of linear layers and convolutions are kept in memory. Arithmetic is `f32` but for [`Precision::Int8`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As `f32`.
    F32,
    /// As bf16: half the memory, exact for checkpoints that are bf16 already.
    #[default]
    Bf16,
    /// Linear layers of the transformer as `e4m3`, where their sizes are multiples of 16, with inputs rounded to it as well
    /// ([`crate::quant`]); everything else as bf16. On a GPU, those whose input an operator hands over in 8 bits
    /// ([`Loader::layer_for_fp8`]), and on one that does not multiply such numbers, none.
    F8E4M3,
    /// Linear layers as 8-bit integers with a scale for each output, multiplied as integers: a quarter of the memory, and
    /// exact for checkpoints that are 8-bit already. Their inputs are rounded too, to more bits than these
    /// ([`scope_engine::ops::linear`]). Convolutions and tables are kept as bf16.
    Int8,
}

/// Hands the tensors below one prefix of a source to the layers of a network.
#[derive(Clone)]
pub struct Loader<'a> {
    source: &'a dyn TensorSource,
    device: &'a Device,
    precision: Precision,
    keeps_e4m3: bool,
    prefix: String,
}

impl<'a> Loader<'a> {
    /// A loader of all tensors of `source`, for layers on `device`.
    pub fn new(source: &'a dyn TensorSource, device: &'a Device, precision: Precision) -> Self {
        Self { source, device, precision, keeps_e4m3: false, prefix: String::new() }
    }

    /// The same for layers that are seldom used: where numbers are kept as bf16, those that the source holds in e4m3 stay in
    /// it on a GPU that computes in bf16. The results are the same bits, the memory is half, and every use widens them again.
    #[must_use]
    pub fn keeping_e4m3(&self) -> Self {
        Self { keeps_e4m3: computes_in_bf16(self.device), ..self.clone() }
    }

    /// The loader of the tensors below `name`: `loader.at("blocks").at(3)` is `blocks.3.…`.
    #[must_use]
    pub fn at(&self, name: impl Display) -> Self {
        Self { prefix: self.full(&name.to_string()), ..self.clone() }
    }

    /// Where layers are built.
    #[must_use]
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// How weights are kept.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Is there a tensor of this name below the prefix?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.source.shape(&self.full(name)).is_some()
    }

    /// The shape of a tensor.
    ///
    /// # Errors
    /// [`WeightError::Missing`] without it.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>, WeightError> {
        let name = self.full(name);
        self.source.shape(&name).ok_or(WeightError::Missing(name))
    }

    /// The values of a tensor that must have this shape.
    ///
    /// # Errors
    /// [`WeightError`] when it is missing or of another shape.
    pub fn values(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, WeightError> {
        self.source.read(&self.checked(name, expected)?)
    }

    fn numbers(&self, name: &str, expected: &[usize]) -> Result<Numbers<'a>, WeightError> {
        self.source.numbers(&self.checked(name, expected)?)
    }

    fn values_bf16(&self, name: &str, expected: &[usize]) -> Result<Cow<'a, [bf16]>, WeightError> {
        self.numbers(name, expected).map(Numbers::into_bf16)
    }

    /// In the type in which they will be kept.
    fn kept(&self, name: &str, expected: &[usize]) -> Result<Numbers<'a>, WeightError> {
        let numbers = self.numbers(name, expected)?;
        Ok(if self.keeps_e4m3 { numbers } else { Numbers::Bf16(numbers.into_bf16()) })
    }

    /// The full name of a tensor, if it has this shape.
    fn checked(&self, name: &str, expected: &[usize]) -> Result<String, WeightError> {
        let found = self.shape(name)?;
        let name = self.full(name);
        if found != expected {
            return Err(WeightError::Shape { name, expected: expected.to_vec(), found });
        }
        Ok(name)
    }

    /// A tensor of this shape on the device, in `f32`.
    ///
    /// # Errors
    /// [`WeightError`] when it is missing or of another shape.
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<Tensor, WeightError> {
        Ok(Tensor::from_f32(self.device, expected, &self.values(name, expected)?)?)
    }

    /// The linear layer of `weight` `[out, in]` and `bias` `[out]` below the prefix.
    ///
    /// # Errors
    /// [`WeightError`] when one is missing or of another shape.
    pub fn linear(&self, out: usize, depth: usize) -> Result<Linear, WeightError> {
        let bias = self.values("bias", &[out])?;
        self.linear_with(out, depth, Some(&bias))
    }

    /// The linear layer of `weight` `[out, in]` below the prefix, without a bias.
    ///
    /// # Errors
    /// [`WeightError`] when it is missing or of another shape.
    pub fn linear_without_bias(&self, out: usize, depth: usize) -> Result<Linear, WeightError> {
        self.linear_with(out, depth, None)
    }

    fn linear_with(&self, out: usize, depth: usize, bias: Option<&[f32]>) -> Result<Linear, WeightError> {
        let shape = [out, depth];
        match self.precision {
            Precision::F32 | Precision::Int8 => {
                self.linear_from(&self.values("weight", &shape)?, shape, bias)
            }
            Precision::Bf16 | Precision::F8E4M3 => {
                let numbers = self.kept("weight", &shape)?;
                Ok(Linear::new(self.device, weights(&numbers), shape, bias)?)
            }
        }
    }

    /// A layer of the transformer: as [`Loader::linear`], in 8 bits where the precision says so.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or of another shape.
    pub fn layer(&self, out: usize, depth: usize) -> Result<Layer, WeightError> {
        let shape = [out, depth];
        if !self.quantises(shape) {
            return self.linear(out, depth).map(Layer::Plain);
        }
        let (weight, bias) = (self.values_bf16("weight", &shape)?, self.values("bias", &[out])?);
        Ok(Layer::Fp8(Fp8Linear::new(self.device, &weight, shape, Some(&bias))?))
    }

    /// A layer of the transformer whose input can come in 8 bits, because a norm or another such layer makes it: as
    /// [`Loader::layer`], but in 8 bits also where hardware multiplies them.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or of another shape.
    pub fn layer_for_fp8(&self, out: usize, depth: usize) -> Result<Layer, WeightError> {
        let shape = [out, depth];
        let native = LinearFp8::is_native(self.device);
        if self.precision != Precision::F8E4M3 || !is_quantisable(shape) || !native {
            return self.layer(out, depth);
        }
        let (weight, bias) = (self.values_bf16("weight", &shape)?, self.values("bias", &[out])?);
        Ok(Layer::Native(LinearFp8::new(self.device, &weight, shape, Some(&bias))?))
    }

    /// Are layers of this shape those of the published quantisation, which rounds the input of every layer by itself? On a GPU
    /// that takes longer than it saves but where an operator before the layer does it on its way ([`Loader::layer_for_fp8`]):
    /// there, other layers stay in bf16, which is more exact. In `f32` it is reproduced, for comparisons.
    fn quantises(&self, shape: [usize; 2]) -> bool {
        self.precision == Precision::F8E4M3 && is_quantisable(shape) && !computes_in_bf16(self.device)
    }

    /// A layer of the transformer from these values, without a bias.
    ///
    /// # Errors
    /// [`WeightError::Engine`] when they don't fit the shape.
    pub fn layer_from(&self, values: &[f32], shape: [usize; 2]) -> Result<Layer, WeightError> {
        if !self.quantises(shape) {
            return self.linear_from(values, shape, None).map(Layer::Plain);
        }
        let values = narrow_to_bf16(values);
        Ok(Layer::Fp8(Fp8Linear::new(self.device, &values, shape, None)?))
    }

    /// A linear layer of these values, kept in this loader's precision.
    ///
    /// # Errors
    /// [`WeightError::Engine`] when they don't fit the shape.
    pub fn linear_from(
        &self,
        values: &[f32],
        shape: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Result<Linear, WeightError> {
        Ok(match self.precision {
            Precision::F32 => Linear::new(self.device, Weights::F32(values), shape, bias)?,
            Precision::Bf16 | Precision::F8E4M3 => {
                let values = narrow_to_bf16(values);
                Linear::new(self.device, Weights::Bf16(&values), shape, bias)?
            }
            Precision::Int8 => {
                let (values, scales) = int8_rows_from_f32(values, shape[1]);
                let weights = Weights::Int8 { values: &values, scales: &scales };
                Linear::new(self.device, weights, shape, bias)?
            }
        })
    }

    /// The convolution of `weight` `[out, in, (frames,) height, width]` and `bias` `[out]` below the prefix, where
    /// `channels` is `[in, out]`. Of a transposed convolution, `in` and `out` change places.
    ///
    /// # Errors
    /// [`WeightError`] when one is missing or of another shape.
    pub fn conv(&self, channels: [usize; 2], spec: ConvSpec) -> Result<Conv, WeightError> {
        let bias = self.values("bias", &[channels[1]])?;
        if self.precision == Precision::F32 {
            return self.conv_from(&self.conv_weight(channels, &spec)?, channels, spec, Some(&bias));
        }
        let weight = self.values_bf16("weight", &self.conv_shape(channels, &spec)?)?;
        Ok(Conv::new(self.device, Weights::Bf16(&weight), channels, spec, Some(&bias))?)
    }

    /// The values of a convolution's `weight`, of one kernel frame with or without a dimension for frames.
    ///
    /// # Errors
    /// [`WeightError`] when it is missing or of another shape.
    pub fn conv_weight(&self, channels: [usize; 2], spec: &ConvSpec) -> Result<Vec<f32>, WeightError> {
        self.values("weight", &self.conv_shape(channels, spec)?)
    }

    fn conv_shape(&self, [inputs, outputs]: [usize; 2], spec: &ConvSpec) -> Result<Vec<usize>, WeightError> {
        let mut shape =
            if spec.enlarge == Enlarge::Transposed2 { vec![inputs, outputs] } else { vec![outputs, inputs] };
        let [frames, height, width] = spec.kernel;
        if frames > 1 || self.shape("weight")?.len() == 5 {
            shape.push(frames);
        }
        shape.extend([height, width]);
        Ok(shape)
    }

    /// A convolution of these values, kept in this loader's precision.
    ///
    /// # Errors
    /// [`WeightError::Engine`] when they don't fit the channels or the geometry.
    pub fn conv_from(
        &self,
        values: &[f32],
        channels: [usize; 2],
        spec: ConvSpec,
        bias: Option<&[f32]>,
    ) -> Result<Conv, WeightError> {
        Ok(match self.precision {
            Precision::F32 => Conv::new(self.device, Weights::F32(values), channels, spec, bias)?,
            Precision::Bf16 | Precision::F8E4M3 | Precision::Int8 => {
                let values = narrow_to_bf16(values);
                Conv::new(self.device, Weights::Bf16(&values), channels, spec, bias)?
            }
        })
    }

    /// The table of `weight` `[rows, features]` below the prefix, kept in this loader's precision.
    ///
    /// # Errors
    /// [`WeightError`] when it is missing or of another shape.
    pub fn embedding(&self, rows: usize, features: usize) -> Result<Embedding, WeightError> {
        let shape = [rows, features];
        Ok(match self.precision {
            Precision::F32 => {
                Embedding::new(self.device, Weights::F32(&self.values("weight", &shape)?), shape)?
            }
            Precision::Bf16 | Precision::F8E4M3 | Precision::Int8 => {
                Embedding::new(self.device, weights(&self.kept("weight", &shape)?), shape)?
            }
        })
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

/// Is this a GPU that computes in bf16?
fn computes_in_bf16(device: &Device) -> bool {
    matches!(device, Device::Cuda(cuda) if cuda.arithmetic() == Arithmetic::Bf16)
}

fn weights<'a>(numbers: &'a Numbers<'_>) -> Weights<'a> {
    match numbers {
        Numbers::Bf16(values) => Weights::Bf16(values),
        Numbers::F8E4M3(bytes) => Weights::F8E4M3(bytes),
    }
}

/// Tensors held in memory.
#[derive(Debug, Default)]
pub struct TensorMap(std::collections::HashMap<String, (Vec<usize>, Vec<f32>)>);

impl TensorMap {
    /// Adds a tensor; one of the same name is replaced.
    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) {
        self.0.insert(name.into(), (shape, values));
    }

    /// The names, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl TensorSource for TensorMap {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).map(|(shape, _)| shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightError> {
        let (_, values) = self.0.get(name).ok_or_else(|| WeightError::Missing(name.to_owned()))?;
        Ok(values.clone())
    }
}
