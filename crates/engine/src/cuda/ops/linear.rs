use half::bf16;

use crate::{
    DType, Result, Tensor,
    cuda::{
        Arithmetic, Cuda,
        gemm::{Epilogue, Matrix, Product},
    },
    ops::{Activation, Gain, Weights},
    tensor::shape_of,
};

/// A linear layer's weights on a GPU.
#[derive(Clone)]
pub(crate) struct CudaLinear {
    /// `[out, in]`, in the type of activations, or in e4m3 and widened to it for each product.
    pub(crate) weights: Tensor,
    /// `[out]`, in the same type.
    pub(super) bias: Option<Tensor>,
}

impl CudaLinear {
    pub(crate) fn new(
        device: &Cuda,
        weights: Weights<'_>,
        [out, depth]: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        const OP: &str = "linear layer";
        let weights = match (weights, device.arithmetic()) {
            (Weights::F8E4M3(values), Arithmetic::Bf16) => device.e4m3(values, &[out, depth])?,
            _ => device.weights(weights, &[out, depth])?,
        };
        let bias = bias.map(|bias| device.weights(Weights::F32(bias), &[out])).transpose()?;
        device.address(OP, &weights)?;
        Ok(Self { weights, bias })
    }

    /// A layer of a matrix that was computed.
    pub(crate) fn of(device: &Cuda, weights: &Tensor) -> Result<Self> {
        Ok(Self { weights: device.activations("linear layer", weights)?, bias: None })
    }

    /// The layers as one, and each as a part of it.
    pub(crate) fn joined(layers: &[&Self]) -> Result<Option<(Self, Vec<Self>)>> {
        let biases: Vec<&Tensor> = layers.iter().filter_map(|layer| layer.bias.as_ref()).collect();
        let depth = layers.first().map(|layer| layer.weights.dim(1));
        let fit = layers.iter().all(|layer| Some(layer.weights.dim(1)) == depth);
        if !fit || !(biases.is_empty() || biases.len() == layers.len()) {
            return Ok(None);
        }
        let weights = Tensor::concat(&layers.iter().map(|layer| &layer.weights).collect::<Vec<_>>())?;
        let bias = if biases.is_empty() { None } else { Some(Tensor::concat(&biases)?) };
        let whole = Self { weights, bias };
        let mut at = 0;
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers {
            let out = layer.weights.dim(0);
            let bias = whole.bias.as_ref().map(|bias| bias.narrow(at, out)).transpose()?;
            parts.push(Self { weights: whole.weights.narrow(at, out)?, bias });
            at += out;
        }
        Ok(Some((whole, parts)))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.weights.shape().numel() * self.weights.dtype().size_bytes()
    }
}

impl Cuda {
    /// Weights in host memory as a tensor of the type of activations.
    pub(super) fn weights(&self, weights: Weights<'_>, shape: &[usize]) -> Result<Tensor> {
        let shape = shape_of("weights", shape)?;
        let on_device = |buffer| Tensor::on_cuda(self.clone(), buffer, shape);
        match (weights, self.arithmetic()) {
            (Weights::F32(values), Arithmetic::F32) => Ok(on_device(self.filled(DType::F32, values)?)),
            (Weights::Bf16(values), Arithmetic::Bf16) => Ok(on_device(self.filled(DType::Bf16, values)?)),
            (Weights::F32(values), Arithmetic::Bf16) => {
                let values: Vec<bf16> = values.iter().map(|&value| bf16::from_f32(value)).collect();
                Ok(on_device(self.filled(DType::Bf16, &values)?))
            }
            (Weights::Bf16(values), Arithmetic::F32) => {
                let values: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
                Ok(on_device(self.filled(DType::F32, &values)?))
            }
            (Weights::F8E4M3(values), _) => self.activations("weights", &self.e4m3(values, &shape)?),
            (Weights::Int8 { values, scales }, _) => {
                let row = values.len() / scales.len().max(1);
                let rows = values.chunks_exact(row.max(1)).zip(scales);
                let values: Vec<f32> = rows
                    .flat_map(|(row, scale)| row.iter().map(move |&value| f32::from(value) * scale))
                    .collect();
                self.weights(Weights::F32(&values), &shape)
            }
        }
    }

    fn e4m3(&self, values: &[u8], shape: &[usize]) -> Result<Tensor> {
        let shape = shape_of("weights", shape)?;
        Ok(Tensor::on_cuda(self.clone(), self.filled(DType::F8E4M3, values)?, shape))
    }

    pub(in crate::cuda) fn product(&self, product: &Product) -> Result<()> {
        self.0.gemm.lock().run(product)
    }

    /// Puts a product on the stream; `false` if cuBLASLt can't make it.
    pub(super) fn product_if_possible(&self, product: &Product) -> Result<bool> {
        let mut gemm = self.0.gemm.lock();
        Ok(gemm.prepare(product)? && gemm.run(product).map(|()| true)?)
    }

    /// `activation(x Wᵀ + b)`.
    pub(crate) fn linear(
        &self,
        op: &'static str,
        x: &Tensor,
        layer: &CudaLinear,
        activation: Activation,
    ) -> Result<Tensor> {
        let epilogue = match activation {
            Activation::Gelu => Epilogue::Gelu,
            Activation::Relu => Epilogue::Relu,
            _ => Epilogue::None,
        };
        let mut shape = x.shape();
        shape.set_last(layer.weights.dim(0));
        let out = self.empty(shape)?;
        self.layer(op, x, layer, &out, None, epilogue)?;
        if epilogue == Epilogue::None { self.activate(op, &out, activation) } else { Ok(out) }
    }

    /// `residual + gain · (x Wᵀ + b)`, of the type of the residual: a stream that begins in `f32` stays so.
    pub(crate) fn linear_add(
        &self,
        op: &'static str,
        residual: &Tensor,
        x: &Tensor,
        layer: &CudaLinear,
        gain: Gain<'_>,
    ) -> Result<Tensor> {
        match gain {
            Gain::Constant(1.0) if residual.dtype() == self.dtype() => {
                let out = self.empty(residual.shape())?;
                self.layer(op, x, layer, &out, Some(residual), Epilogue::None)?;
                Ok(out)
            }
            Gain::Constant(gain) => {
                let sums = self.empty(residual.shape())?;
                self.layer(op, x, layer, &sums, None, Epilogue::None)?;
                self.mix(op, residual, 1.0, &sums, gain)
            }
            Gain::PerFrame(gate) => {
                let sums = self.empty(residual.shape())?;
                self.layer(op, x, layer, &sums, None, Epilogue::None)?;
                self.add_gated(op, residual, &sums, gate)
            }
        }
    }

    fn layer(
        &self,
        op: &'static str,
        x: &Tensor,
        layer: &CudaLinear,
        out: &Tensor,
        addend: Option<&Tensor>,
        epilogue: Epilogue,
    ) -> Result<()> {
        let x = self.activations(op, x)?;
        // Of weights in e4m3 a copy, exact, that is free again after the product.
        let weights = self.activations(op, &layer.weights)?;
        let (columns, depth) = (layer.weights.dim(0), layer.weights.dim(1));
        self.product(&Product {
            a: Matrix::rows(self.address(op, &x)?, depth),
            b: Matrix::rows(self.address(op, &weights)?, depth),
            b_transposed: true,
            out: Matrix::rows(self.address(op, out)?, columns),
            addend: addend.map(|addend| self.address(op, addend)).transpose()?,
            bias: layer.bias.as_ref().map(|bias| self.address(op, bias)).transpose()?,
            epilogue,
            rows: x.shape().numel() / depth.max(1),
            columns,
            depth,
            batch: 1,
            alpha: 1.0,
            input: self.dtype(),
            output: self.dtype(),
            scales: None,
        })
    }
}
