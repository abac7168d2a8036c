//! Linear layers with low-rank adapters beside them.

use scope_engine::{
    Tensor,
    ops::{self, Activation, Gain, Linear},
};

use crate::weights::{Loader, WeightError};

/// A linear layer, and the runtime adapters (LoRA, Hu et al. 2021) of it.
#[derive(Clone, Debug)]
pub struct Projection {
    base: Linear,
    adapters: Vec<Adapter>,
}

/// `up(down(x))`, scaled by the strength of the file that it came from.
#[derive(Clone, Debug)]
struct Adapter {
    down: Linear,
    up: Linear,
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
        Ok(Self { base: loader.linear(out, depth)?, adapters: Vec::new() })
    }

    /// A layer without adapters.
    #[must_use]
    pub fn new(base: Linear) -> Self {
        Self { base, adapters: Vec::new() }
    }

    /// Attaches `factor · up(down(x))`, further scaled by strength `file` of [`Adapters`] at each call. `down` is
    /// `[rank, in]`, `up` is `[out, rank]`.
    ///
    /// # Errors
    /// [`WeightError::Shape`] when they don't fit the layer.
    pub fn attach(
        &mut self,
        name: &str,
        down: Linear,
        up: Linear,
        file: usize,
        factor: f32,
    ) -> Result<(), WeightError> {
        let fits = down.in_features() == self.base.in_features()
            && up.out_features() == self.base.out_features()
            && down.out_features() == up.in_features();
        if !fits {
            return Err(WeightError::Shape {
                name: name.to_owned(),
                expected: vec![self.base.out_features(), self.base.in_features()],
                found: vec![up.out_features(), up.in_features(), down.out_features(), down.in_features()],
            });
        }
        self.adapters.push(Adapter { down, up, file, factor });
        Ok(())
    }

    /// Features of an input row.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.base.in_features()
    }

    /// Features of an output row.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.base.out_features()
    }

    /// Memory of the weights, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let adapters = self.adapters.iter().map(|adapter| adapter.down.bytes() + adapter.up.bytes());
        self.base.bytes() + adapters.sum::<usize>()
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
        if self.adapters.is_empty() {
            return ops::linear(x, &self.base, activation);
        }
        let y = ops::linear(x, &self.base, Activation::None)?;
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
        let y = ops::linear_add(residual, x, &self.base, gain)?;
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
                let inner = ops::scale(ops::linear(x, &adapter.down, Activation::None)?, strength)?;
                y = ops::linear_add(y, &inner, &adapter.up, gain)?;
            }
        }
        Ok(y)
    }
}
