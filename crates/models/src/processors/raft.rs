//! Optical flow: *RAFT: Recurrent All-Pairs Field Transforms for Optical Flow* (Teed & Deng 2020, arXiv 2003.12039), with
//! the two networks and the weights of torchvision (github.com/pytorch/vision, BSD-3-Clause).
//!
//! Every pixel of the first picture is compared with all of the second, at an eighth of the resolution. From no motion on,
//! a recurrent network looks at how alike the surroundings of the places are that the flow leads to, and corrects it.

use scope_engine::{
    Tensor,
    ops::{self, Activation, Conv, ConvInput, ConvSpec, conv},
};

use super::{ProcessorError, check};
use crate::{
    checkpoint::{Checkpoint, CheckpointError, NetworkDescription},
    weights::{Loader, WeightError},
};

/// The network's sizes, and which of the two it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// Channels of the feature encoder: at half the resolution, of its three layers, and of the features.
    pub features: [usize; 5],
    /// Likewise of the context encoder, which gives the hidden state and the context.
    pub context: [usize; 5],
    /// How far around a place the network looks, in pixels of each level.
    pub radius: usize,
    /// Channels of the convolutions over what it sees.
    pub seen: Vec<usize>,
    /// Channels of the two convolutions over the flow.
    pub flow: [usize; 2],
    /// Channels of motion, the flow's own two among them.
    pub motion: usize,
    /// Channels of the hidden state.
    pub hidden: usize,
    /// Channels of the flow head.
    pub head: usize,
    /// Channels of the mask predictor of the large network. The small one has none, narrow blocks in its encoders, and
    /// other kernels.
    pub mask: Option<usize>,
}

impl RaftConfig {
    /// `raft_small` as published.
    #[must_use]
    pub fn small() -> Self {
        Self {
            features: [32, 32, 64, 96, 128],
            context: [32, 32, 64, 96, 160],
            radius: 3,
            seen: vec![96],
            flow: [64, 32],
            motion: 82,
            hidden: 96,
            head: 128,
            mask: None,
        }
    }

    /// `raft_large` as published.
    #[must_use]
    pub fn large() -> Self {
        Self {
            features: [64, 64, 96, 128, 256],
            context: [64, 64, 96, 128, 256],
            radius: 4,
            seen: vec![256, 192],
            flow: [128, 64],
            motion: 128,
            hidden: 128,
            head: 256,
            mask: Some(256),
        }
    }

    /// The sizes of the network in a file.
    ///
    /// # Errors
    /// [`CheckpointError`] when it has no such network.
    pub fn of(file: &Checkpoint) -> Result<Self, CheckpointError> {
        let optional = |name: &str| file.find(name).and_then(|tensor| tensor.shape().first().copied());
        let mask = optional("mask_predictor.convrelu.0.weight");
        let encoder = |name: &str| {
            let last = if mask.is_some() { "convnormrelu2" } else { "convnormrelu3" };
            let layer = |layer: usize| file.rows(&format!("{name}.layer{layer}.0.{last}.0.weight"));
            let stem = file.rows(&format!("{name}.convnormrelu.0.weight"))?;
            Ok([stem, layer(1)?, layer(2)?, layer(3)?, file.rows(&format!("{name}.conv.weight"))?])
        };
        let motion = |layer: &str| format!("update_block.motion_encoder.{layer}.0.weight");
        let mut seen = vec![file.rows(&motion("convcorr1"))?];
        seen.extend(optional(&motion("convcorr2")));
        // Four levels of squares.
        let inputs = file.get(&motion("convcorr1"))?.shape().get(1).copied().unwrap_or(0);
        Ok(Self {
            features: encoder("feature_encoder")?,
            context: encoder("context_encoder")?,
            radius: (inputs / LEVELS).isqrt() / 2,
            seen,
            flow: [file.rows(&motion("convflow1"))?, file.rows(&motion("convflow2"))?],
            motion: file.rows(&motion("conv"))? + 2,
            hidden: file.rows("update_block.recurrent_block.convgru1.convz.weight")?,
            head: file.rows("update_block.flow_head.conv1.weight")?,
            mask,
        })
    }

    /// The tensors of the network.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let mut net = NetworkDescription::new("optical flow network");
        for (name, widths, norm) in self.encoders() {
            net.scope(name, |net| self.describe_encoder(net, widths, norm));
        }
        net.scope("update_block", |net| {
            net.scope("motion_encoder", |net| {
                let mut inputs = self.places();
                for (index, &width) in self.seen.iter().enumerate() {
                    let size = 1 + 2 * index;
                    let name = format!("convcorr{}.0", index + 1);
                    net.weight_and_bias(&name, &[width, inputs, size, size]);
                    inputs = width;
                }
                let [wide, narrow] = self.flow;
                net.weight_and_bias("convflow1.0", &[wide, 2, 7, 7])
                    .weight_and_bias("convflow2.0", &[narrow, wide, 3, 3])
                    .weight_and_bias("conv.0", &[self.motion.saturating_sub(2), inputs + narrow, 3, 3]);
            });
            for (index, [height, width]) in self.kernels().iter().enumerate() {
                net.scope(&format!("recurrent_block.convgru{}", index + 1), |net| {
                    for gate in ["convz", "convr", "convq"] {
                        net.weight_and_bias(gate, &[self.hidden, self.gate_inputs(), *height, *width]);
                    }
                });
            }
            net.weight_and_bias("flow_head.conv1", &[self.head, self.hidden, 3, 3])
                .weight_and_bias("flow_head.conv2", &[2, self.head, 3, 3]);
        });
        if let Some(width) = self.mask {
            net.weight_and_bias("mask_predictor.convrelu.0", &[width, self.hidden, 3, 3])
                .weight_and_bias("mask_predictor.conv", &[9 * STRIDE * STRIDE, width, 1, 1]);
        }
        net
    }

    fn describe_encoder(&self, net: &mut NetworkDescription, widths: [usize; 5], norm: Norm) {
        let layer = |net: &mut NetworkDescription, name: &str, shape: [usize; 4]| {
            net.weight_and_bias(&format!("{name}.0"), &shape);
            if norm == Norm::Batch {
                let rows = shape[..1].to_vec();
                net.weight_and_bias(&format!("{name}.1"), &rows)
                    .tensor(&format!("{name}.1.running_mean"), &rows)
                    .tensor(&format!("{name}.1.running_var"), &rows)
                    .tensor(&format!("{name}.1.num_batches_tracked"), &[]);
            }
        };
        layer(net, "convnormrelu", [widths[0], 3, 7, 7]);
        for (name, block) in self.blocks(widths) {
            for (index, (inputs, outputs, spec)) in block.layers.iter().enumerate() {
                let [_, height, width] = spec.kernel;
                layer(net, &format!("{name}.convnormrelu{}", index + 1), [*outputs, *inputs, height, width]);
            }
            if block.stride > 1 {
                layer(net, &format!("{name}.downsample"), [block.outputs, block.inputs, 1, 1]);
            }
        }
        net.weight_and_bias("conv", &[widths[4], widths[3], 1, 1]);
    }

    /// Both encoders, with their widths and how they are normalised.
    fn encoders(&self) -> [(&'static str, [usize; 5], Norm); 2] {
        let context = if self.mask.is_some() { Norm::Batch } else { Norm::None };
        [("feature_encoder", self.features, Norm::Instance), ("context_encoder", self.context, context)]
    }

    /// The residual blocks of an encoder.
    fn blocks(&self, widths: [usize; 5]) -> Vec<(String, BlockShape)> {
        let mut blocks = Vec::with_capacity(6);
        let mut inputs = widths[0];
        for (layer, &outputs) in widths[1..4].iter().enumerate() {
            for block in 0..2 {
                let stride = if layer > 0 && block == 0 { 2 } else { 1 };
                let square = ConvSpec::square(3);
                let narrow = outputs / 4;
                let layers = if self.mask.is_some() {
                    vec![(inputs, outputs, square.strided(stride)), (outputs, outputs, square)]
                } else {
                    vec![
                        (inputs, narrow, ConvSpec::pointwise()),
                        (narrow, narrow, square.strided(stride)),
                        (narrow, outputs, ConvSpec::pointwise()),
                    ]
                };
                blocks.push((
                    format!("layer{}.{block}", layer + 1),
                    BlockShape { inputs, outputs, stride, layers },
                ));
                inputs = outputs;
            }
        }
        blocks
    }

    /// Height and width of the kernels of the recurrent units.
    fn kernels(&self) -> &'static [[usize; 2]] {
        if self.mask.is_some() { &[[1, 5], [5, 1]] } else { &[[3, 3]] }
    }

    /// Channels of what the network sees of all levels.
    fn places(&self) -> usize {
        LEVELS * (2 * self.radius + 1).pow(2)
    }

    /// Channels of the hidden state, the context and the motion.
    fn gate_inputs(&self) -> usize {
        self.context[4] + self.motion
    }
}

/// Levels of the second picture, each of half the size of the one before.
const LEVELS: usize = 4;
/// Pixels of a picture along one of the features.
const STRIDE: usize = 8;
/// The shortest side of a picture: the last level is two pixels long.
const LEAST_SIDE: usize = STRIDE << LEVELS;
/// Corrections of the flow.
const UPDATES: usize = 12;
/// Added to variances.
const EPS: f32 = 1e-5;
/// What the mask predictor's result is multiplied by.
const MASK_SCALE: f32 = 0.25;

/// The weights.
#[derive(Debug)]
pub struct Raft {
    features: Encoder,
    context: Encoder,
    hidden: usize,
    radius: usize,
    seen: Vec<Conv>,
    flow: [Conv; 2],
    motion: Conv,
    units: Vec<RecurrentUnit>,
    head: [Conv; 2],
    mask: Option<[Conv; 2]>,
}

/// What is kept of a picture for the flow from or to it.
#[derive(Clone, Debug)]
pub struct FlowFeatures {
    /// `[1, height / 8, width / 8, channels]`.
    features: Tensor,
    /// Between -1 and 1.
    picture: Tensor,
}

impl Raft {
    /// Builds the network from `feature_encoder`, `context_encoder`, `update_block` and, if it is the large one,
    /// `mask_predictor` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: &RaftConfig) -> Result<Self, WeightError> {
        if config.context[4] <= config.hidden {
            let (name, found) = ("context_encoder.conv.bias".to_owned(), vec![config.context[4]]);
            return Err(WeightError::Shape { name, expected: vec![config.hidden + 1], found });
        }
        let [features, context] = config.encoders().map(|(name, widths, norm)| {
            Encoder::load(&loader.at(name), &config.blocks(widths), widths, norm)
        });
        let update = loader.at("update_block");
        let motion = update.at("motion_encoder");
        let square = ConvSpec::square(3);
        let mut seen = Vec::new();
        let mut inputs = config.places();
        for (index, &width) in config.seen.iter().enumerate() {
            let layer = motion.at(format!("convcorr{}.0", index + 1));
            seen.push(layer.conv([inputs, width], ConvSpec::square(1 + 2 * index))?);
            inputs = width;
        }
        let [wide, narrow] = config.flow;
        let units = config.kernels().iter().enumerate().map(|(index, kernel)| {
            let unit = update.at("recurrent_block").at(format!("convgru{}", index + 1));
            RecurrentUnit::load(&unit, config, *kernel)
        });
        let mask = |width: usize| {
            let predictor = loader.at("mask_predictor");
            Ok::<_, WeightError>([
                predictor.at("convrelu.0").conv([config.hidden, width], square)?,
                predictor.at("conv").conv([width, 9 * STRIDE * STRIDE], ConvSpec::pointwise())?,
            ])
        };
        Ok(Self {
            features: features?,
            context: context?,
            hidden: config.hidden,
            radius: config.radius,
            seen,
            flow: [
                motion.at("convflow1.0").conv([2, wide], ConvSpec::square(7))?,
                motion.at("convflow2.0").conv([wide, narrow], square)?,
            ],
            motion: motion.at("conv.0").conv([inputs + narrow, config.motion.saturating_sub(2)], square)?,
            units: units.collect::<Result<_, _>>()?,
            head: [
                update.at("flow_head.conv1").conv([config.hidden, config.head], square)?,
                update.at("flow_head.conv2").conv([config.head, 2], square)?,
            ],
            mask: config.mask.map(mask).transpose()?,
        })
    }

    /// The features of a picture, `[1, height, width, 3]` between 0 and 1, with sides of at least 128 pixels that are
    /// multiples of 8.
    ///
    /// # Errors
    /// [`ProcessorError::Input`] for pictures of another shape.
    pub fn features(&self, picture: &Tensor) -> Result<FlowFeatures, ProcessorError> {
        const EXPECTED: &str = "[1, height, width, 3], both at least 128 and multiples of 8";
        check(picture, 1, EXPECTED)?;
        let fits = |axis: usize| picture.dim(axis) >= LEAST_SIDE && picture.dim(axis).is_multiple_of(STRIDE);
        if picture.dim(0) != 1 || !fits(1) || !fits(2) {
            return Err(ProcessorError::Input { found: picture.shape().to_string(), expected: EXPECTED });
        }
        let picture = ops::affine_clamped(picture.clone(), 2.0, -1.0, [-1.0, 1.0])?;
        Ok(FlowFeatures { features: self.features.run(&picture)?, picture })
    }

    /// Where the pixels of the first picture have gone in the second: `[1, height, width, 2]`, pixels to the right and down.
    ///
    /// # Errors
    /// [`ProcessorError::Engine`] for pictures of two sizes.
    pub fn flow(&self, first: &FlowFeatures, second: &FlowFeatures) -> Result<Tensor, ProcessorError> {
        // The mean of products is the product with the mean: a smaller second picture, not a smaller table of products.
        let mut levels = Vec::with_capacity(LEVELS);
        let mut target = second.features.clone();
        for level in 0..LEVELS {
            if level > 0 {
                target = ops::halve(&target)?;
            }
            levels.push(ops::correlation(&first.features, &target)?);
        }
        let context = self.context.run(&first.picture)?;
        let rest = context.dim(3) - self.hidden;
        let mut hidden = ops::activate(ops::take_channels(&context, 0, self.hidden)?, Activation::Tanh)?;
        let context = ops::activate(ops::take_channels(&context, self.hidden, rest)?, Activation::Relu)?;
        let units = self.units.iter().map(|unit| unit.with_context(&context));
        let units = units.collect::<Result<Vec<_>, _>>()?;

        let mut flow = Tensor::zeros(&context.device(), &[1, context.dim(1), context.dim(2), 2])?;
        for _ in 0..UPDATES {
            let motion = self.motion(&ops::surroundings(&levels, &flow, self.radius)?, &flow)?;
            for unit in &units {
                hidden = unit.run(hidden, &motion)?;
            }
            let correction = conv(&rectified(&hidden, &self.head[0])?, &self.head[1], &ConvInput::default())?;
            flow = ops::add(flow, &correction)?;
        }
        let Some([first, second]) = &self.mask else {
            let size = [1, 2].map(|axis| flow.dim(axis) * STRIDE);
            return Ok(ops::scale(ops::resize_between_corners(&flow, size)?, STRIDE as f32)?);
        };
        let mask = conv(&rectified(&hidden, first)?, second, &ConvInput::default())?;
        Ok(ops::enlarge_flow(&flow, &ops::scale(mask, MASK_SCALE)?, STRIDE)?)
    }

    /// What is seen and the flow, as motion.
    fn motion(&self, surroundings: &Tensor, flow: &Tensor) -> scope_engine::Result<Tensor> {
        let mut seen = surroundings.clone();
        for layer in &self.seen {
            seen = rectified(&seen, layer)?;
        }
        let [wide, narrow] = &self.flow;
        let of_flow = rectified(&rectified(flow, wide)?, narrow)?;
        let motion = rectified(&ops::concat_channels(&[&seen, &of_flow])?, &self.motion)?;
        ops::concat_channels(&[&motion, flow])
    }
}

fn rectified(x: &Tensor, layer: &Conv) -> scope_engine::Result<Tensor> {
    conv(x, layer, &ConvInput { activation: Activation::Relu, ..ConvInput::default() })
}

/// How the layers of an encoder are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Norm {
    None,
    /// Every channel of a picture by itself.
    Instance,
    /// By the statistics of training.
    Batch,
}

/// A residual block.
struct BlockShape {
    inputs: usize,
    outputs: usize,
    stride: usize,
    /// Inputs, outputs and geometry of its layers.
    layers: Vec<(usize, usize, ConvSpec)>,
}

/// Brings pictures to an eighth of their size.
#[derive(Debug)]
struct Encoder {
    stem: Layer,
    blocks: Vec<Block>,
    head: Conv,
}

#[derive(Debug)]
struct Block {
    layers: Vec<Layer>,
    /// Brings what goes past the block to its size.
    past: Option<Layer>,
}

impl Encoder {
    fn load(
        loader: &Loader<'_>,
        shapes: &[(String, BlockShape)],
        widths: [usize; 5],
        norm: Norm,
    ) -> Result<Self, WeightError> {
        let stem = ConvSpec::square(7).strided(2);
        let mut blocks = Vec::with_capacity(shapes.len());
        for (name, shape) in shapes {
            let loader = loader.at(name);
            let layer = |name: &str, channels, spec| Layer::load(&loader.at(name), channels, spec, norm);
            let mut layers = Vec::with_capacity(shape.layers.len());
            for (index, &(inputs, outputs, spec)) in shape.layers.iter().enumerate() {
                layers.push(layer(&format!("convnormrelu{}", index + 1), [inputs, outputs], spec)?);
            }
            let past = || {
                let spec = ConvSpec::pointwise().strided(shape.stride);
                layer("downsample", [shape.inputs, shape.outputs], spec)
            };
            blocks.push(Block { layers, past: (shape.stride > 1).then(past).transpose()? });
        }
        Ok(Self {
            stem: Layer::load(&loader.at("convnormrelu"), [3, widths[0]], stem, norm)?,
            blocks,
            head: loader.at("conv").conv([widths[3], widths[4]], ConvSpec::pointwise())?,
        })
    }

    fn run(&self, picture: &Tensor) -> scope_engine::Result<Tensor> {
        let mut x = self.stem.run(picture, Activation::Relu)?;
        for block in &self.blocks {
            let mut y = x.clone();
            for layer in &block.layers {
                y = layer.run(&y, Activation::Relu)?;
            }
            if let Some(past) = &block.past {
                x = past.run(&x, Activation::None)?;
            }
            x = ops::activate(ops::add(y, &x)?, Activation::Relu)?;
        }
        conv(&x, &self.head, &ConvInput::default())
    }
}

/// A convolution and what normalises its result.
#[derive(Debug)]
struct Layer {
    conv: Conv,
    /// Otherwise the norm is part of the weights, or there is none.
    by_instance: bool,
}

impl Layer {
    fn load(
        loader: &Loader<'_>,
        channels: [usize; 2],
        spec: ConvSpec,
        norm: Norm,
    ) -> Result<Self, WeightError> {
        let layer = loader.at(0);
        let conv = if norm == Norm::Batch {
            let (mut weight, outputs) = (layer.conv_weight(channels, &spec)?, channels[1]);
            let mut bias = layer.values("bias", &[outputs])?;
            let norm = |name: &str| loader.at(1).values(name, &[outputs]);
            let (scale, shift) = (norm("weight")?, norm("bias")?);
            let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
            let kernel = (weight.len() / outputs.max(1)).max(1);
            for (channel, weight) in weight.chunks_exact_mut(kernel).enumerate() {
                let scale = scale[channel] / (variance[channel] + EPS).sqrt();
                weight.iter_mut().for_each(|weight| *weight *= scale);
                bias[channel] = (bias[channel] - mean[channel]).mul_add(scale, shift[channel]);
            }
            layer.conv_from(&weight, channels, spec, Some(&bias))?
        } else {
            layer.conv(channels, spec)?
        };
        Ok(Self { conv, by_instance: norm == Norm::Instance })
    }

    fn run(&self, x: &Tensor, activation: Activation) -> scope_engine::Result<Tensor> {
        if self.by_instance {
            return ops::instance_norm(&conv(x, &self.conv, &ConvInput::default())?, EPS, activation);
        }
        conv(x, &self.conv, &ConvInput { activation, ..ConvInput::default() })
    }
}

/// A gated recurrent unit of convolutions. What the context gives to its gates is the same for every correction, and found
/// once.
#[derive(Debug)]
struct RecurrentUnit {
    hidden: usize,
    /// From hidden state and motion: both gates, and the candidate.
    gates: Conv,
    candidate: Conv,
    /// The same from the context, with the biases.
    gates_of_context: Conv,
    candidate_of_context: Conv,
}

/// The unit and what the context gives.
struct InContext<'a> {
    unit: &'a RecurrentUnit,
    gates: Tensor,
    candidate: Tensor,
}

impl RecurrentUnit {
    fn load(
        loader: &Loader<'_>,
        config: &RaftConfig,
        [height, width]: [usize; 2],
    ) -> Result<Self, WeightError> {
        let (hidden, inputs) = (config.hidden, config.gate_inputs());
        let context = config.context[4] - hidden;
        let spec = ConvSpec {
            kernel: [1, height, width],
            ..ConvSpec::square(1).padded([height / 2, height / 2, width / 2, width / 2])
        };
        // The inputs are hidden state, context and motion, in this order.
        let split = |names: &[&str]| {
            let (mut own, mut of_context, mut bias) = (Vec::new(), Vec::new(), Vec::new());
            for name in names {
                let layer = loader.at(name);
                let weight = layer.conv_weight([inputs, hidden], &spec)?;
                let kernel = height * width;
                for output in weight.chunks_exact(inputs * kernel) {
                    let (first, rest) = output.split_at(hidden * kernel);
                    let (second, third) = rest.split_at(context * kernel);
                    own.extend(first.iter().chain(third));
                    of_context.extend(second);
                }
                bias.extend(layer.values("bias", &[hidden])?);
            }
            let outputs = names.len() * hidden;
            Ok::<_, WeightError>((
                loader.conv_from(&own, [inputs - context, outputs], spec, None)?,
                loader.conv_from(&of_context, [context, outputs], spec, Some(&bias))?,
            ))
        };
        let (gates, gates_of_context) = split(&["convz", "convr"])?;
        let (candidate, candidate_of_context) = split(&["convq"])?;
        Ok(Self { hidden, gates, candidate, gates_of_context, candidate_of_context })
    }

    fn with_context(&self, context: &Tensor) -> scope_engine::Result<InContext<'_>> {
        Ok(InContext {
            unit: self,
            gates: conv(context, &self.gates_of_context, &ConvInput::default())?,
            candidate: conv(context, &self.candidate_of_context, &ConvInput::default())?,
        })
    }
}

impl InContext<'_> {
    /// The hidden state after this motion (Teed & Deng 2020, equations 2 to 5).
    fn run(&self, hidden: Tensor, motion: &Tensor) -> scope_engine::Result<Tensor> {
        let unit = self.unit;
        let input = |residual, activation| ConvInput { residual: Some(residual), activation, past: None };
        let seen = ops::concat_channels(&[&hidden, motion])?;
        let gates = conv(&seen, &unit.gates, &input(&self.gates, Activation::Sigmoid))?;
        let update = ops::take_channels(&gates, 0, unit.hidden)?;
        let kept = ops::multiply(ops::take_channels(&gates, unit.hidden, unit.hidden)?, &hidden)?;
        let seen = ops::concat_channels(&[&kept, motion])?;
        let candidate = conv(&seen, &unit.candidate, &input(&self.candidate, Activation::Tanh))?;
        let change = ops::multiply(ops::mix(candidate, 1.0, &hidden, -1.0)?, &update)?;
        ops::add(hidden, &change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published: `raft_small_C_T_V2-01064c6d.pth` and `raft_large_C_T_SKHT_V2-ff5fadd5.pth`.
    #[test]
    fn the_descriptions_are_the_published_networks() {
        let [small, large] = [RaftConfig::small(), RaftConfig::large()].map(|config| config.description());
        assert_eq!((small.tensors().len(), small.parameters()), (106, 990_162));
        assert_eq!((large.tensors().len(), large.parameters()), (169, 5_260_431));
    }
}
