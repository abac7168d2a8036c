use half::bf16;

use super::{
    CudaLinear, FP8,
    norm::{PACK, is_packed},
};
use crate::{
    DType, Error, Result, Tensor,
    cuda::{
        Arithmetic, Cost, Cuda,
        gemm::{Epilogue, Matrix, Product, Scales},
        launch::{Grid, launch},
    },
    ops::{Activation, FixedScale, Fp8Tensor, Scaling, Weights},
    tensor::shape_of,
};

/// Threads of a row at most.
const MOST_THREADS: usize = 1024;

/// A linear layer's weights in e4m3 on a GPU.
#[derive(Clone)]
pub(crate) struct CudaLinearFp8 {
    /// `[out, in]`.
    pub(crate) weights: Tensor,
    /// `[out]`, all the same: one scale for products that take one, a vector for those that take vectors.
    scales: Tensor,
    /// `[out]`, in bf16.
    bias: Option<Tensor>,
}

/// A way in which cuBLASLt may or may not multiply on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fp8Kind {
    /// Scales are vectors.
    outer: bool,
    epilogue: Epilogue,
    /// The result is e4m3 too.
    narrow: bool,
}

impl CudaLinearFp8 {
    pub(crate) fn new(
        device: &Cuda,
        weights: &[bf16],
        [out, depth]: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        const OP: &str = "8-bit linear layer";
        let weights = device.weights(Weights::Bf16(weights), &[out, depth])?;
        let (scales, rounded) = device.quantise_all(OP, &weights, out, true)?;
        let bias = bias.map(|bias| device.weights(Weights::F32(bias), &[out])).transpose()?;
        Ok(Self { weights: rounded, scales, bias })
    }
}

impl CudaLinearFp8 {
    /// The layers as one, under the largest of their scales, and each as a part of it. Scales are powers of two: numbers under
    /// another one are the same but for those that are 2^14 below the largest.
    pub(crate) fn joined(layers: &[&Self]) -> Result<Option<(Self, Vec<Self>)>> {
        const OP: &str = "8-bit linear layers as one";
        let Some(first) = layers.first() else { return Ok(None) };
        let crate::Device::Cuda(device) = first.weights.device() else { return Ok(None) };
        let biases: Vec<&Tensor> = layers.iter().filter_map(|layer| layer.bias.as_ref()).collect();
        let fit = layers.iter().all(|layer| layer.weights.dim(1) == first.weights.dim(1));
        if !fit || !(biases.is_empty() || biases.len() == layers.len()) {
            return Ok(None);
        }
        let mut scales = Vec::with_capacity(layers.len());
        for layer in layers {
            scales.push(device.to_vec(&layer.scales.narrow(0, 1)?)?.first().copied().unwrap_or(1.0));
        }
        let largest = scales.iter().copied().fold(0.0f32, f32::max);
        let out: usize = layers.iter().map(|layer| layer.weights.dim(0)).sum();
        let shared = Tensor::from_f32(&device.clone().into(), &[out], &vec![largest; out])?;
        let mut rounded = Vec::with_capacity(layers.len());
        for (layer, &scale) in layers.iter().zip(&scales) {
            if scale == largest {
                rounded.push(layer.weights.clone());
                continue;
            }
            let numbers =
                Fp8Tensor { values: layer.weights.clone(), scales: layer.scales.clone(), by_row: true };
            rounded.push(device.divide(OP, &device.dequantise(OP, &numbers, 1.0)?, &shared)?);
        }
        let weights = Tensor::concat(&rounded.iter().collect::<Vec<_>>())?;
        let bias = if biases.is_empty() { None } else { Some(Tensor::concat(&biases)?) };
        let whole = Self { weights, scales: shared, bias };
        let mut at = 0;
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers {
            let out = layer.weights.dim(0);
            parts.push(Self {
                weights: whole.weights.narrow(at, out)?,
                scales: whole.scales.narrow(at, out)?,
                bias: whole.bias.as_ref().map(|bias| bias.narrow(at, out)).transpose()?,
            });
            at += out;
        }
        Ok(Some((whole, parts)))
    }
}

impl Cuda {
    /// Does cuBLASLt multiply e4m3 numbers here, for activations in bf16?
    pub(crate) fn has_fp8(&self) -> bool {
        self.capability() >= [8, 9]
            && self.arithmetic() == Arithmetic::Bf16
            && self.multiplies(Fp8Kind { outer: false, epilogue: Epilogue::None, narrow: false })
    }

    /// Does it do so with a scale for each row?
    pub(crate) fn has_fp8_rows(&self) -> bool {
        self.multiplies(Fp8Kind { outer: true, epilogue: Epilogue::None, narrow: false })
    }

    /// Does cuBLASLt multiply in this way? It is tried once, on zeros: some versions promise what they refuse when asked.
    fn multiplies(&self, kind: Fp8Kind) -> bool {
        if let Some(&known) = self.0.fp8.lock().get(&kind) {
            return known;
        }
        let works = self.try_to_multiply(kind).unwrap_or(false);
        self.0.fp8.lock().insert(kind, works);
        works
    }

    fn try_to_multiply(&self, kind: Fp8Kind) -> Result<bool> {
        const OP: &str = "a trial of 8-bit products";
        const ROWS: usize = 1024;
        const SIZE: usize = 1536;
        let zeros = |dtype: DType, shape: &[usize]| {
            let tensor = self.empty_of(dtype, shape_of(OP, shape)?)?;
            self.clear(OP, &tensor)?;
            Ok::<_, Error>(tensor)
        };
        let layer = CudaLinearFp8 {
            weights: zeros(DType::F8E4M3, &[SIZE, SIZE])?,
            scales: zeros(DType::F32, &[SIZE])?,
            bias: Some(zeros(DType::Bf16, &[SIZE])?),
        };
        let x = Fp8Tensor {
            values: zeros(DType::F8E4M3, &[ROWS, SIZE])?,
            scales: zeros(DType::F32, &[ROWS])?,
            by_row: kind.outer,
        };
        let dtype = if kind.narrow { DType::F8E4M3 } else { DType::Bf16 };
        let out = self.empty_of(dtype, shape_of(OP, &[ROWS, SIZE])?)?;
        let factor = kind.narrow.then(|| self.address(OP, &x.scales)).transpose()?;
        self.product_fp8(OP, &x, &layer, &out, kind.epilogue, factor)
    }

    /// Puts a product on the stream; `false` where cuBLASLt has no kernel for these sizes.
    fn product_fp8(
        &self,
        op: &'static str,
        x: &Fp8Tensor,
        layer: &CudaLinearFp8,
        out: &Tensor,
        epilogue: Epilogue,
        factor: Option<u64>,
    ) -> Result<bool> {
        let (columns, depth) = (layer.weights.dim(0), layer.weights.dim(1));
        self.product_if_possible(&Product {
            a: Matrix::rows(self.address_of(op, DType::F8E4M3, &x.values)?, depth),
            b: Matrix::rows(self.address_of(op, DType::F8E4M3, &layer.weights)?, depth),
            b_transposed: true,
            out: Matrix::rows(self.address(op, out)?, columns),
            addend: None,
            bias: layer.bias.as_ref().map(|bias| self.address_of(op, DType::Bf16, bias)).transpose()?,
            epilogue,
            rows: x.values.shape().numel() / depth.max(1),
            columns,
            depth,
            batch: 1,
            alpha: 1.0,
            input: DType::F8E4M3,
            output: out.dtype(),
            scales: Some(Scales {
                a: self.address_of(op, DType::F32, &x.scales)?,
                b: self.address_of(op, DType::F32, &layer.scales)?,
                out: factor,
                outer: x.by_row,
            }),
        })
    }

    /// `activation(x Wᵀ + b)` in the type of activations.
    pub(crate) fn linear_fp8(
        &self,
        op: &'static str,
        x: &Fp8Tensor,
        layer: &CudaLinearFp8,
        activation: Activation,
    ) -> Result<Tensor> {
        if x.by_row && !self.has_fp8_rows() {
            // Whoever has asked for such scales did not ask the layer.
            let x = self.quantise_fp8(op, &self.dequantise(op, x, 1.0)?, Scaling::All)?;
            return self.linear_fp8(op, &x, layer, activation);
        }
        let kind = |epilogue| Fp8Kind { outer: x.by_row, epilogue, narrow: false };
        let epilogue = match activation {
            Activation::Gelu if self.multiplies(kind(Epilogue::Gelu)) => Epilogue::Gelu,
            Activation::Relu if self.multiplies(kind(Epilogue::Relu)) => Epilogue::Relu,
            _ => Epilogue::None,
        };
        let mut shape = x.values.shape();
        shape.set_last(layer.weights.dim(0));
        let out = self.empty(shape)?;
        if !self.product_fp8(op, x, layer, &out, epilogue, None)? {
            // The same numbers in the type of activations.
            let weights =
                Fp8Tensor { values: layer.weights.clone(), scales: layer.scales.clone(), by_row: true };
            let wide = CudaLinear { weights: self.dequantise(op, &weights, 1.0)?, bias: layer.bias.clone() };
            return self.linear(op, &self.dequantise(op, x, 1.0)?, &wide, activation);
        }
        if epilogue == Epilogue::None { self.activate(op, &out, activation) } else { Ok(out) }
    }

    /// The same in e4m3 under this scale, or `None` where cuBLASLt can't.
    pub(crate) fn linear_fp8_to_fp8(
        &self,
        op: &'static str,
        x: &Fp8Tensor,
        layer: &CudaLinearFp8,
        activation: Activation,
        scale: &FixedScale,
    ) -> Result<Option<Fp8Tensor>> {
        let epilogue = match activation {
            Activation::None => Epilogue::None,
            Activation::Gelu => Epilogue::Gelu,
            Activation::Relu => Epilogue::Relu,
            _ => return Ok(None),
        };
        if x.by_row || !self.multiplies(Fp8Kind { outer: false, epilogue, narrow: true }) {
            return Ok(None);
        }
        let mut shape = x.values.shape();
        shape.set_last(layer.weights.dim(0));
        let values = self.empty_of(DType::F8E4M3, shape)?;
        // The second factor is the reciprocal.
        let factor = self.address_of(op, DType::F32, &scale.factors)? + DType::F32.size_bytes() as u64;
        let made = self.product_fp8(op, x, layer, &values, epilogue, Some(factor))?;
        Ok(made.then(|| Fp8Tensor { values, scales: scale.factors.clone(), by_row: false }))
    }

    /// `x` in e4m3.
    pub(crate) fn quantise_fp8(
        &self,
        op: &'static str,
        x: &Tensor,
        scaling: Scaling<'_>,
    ) -> Result<Fp8Tensor> {
        let x = self.activations(op, x)?;
        match scaling {
            Scaling::Rows => {
                let features = x.shape().last().copied().unwrap_or(1).max(1);
                let rows = x.shape().numel() / features;
                let values = self.empty_of(DType::F8E4M3, x.shape())?;
                let scales = self.empty_of(DType::F32, shape_of(op, &[rows])?)?;
                let addresses =
                    [self.address(op, &x)?, self.address(op, &values)?, self.address(op, &scales)?];
                let packs = features / PACK;
                let packed = is_packed(features, &addresses[..1], self.dtype()) && packs <= MOST_THREADS;
                let (name, threads) = if packed {
                    ("quantise_rows_packed", packs.next_multiple_of(32))
                } else {
                    ("quantise_rows", features.min(512).next_multiple_of(32))
                };
                if rows > 0 {
                    let grid = Grid::blocks(rows, threads as u32);
                    launch!(
                        self,
                        FP8,
                        name,
                        grid,
                        [addresses[0], addresses[1], addresses[2], features as i32],
                        Cost::moving([&x, &values])
                    )?;
                }
                Ok(Fp8Tensor { values, scales, by_row: true })
            }
            Scaling::All => {
                let (scales, values) = self.quantise_all(op, &x, 1, false)?;
                Ok(Fp8Tensor { values, scales, by_row: false })
            }
            Scaling::Fixed(scale) => {
                let values = self.divide(op, &x, &scale.factors)?;
                Ok(Fp8Tensor { values, scales: scale.factors.clone(), by_row: false })
            }
        }
    }

    /// All of `x` under one scale, which is repeated `copies` times and may have to be a power of two.
    fn quantise_all(
        &self,
        op: &'static str,
        x: &Tensor,
        copies: usize,
        power: bool,
    ) -> Result<(Tensor, Tensor)> {
        let largest = self.largest(op, x)?;
        let scales = self.empty_of(DType::F32, shape_of(op, &[copies])?)?;
        let (source, target) = (self.address(op, &largest)?, self.address(op, &scales)?);
        let counts = [copies as i32, i32::from(power)];
        launch!(self, FP8, "scale_of_largest", Grid::over(copies), [source, target, counts[0], counts[1]])?;
        let values = self.divide(op, x, &scales)?;
        Ok((scales, values))
    }

    /// The largest magnitude of `x`, which is of the type of activations, on the device.
    fn largest(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        /// Blocks that keep a card busy; each adds its part at the end.
        const BLOCKS: usize = 1024;
        const THREADS: u32 = 256;
        let largest = self.empty_of(DType::F32, shape_of(op, &[1])?)?;
        self.clear(op, &largest)?;
        let count = x.shape().numel();
        if count > 0 {
            let (source, target) = (self.address(op, x)?, self.address(op, &largest)?);
            let blocks = count.div_ceil(THREADS as usize).min(BLOCKS);
            launch!(
                self,
                FP8,
                "largest_magnitude",
                Grid::blocks(blocks, THREADS),
                [source, target, count as i64],
                Cost::moving([x])
            )?;
        }
        Ok(largest)
    }

    pub(crate) fn largest_magnitude(&self, op: &'static str, x: &Tensor) -> Result<f32> {
        let largest = self.largest(op, &self.activations(op, x)?)?;
        Ok(self.to_vec(&largest)?.first().copied().unwrap_or(0.0))
    }

    /// `x` over the first of `scales`, in e4m3.
    fn divide(&self, op: &'static str, x: &Tensor, scales: &Tensor) -> Result<Tensor> {
        let values = self.empty_of(DType::F8E4M3, x.shape())?;
        let count = x.shape().numel();
        if count > 0 {
            let addresses = [self.address(op, x)?, self.address(op, &values)?];
            let scale = self.address_of(op, DType::F32, scales)?;
            let packed =
                is_packed(count, &addresses[..1], self.dtype()) && addresses[1].is_multiple_of(PACK as u64);
            let (name, count) =
                if packed { ("quantise_all_packed", count / PACK) } else { ("quantise_all", count) };
            let cost = Cost::moving([x, &values]);
            let grid = Grid::over(count);
            launch!(self, FP8, name, grid, [addresses[0], addresses[1], scale, count as i64], cost)?;
        }
        Ok(values)
    }

    /// The numbers times their scales and `factor`, in the type of activations.
    pub(crate) fn dequantise(&self, op: &'static str, x: &Fp8Tensor, factor: f32) -> Result<Tensor> {
        let shape = x.values.shape();
        let out = self.empty(shape)?;
        let count = shape.numel();
        let row = if x.by_row { shape.last().copied().unwrap_or(1).max(1) } else { count };
        if count > 0 {
            let addresses = [
                self.address_of(op, DType::F8E4M3, &x.values)?,
                self.address_of(op, DType::F32, &x.scales)?,
                self.address(op, &out)?,
            ];
            launch!(
                self,
                FP8,
                "dequantise",
                Grid::over(count),
                [addresses[0], addresses[1], addresses[2], count as i64, row as i64, factor],
                Cost::moving([&x.values, &out])
            )?;
        }
        Ok(out)
    }
}
