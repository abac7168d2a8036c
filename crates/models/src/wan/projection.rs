//! Linear layers with low-rank adapters beside them.

use std::borrow::Cow;

use scope_engine::{
    Tensor,
    ops::{self, Activation, Gain, Linear},
};

use crate::{
    quant::Fp8Linear,
    weights::{Loader, WeightError},
};

/// A linear layer, and the runtime adapters (LoRA, Hu et al. 2021) of it.
#[derive(Clone, Debug)]
pub struct Projection {
    base: Layer,
    adapters: Vec<Adapter>,
}

/// The weights of a layer, in either precision.
#[derive(Clone, Debug)]
pub enum Layer {
    /// In that of its activations.
    Plain(Linear),
    /// In 8 bits, inputs too.
    Fp8(Fp8Linear),
}

impl Layer {
    fn weights(&self) -> &Linear {
        match self {
            Self::Plain(layer) => layer,
            Self::Fp8(layer) => layer.layer(),
        }
    }

    /// The layer's input as its weights take it.
    fn input<'a>(&self, x: &'a Tensor) -> scope_engine::Result<Cow<'a, Tensor>> {
        Ok(match self {
            Self::Plain(_) => Cow::Borrowed(x),
            Self::Fp8(layer) => Cow::Owned(layer.input(x)?),
        })
    }
}

/// `up(down(x))`, scaled by the strength of the file that it came from.
#[derive(Clone, Debug)]
struct Adapter {
    down: Layer,
    up: Layer,
    /// Which entry of [`Adapters`] scales it.
    file: usize,
    /// The file's own factor: alpha / rank.
    factor: f32,
}

/// Strengths of the runtime adapters, one for each LoRA file, in the order in which the files were attached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapters(pub Vec<f32>);

impl Projection {
    /// The layer of `weight` and `bias` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] when one is missing or of another shape.
    pub fn load(loader: &Loader<'_>, out: usize, depth: usize) -> Result<Self, WeightError> {
        Ok(Self { base: loader.layer(out, depth)?, adapters: Vec::new() })
    }

    /// A layer without adapters.
    #[must_use]
    pub fn new(base: Linear) -> Self {
        Self { base: Layer::Plain(base), adapters: Vec::new() }
    }

    /// Attaches `factor · up(down(x))`, further scaled by strength `file` of [`Adapters`] at each call. `down` is
    /// `[rank, in]`, `up` is `[out, rank]`.
    ///
    /// # Errors
    /// [`WeightError::Shape`] when they don't fit the layer.
    pub fn attach(
        &mut self,
        name: &str,
        down: Layer,
        up: Layer,
        file: usize,
        factor: f32,
    ) -> Result<(), WeightError> {
        let (inner, outer) = (down.weights(), up.weights());
        let fits = inner.in_features() == self.in_features()
            && outer.out_features() == self.out_features()
            && inner.out_features() == outer.in_features();
        if !fits {
            return Err(WeightError::Shape {
                name: name.to_owned(),
                expected: vec![self.out_features(), self.in_features()],
                found: vec![
                    outer.out_features(),
                    outer.in_features(),
                    inner.out_features(),
                    inner.in_features(),
                ],
            });
        }
        self.adapters.push(Adapter { down, up, file, factor });
        Ok(())
    }

    /// Features of an input row.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.base.weights().in_features()
    }

    /// Features of an output row.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.base.weights().out_features()
    }

    /// Memory of the weights, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let layers = self.adapters.iter().flat_map(|adapter| [&adapter.down, &adapter.up]);
        layers.chain([&self.base]).map(|layer| layer.weights().bytes()).sum()
    }

    /// `activation(x Wᵀ + b + adapters)`.
    ///
    /// # Errors
    /// As [`ops::linear`].
    pub fn forward(
        &self,
        x: &Tensor,
        activation: Activation,
        strengths: &Adapters,
    ) -> scope_engine::Result<Tensor> {
        let input = self.base.input(x)?;
        if self.adapters.is_empty() {
            return ops::linear(&input, self.base.weights(), activation);
        }
        let y = ops::linear(&input, self.base.weights(), Activation::None)?;
        ops::activate(self.adapt(y, x, Gain::Constant(1.0), strengths)?, activation)
    }

    /// `residual + gain · (x Wᵀ + b + adapters)`.
    ///
    /// # Errors
    /// As [`ops::linear_add`].
    pub fn add_to(
        &self,
        residual: Tensor,
        x: &Tensor,
        gain: Gain<'_>,
        strengths: &Adapters,
    ) -> scope_engine::Result<Tensor> {
        let input = self.base.input(x)?;
        let y = ops::linear_add(residual, &input, self.base.weights(), gain)?;
        self.adapt(y, x, gain, strengths)
    }

    fn adapt(
        &self,
        mut y: Tensor,
        x: &Tensor,
        gain: Gain<'_>,
        strengths: &Adapters,
    ) -> scope_engine::Result<Tensor> {
        for adapter in &self.adapters {
            // An adapter without a strength is at full strength.
            let strength = adapter.factor * strengths.0.get(adapter.file).copied().unwrap_or(1.0);
            if strength != 0.0 {
                let (down, up) = (adapter.down.weights(), adapter.up.weights());
                let input = adapter.down.input(x)?;
                let inner = ops::scale(ops::linear(&input, down, Activation::None)?, strength)?;
                let inner = adapter.up.input(&inner)?;
                y = ops::linear_add(y, &inner, up, gain)?;
            }
        }
        Ok(y)
    }
}
