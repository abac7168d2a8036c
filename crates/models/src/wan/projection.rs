//! Linear layers with low-rank adapters beside them.

use std::borrow::Cow;

use scope_engine::{
    Tensor,
    ops::{self, Activation, FixedScale, Fp8Tensor, Gain, LayerNorm, Linear, LinearFp8, Modulation, Scaling},
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
    /// In 8 bits, inputs too, multiplied exactly: what the published quantisation gives.
    Fp8(Fp8Linear),
    /// In 8 bits, inputs too, multiplied by hardware that is made for it.
    Native(LinearFp8),
}

impl Layer {
    /// `activation(x Wᵀ + b)`.
    fn forward(&self, x: Input<'_>, activation: Activation) -> scope_engine::Result<Tensor> {
        match (self, x) {
            (Self::Native(layer), Input::Fp8(x)) => ops::linear_fp8(x, layer, activation),
            (Self::Native(layer), Input::Plain(x)) => {
                ops::linear_fp8(&ops::quantise_fp8(x, layer.scaling())?, layer, activation)
            }
            (Self::Plain(layer), x) => ops::linear(&*x.plain()?, layer, activation),
            (Self::Fp8(layer), x) => ops::linear(&layer.input(&*x.plain()?)?, layer.layer(), activation),
        }
    }

    /// `residual + gain · (x Wᵀ + b)`.
    fn add_to(&self, residual: Tensor, x: Input<'_>, gain: Gain<'_>) -> scope_engine::Result<Tensor> {
        match (self, x) {
            (Self::Native(layer), Input::Fp8(x)) => ops::linear_fp8_add(residual, x, layer, gain),
            (Self::Native(layer), Input::Plain(x)) => {
                ops::linear_fp8_add(residual, &ops::quantise_fp8(x, layer.scaling())?, layer, gain)
            }
            (Self::Plain(layer), x) => ops::linear_add(residual, &*x.plain()?, layer, gain),
            (Self::Fp8(layer), x) => {
                ops::linear_add(residual, &layer.input(&*x.plain()?)?, layer.layer(), gain)
            }
        }
    }

    fn in_features(&self) -> usize {
        match self {
            Self::Plain(layer) => layer.in_features(),
            Self::Fp8(layer) => layer.layer().in_features(),
            Self::Native(layer) => layer.in_features(),
        }
    }

    fn out_features(&self) -> usize {
        match self {
            Self::Plain(layer) => layer.out_features(),
            Self::Fp8(layer) => layer.layer().out_features(),
            Self::Native(layer) => layer.out_features(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Plain(layer) => layer.bytes(),
            Self::Fp8(layer) => layer.layer().bytes(),
            Self::Native(layer) => layer.bytes(),
        }
    }
}

/// Rows that go into a layer.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// As they are.
    Plain(&'a Tensor),
    /// Rounded to 8 bits by the operator that made them.
    Fp8(&'a Fp8Tensor),
}

impl<'a> Input<'a> {
    fn plain(self) -> scope_engine::Result<Cow<'a, Tensor>> {
        Ok(match self {
            Self::Plain(x) => Cow::Borrowed(x),
            Self::Fp8(x) => Cow::Owned(x.dequantise()?),
        })
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Self::Plain(x)
    }
}

/// Rows on their way to layers, as all of those take them best.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    Plain(Tensor),
    Fp8(Fp8Tensor),
}

impl Rows {
    /// The rows of `x` normalised, for these layers. `scale` is known before, if it is.
    pub(super) fn normed(
        x: &Tensor,
        norm: LayerNorm<'_>,
        eps: f32,
        layers: &[&Projection],
        scale: Option<&FixedScale>,
    ) -> scope_engine::Result<Self> {
        Ok(match scaling_for(layers, scale) {
            Some(scaling) => Self::Fp8(ops::layer_norm_fp8(x, norm, eps, scaling)?),
            None => Self::Plain(norm.apply(x, eps)?),
        })
    }
}

/// How these layers take the same rows in 8 bits, if all of them do.
fn scaling_for<'a>(layers: &[&Projection], scale: Option<&'a FixedScale>) -> Option<Scaling<'a>> {
    let mut scalings = layers.iter().map(|layer| layer.takes_fp8());
    let first = scalings.next().flatten()?;
    let all = scalings.all(|scaling| scaling.is_some());
    all.then(|| scale.map_or(first, Scaling::Fixed))
}

impl<'a> From<&'a Rows> for Input<'a> {
    fn from(rows: &'a Rows) -> Self {
        match rows {
            Rows::Plain(x) => Self::Plain(x),
            Rows::Fp8(x) => Self::Fp8(x),
        }
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

    /// The same for a layer whose input can come in 8 bits.
    ///
    /// # Errors
    /// As [`Projection::load`].
    pub fn load_for_fp8(loader: &Loader<'_>, out: usize, depth: usize) -> Result<Self, WeightError> {
        Ok(Self { base: loader.layer_for_fp8(out, depth)?, adapters: Vec::new() })
    }

    /// A layer without adapters.
    #[must_use]
    pub fn new(base: Linear) -> Self {
        Self::of(Layer::Plain(base))
    }

    /// The same in any precision.
    #[must_use]
    pub fn of(base: Layer) -> Self {
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
        down: Layer,
        up: Layer,
        file: usize,
        factor: f32,
    ) -> Result<(), WeightError> {
        let (inner, outer) = (&down, &up);
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

    /// Layers of the same input as one, and each again as a part of it; `None` where that saves nothing, or one has adapters.
    pub(super) fn joined(layers: [&Self; 3]) -> scope_engine::Result<Option<(Self, [Self; 3])>> {
        if layers.iter().any(|layer| !layer.adapters.is_empty()) {
            return Ok(None);
        }
        Ok(match layers.map(|layer| &layer.base) {
            [Layer::Plain(a), Layer::Plain(b), Layer::Plain(c)] => Linear::joined([a, b, c])?
                .map(|(whole, parts)| (Self::of(Layer::Plain(whole)), parts.map(Layer::Plain).map(Self::of))),
            [Layer::Native(a), Layer::Native(b), Layer::Native(c)] => {
                LinearFp8::joined([a, b, c])?.map(|(whole, parts)| {
                    (Self::of(Layer::Native(whole)), parts.map(Layer::Native).map(Self::of))
                })
            }
            _ => None,
        })
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
        let layers = self.adapters.iter().flat_map(|adapter| [&adapter.down, &adapter.up]);
        layers.chain([&self.base]).map(Layer::bytes).sum()
    }

    /// How the layer takes its input in 8 bits; `None` if it does not: adapters need it as it is.
    pub(super) fn takes_fp8(&self) -> Option<Scaling<'static>> {
        match &self.base {
            Layer::Native(layer) if self.adapters.is_empty() => Some(layer.scaling()),
            _ => None,
        }
    }

    /// `activation(x Wᵀ + b + adapters)`.
    ///
    /// # Errors
    /// As [`ops::linear`].
    pub fn forward<'a>(
        &self,
        x: impl Into<Input<'a>>,
        activation: Activation,
        strengths: &Adapters,
    ) -> scope_engine::Result<Tensor> {
        let x = x.into();
        if self.adapters.is_empty() {
            return self.base.forward(x, activation);
        }
        let y = self.base.forward(x, Activation::None)?;
        ops::activate(self.adapt(y, x, Gain::Constant(1.0), strengths)?, activation)
    }

    /// `activation(x Wᵀ + b + adapters)` for the layer `next`: in 8 bits if that takes them and their scale is known.
    pub(super) fn forward_to(
        &self,
        x: &Rows,
        activation: Activation,
        strengths: &Adapters,
        next: &Self,
        scale: Option<&FixedScale>,
    ) -> scope_engine::Result<Rows> {
        if let (Layer::Native(layer), Rows::Fp8(x), Some(scale), Some(_)) =
            (&self.base, x, scale, next.takes_fp8())
            && self.adapters.is_empty()
        {
            return Ok(Rows::Fp8(ops::linear_fp8_to_fp8(x, layer, activation, scale)?));
        }
        self.forward(x, activation, strengths).map(Rows::Plain)
    }

    /// `residual + gain · (x Wᵀ + b + adapters)`.
    ///
    /// # Errors
    /// As [`ops::linear_add`].
    pub fn add_to<'a>(
        &self,
        residual: Tensor,
        x: impl Into<Input<'a>>,
        gain: Gain<'_>,
        strengths: &Adapters,
    ) -> scope_engine::Result<Tensor> {
        let x = x.into();
        let y = self.base.add_to(residual, x, gain)?;
        self.adapt(y, x, gain, strengths)
    }

    /// `residual + gate · (x Wᵀ + b + adapters)`, and its rows normalised for these layers.
    pub(super) fn add_to_and_norm<'a>(
        &self,
        residual: Tensor,
        x: impl Into<Input<'a>>,
        gate: Modulation<'_>,
        strengths: &Adapters,
        (norm, eps): (LayerNorm<'_>, f32),
        (layers, scale): (&[&Self], Option<&FixedScale>),
    ) -> scope_engine::Result<(Tensor, Rows)> {
        let x = x.into();
        match (&self.base, x, scaling_for(layers, scale)) {
            (Layer::Native(layer), Input::Fp8(x), Some(scaling)) if self.adapters.is_empty() => {
                let (sum, rows) =
                    ops::linear_fp8_add_norm_fp8(residual, x, layer, gate, (norm, eps), scaling)?;
                Ok((sum, Rows::Fp8(rows)))
            }
            (Layer::Plain(layer), Input::Plain(x), Some(scaling)) if self.adapters.is_empty() => {
                let (sum, rows) = ops::linear_add_norm_fp8(residual, x, layer, gate, (norm, eps), scaling)?;
                Ok((sum, Rows::Fp8(rows)))
            }
            (Layer::Plain(layer), Input::Plain(x), None) if self.adapters.is_empty() => {
                let (sum, rows) = ops::linear_add_norm(residual, x, layer, gate, norm, eps)?;
                Ok((sum, Rows::Plain(rows)))
            }
            _ => {
                let sum = self.add_to(residual, x, Gain::PerFrame(gate), strengths)?;
                let rows = Rows::normed(&sum, norm, eps, layers, scale)?;
                Ok((sum, rows))
            }
        }
    }

    fn adapt(
        &self,
        mut y: Tensor,
        x: Input<'_>,
        gain: Gain<'_>,
        strengths: &Adapters,
    ) -> scope_engine::Result<Tensor> {
        for adapter in &self.adapters {
            // An adapter without a strength is at full strength.
            let strength = adapter.factor * strengths.0.get(adapter.file).copied().unwrap_or(1.0);
            if strength != 0.0 {
                let inner = ops::scale(adapter.down.forward(x, Activation::None)?, strength)?;
                y = adapter.up.add_to(y, Input::Plain(&inner), gain)?;
            }
        }
        Ok(y)
    }
}
