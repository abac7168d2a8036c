//! Frame interpolation: IFNet of *Real-Time Intermediate Flow Estimation* (Huang et al. 2022, arXiv 2011.06294), in its
//! version 4.25 (github.com/hzwer/Practical-RIFE, MIT).
//!
//! Four blocks, from coarse to fine, estimate the flow from the middle to both frames and a mask of which to show
//! where; each sees the frames as warped by the flow found so far.

use scope_engine::{
    Tensor,
    ops::{self, Activation, Conv, ConvInput, ConvSpec, Enlarge, conv},
};

use super::{ProcessorError, check};
use crate::{
    checkpoint::{Checkpoint, CheckpointError, NetworkDescription, Selection},
    weights::{Loader, WeightError},
};

/// The network's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RifeConfig {
    /// Channels of the four blocks.
    pub widths: [usize; 4],
}

impl RifeConfig {
    /// As published.
    #[must_use]
    pub fn full() -> Self {
        Self { widths: [192, 128, 64, 32] }
    }

    /// The network in a published file, which was trained on several devices together with networks that only training
    /// needs.
    pub const PUBLISHED: Selection = Selection {
        strip_prefix: Some("module."),
        ignore_prefixes: &["teacher.", "caltime."],
        ..Selection::ALL
    };

    /// The sizes of the network in a file.
    ///
    /// # Errors
    /// [`CheckpointError`] when it has no such network.
    pub fn of(file: &Checkpoint) -> Result<Self, CheckpointError> {
        let width = |block: usize| file.rows(&format!("block{block}.conv0.1.0.weight"));
        Ok(Self { widths: [width(0)?, width(1)?, width(2)?, width(3)?] })
    }

    /// The tensors of the network.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let mut net = NetworkDescription::new("frame interpolation network");
        for (block, width) in self.widths.into_iter().enumerate() {
            let inputs = if block == 0 { FIRST_INPUTS } else { FIRST_INPUTS + RESULTS };
            net.scope(&format!("block{block}"), |net| {
                net.weight_and_bias("conv0.0.0", &[width / 2, inputs, 3, 3])
                    .weight_and_bias("conv0.1.0", &[width, width / 2, 3, 3]);
                for layer in 0..RESIDUAL_LAYERS {
                    net.scope(&format!("convblock.{layer}"), |net| {
                        net.tensor("beta", &[1, width, 1, 1]).weight_and_bias("conv", &[width, width, 3, 3]);
                    });
                }
                net.tensor("lastconv.0.weight", &[width, 4 * RESULTS, 4, 4])
                    .tensor("lastconv.0.bias", &[4 * RESULTS]);
            });
        }
        net.scope("encode", |net| {
            let width = Encoder::WIDTH;
            net.weight_and_bias("cnn0", &[width, 3, 3, 3])
                .weight_and_bias("cnn1", &[width, width, 3, 3])
                .weight_and_bias("cnn2", &[width, width, 3, 3])
                .tensor("cnn3.weight", &[width, FEATURES, 4, 4])
                .tensor("cnn3.bias", &[FEATURES]);
        });
        net
    }
}

/// How much smaller each block sees the frames.
const SCALES: [usize; 4] = [8, 4, 2, 1];
/// Sides are padded to multiples of this: the coarsest block halves them twice more.
const SIDE: usize = 32;
/// Channels of a frame's features.
const FEATURES: usize = 4;
/// Channels that blocks hand on.
const CONTEXT: usize = 8;
/// Channels of both flows.
const FLOWS: usize = 4;
/// What a block gives: flows, mask, context.
const RESULTS: usize = FLOWS + 1 + CONTEXT;
/// What the first block sees: two frames, the features of both, and the time.
const FIRST_INPUTS: usize = 2 * (3 + FEATURES) + 1;
/// Residual layers of a block.
const RESIDUAL_LAYERS: usize = 8;
/// What follows each convolution.
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// The weights.
#[derive(Debug)]
pub struct Interpolator {
    encoder: Encoder,
    blocks: [Block; 4],
}

/// A picture between two, and how it came about. All are padded to multiples of 32 pixels.
#[derive(Clone, Debug)]
pub struct Interpolated {
    /// The picture, `[1, height, width, 3]` between 0 and 1.
    pub picture: Tensor,
    /// Flows to both frames in pixels, horizontal before vertical, `[1, height, width, 4]`.
    pub flow: Tensor,
    /// Where the first frame is shown: logits, `[1, height, width, 1]`.
    pub mask: Tensor,
}

impl Interpolator {
    /// Builds the network from `encode.*` and `block0.*` to `block3.*` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: RifeConfig) -> Result<Self, WeightError> {
        // Later blocks also see a mask, the context and both flows.
        let block = |index: usize| {
            let inputs = if index == 0 { FIRST_INPUTS } else { FIRST_INPUTS + RESULTS };
            Block::load(&loader.at(format!("block{index}")), inputs, config.widths[index])
        };
        Ok(Self {
            encoder: Encoder::load(&loader.at("encode"))?,
            blocks: [block(0)?, block(1)?, block(2)?, block(3)?],
        })
    }

    /// Puts a picture between each two of `pictures`, `[frames, height, width, 3]` between 0 and 1: of `n` frames come
    /// `2n - 1`.
    ///
    /// # Errors
    /// [`ProcessorError::Input`] for pictures of another shape, or none.
    pub fn double(&self, pictures: &Tensor) -> Result<Tensor, ProcessorError> {
        check(pictures, 1, "[frames, height, width, 3] with at least one frame")?;
        let size = [pictures.dim(1), pictures.dim(2)];
        let mut frames = vec![pictures.narrow(0, 1)?];
        for (index, between) in self.between(pictures, 0.5)?.into_iter().enumerate() {
            frames.push(ops::crop(&between.picture, [0, 0], size)?);
            frames.push(pictures.narrow(index + 1, 1)?);
        }
        Ok(Tensor::concat(&frames.iter().collect::<Vec<_>>())?)
    }

    /// The pictures between each two of `pictures`, `[frames, height, width, 3]` between 0 and 1. `time` is how far
    /// they lie from the first to the second of the two, 0 to 1.
    ///
    /// # Errors
    /// [`ProcessorError::Input`] for pictures of another shape.
    pub fn between(&self, pictures: &Tensor, time: f32) -> Result<Vec<Interpolated>, ProcessorError> {
        check(pictures, 0, "[frames, height, width, 3]")?;
        let size = [1, 2].map(|axis| pictures.dim(axis).next_multiple_of(SIDE));
        let padded = ops::pad(pictures, size)?;
        let time = Tensor::from_fn(&pictures.device(), &[1, size[0], size[1], 1], |all| all.fill(time))?;
        let mut between = Vec::with_capacity(pictures.dim(0).saturating_sub(1));
        let mut first: Option<Frame> = None;
        for index in 0..pictures.dim(0) {
            let picture = padded.narrow(index, 1)?;
            let features = self.encoder.run(&picture)?;
            let second = Frame { picture, features };
            if let Some(first) = &first {
                between.push(self.estimate([first, &second], &time)?);
            }
            first = Some(second);
        }
        Ok(between)
    }

    fn estimate(&self, frames: [&Frame; 2], time: &Tensor) -> scope_engine::Result<Interpolated> {
        let [first, second] = frames;
        let [coarsest, finer @ ..] = &self.blocks;
        let seen = [&first.picture, &second.picture, &first.features, &second.features, time];
        let found = coarsest.run(&ops::concat_channels(&seen)?, None, SCALES[0])?;
        let mut flow = found.flow;
        let (mut mask, mut context) = (found.mask, found.context);
        for (block, scale) in finer.iter().zip(&SCALES[1..]) {
            let [a, b] = frames.map(|frame| [&frame.picture, &frame.features]);
            let (a_picture, a_features) = (ops::warp(a[0], &flow, 0)?, ops::warp(a[1], &flow, 0)?);
            let (b_picture, b_features) = (ops::warp(b[0], &flow, 2)?, ops::warp(b[1], &flow, 2)?);
            let seen = [&a_picture, &b_picture, &a_features, &b_features, time, &mask, &context];
            let found = block.run(&ops::concat_channels(&seen)?, Some(&flow), *scale)?;
            flow = ops::add(found.flow, &flow)?;
            (mask, context) = (found.mask, found.context);
        }
        let (warped_first, warped_second) =
            (ops::warp(&first.picture, &flow, 0)?, ops::warp(&second.picture, &flow, 2)?);
        let share = ops::activate(mask.clone(), Activation::Sigmoid)?;
        let picture = ops::blend(&warped_first, &warped_second, &share)?;
        Ok(Interpolated { picture, flow, mask })
    }
}

/// A padded frame and its features at the same resolution.
struct Frame {
    picture: Tensor,
    features: Tensor,
}

/// Features of a frame.
#[derive(Debug)]
struct Encoder {
    convs: [Conv; 3],
    up: Conv,
}

impl Encoder {
    const WIDTH: usize = 16;

    fn load(loader: &Loader<'_>) -> Result<Self, WeightError> {
        let square = ConvSpec::square(3);
        Ok(Self {
            convs: [
                loader.at("cnn0").conv([3, Self::WIDTH], square.strided(2))?,
                loader.at("cnn1").conv([Self::WIDTH; 2], square)?,
                loader.at("cnn2").conv([Self::WIDTH; 2], square)?,
            ],
            up: loader.at("cnn3").conv([Self::WIDTH, FEATURES], doubling())?,
        })
    }

    fn run(&self, picture: &Tensor) -> scope_engine::Result<Tensor> {
        let mut x = picture.clone();
        for layer in &self.convs {
            x = conv(&x, layer, &ConvInput { activation: LEAKY, ..ConvInput::default() })?;
        }
        conv(&x, &self.up, &ConvInput::default())
    }
}

/// A 4×4 transposed convolution to twice the size.
fn doubling() -> ConvSpec {
    ConvSpec::square(4).padded([1; 4]).enlarged(Enlarge::Transposed2)
}

/// One step from coarse to fine.
#[derive(Debug)]
struct Block {
    down: [Conv; 2],
    residual: [Conv; RESIDUAL_LAYERS],
    /// To [`RESULTS`] channels of four pixels each.
    up: Conv,
}

/// What a block found.
struct Found {
    flow: Tensor,
    mask: Tensor,
    context: Tensor,
}

impl Block {
    fn load(loader: &Loader<'_>, inputs: usize, width: usize) -> Result<Self, WeightError> {
        let down = ConvSpec::square(3).strided(2);
        let residual = |index: usize| residual(&loader.at("convblock").at(index), width);
        Ok(Self {
            down: [
                loader.at("conv0.0.0").conv([inputs, width / 2], down)?,
                loader.at("conv0.1.0").conv([width / 2, width], down)?,
            ],
            residual: [
                residual(0)?,
                residual(1)?,
                residual(2)?,
                residual(3)?,
                residual(4)?,
                residual(5)?,
                residual(6)?,
                residual(7)?,
            ],
            up: shuffled(&loader.at("lastconv.0"), width)?,
        })
    }

    /// `x` and `flow` are at full size, and so is what is found.
    fn run(&self, x: &Tensor, flow: Option<&Tensor>, scale: usize) -> scope_engine::Result<Found> {
        let size = [x.dim(1), x.dim(2)];
        let small = size.map(|side| side / scale);
        let mut x = ops::resize_bilinear(x, small)?;
        if let Some(flow) = flow {
            let flow = ops::scale(ops::resize_bilinear(flow, small)?, 1.0 / scale as f32)?;
            x = ops::concat_channels(&[&x, &flow])?;
        }
        for layer in &self.down {
            x = conv(&x, layer, &ConvInput { activation: LEAKY, ..ConvInput::default() })?;
        }
        for layer in &self.residual {
            x = conv(
                &x,
                layer,
                &ConvInput { residual: Some(&x), activation: LEAKY, ..ConvInput::default() },
            )?;
        }
        let tokens = conv(&x, &self.up, &ConvInput::default())?;
        let tokens = tokens.reshape(&[small[0] * small[1] / 4, 4 * RESULTS])?;
        let found = ops::unpatchify(&tokens, 2, [1, small[0], small[1], RESULTS])?;
        let found = ops::resize_bilinear(&found, size)?;
        Ok(Found {
            flow: ops::scale(ops::take_channels(&found, 0, FLOWS)?, scale as f32)?,
            mask: ops::take_channels(&found, FLOWS, 1)?,
            context: ops::take_channels(&found, FLOWS + 1, CONTEXT)?,
        })
    }
}

/// `conv(x) · beta + x` with the factor of each channel multiplied into the weights.
fn residual(loader: &Loader<'_>, width: usize) -> Result<Conv, WeightError> {
    let spec = ConvSpec::square(3);
    let beta = loader.values("beta", &[1, width, 1, 1])?;
    let layer = loader.at("conv");
    let mut weight = layer.conv_weight([width; 2], &spec)?;
    let mut bias = layer.values("bias", &[width])?;
    for ((weight, bias), &beta) in weight.chunks_exact_mut(9 * width).zip(&mut bias).zip(&beta) {
        *bias *= beta;
        weight.iter_mut().for_each(|weight| *weight *= beta);
    }
    loader.conv_from(&weight, [width; 2], spec, Some(&bias))
}

/// The convolution before a pixel shuffle. The checkpoint keeps the four pixels of each channel together; in the order
/// made here, each pixel's channels are.
fn shuffled(loader: &Loader<'_>, width: usize) -> Result<Conv, WeightError> {
    const PIXELS: usize = 4;
    let channels = [width, PIXELS * RESULTS];
    let old = |new: usize| new % RESULTS * PIXELS + new / RESULTS;
    let weight = loader.conv_weight(channels, &doubling())?;
    let (kernels, _) = weight.as_chunks::<16>();
    let mut ordered = Vec::with_capacity(weight.len());
    for input in kernels.chunks_exact(PIXELS * RESULTS) {
        ordered.extend((0..PIXELS * RESULTS).flat_map(|new| input[old(new)]));
    }
    let bias = loader.values("bias", &[PIXELS * RESULTS])?;
    let bias: Vec<f32> = (0..PIXELS * RESULTS).map(|new| bias[old(new)]).collect();
    loader.conv_from(&ordered, channels, doubling(), Some(&bias))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published: `flownet.pkl` of version 4.25, without what only training needs.
    #[test]
    fn the_description_is_the_published_network() {
        let description = RifeConfig::full().description();
        assert_eq!((description.tensors().len(), description.parameters()), (128, 4_866_052));
    }
}
