//! The autoencoder of Wan2.1 (Wan Team 2025, arXiv 2503.20314; Apache-2.0): a causal 3-D convolutional network, and the
//! same network pruned to a quarter of its width (LightVAE).
//!
//! Every convolution over time sees only earlier frames. The first frame of a stream becomes a latent of its own; from
//! then on four frames make one. The layers that halve or double time therefore let the first frame pass, and see it
//! as the past of the second.

mod layers;

use scope_engine::{
    Device, Tensor,
    ops::{self, Activation, Conv, ConvSpec, Linear},
};

use self::layers::{Attention, Downsample, Residual, Stream, Upsample, Wants};
use super::{
    DecoderMemory, EncoderMemory, LatentScale, Parts, Statistics, VaeError, VideoAutoencoder, check, joined,
    memory::Pass,
};
use crate::{
    checkpoint::NetworkDescription,
    weights::{Loader, TensorSource, WeightError},
};

/// The network's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WanVaeConfig {
    /// Channels after the first convolution.
    pub stem: usize,
    /// Channels of each level, from full resolution down; between two levels, height and width are halved.
    pub levels: Vec<usize>,
    /// For each step from one level to the next: is time halved too?
    pub halves_time: Vec<bool>,
    /// Residual blocks of each level of the encoder; the decoder has one more.
    pub residual_blocks: usize,
}

/// Channels of a latent.
const LATENT_CHANNELS: usize = 16;

impl WanVaeConfig {
    /// `dim` channels times a multiplier for each level, of which the share `pruning` is taken away.
    #[must_use]
    pub fn new(
        dim: usize,
        multipliers: &[usize],
        pruning: f64,
        residual_blocks: usize,
        halves_time: &[bool],
    ) -> Self {
        // Truncated, as the published checkpoints were made.
        let width = |channels: usize| (channels as f64 * (1.0 - pruning)) as usize;
        Self {
            stem: width(dim),
            levels: multipliers.iter().map(|factor| width(dim * factor)).collect(),
            halves_time: halves_time.to_vec(),
            residual_blocks,
        }
    }

    /// The autoencoder as published with Wan2.1.
    #[must_use]
    pub fn full() -> Self {
        Self::new(96, &[1, 2, 4, 4], 0.0, 2, &[false, true, true])
    }

    /// LightVAE: a quarter of the width.
    #[must_use]
    pub fn light() -> Self {
        Self::new(96, &[1, 2, 4, 4], 0.75, 2, &[false, true, true])
    }

    /// The network whose tensors these are: the published one, or one that is narrower throughout.
    ///
    /// # Errors
    /// [`WeightError`] when it lacks its first convolution.
    pub fn of(source: &dyn TensorSource) -> Result<Self, WeightError> {
        let [stem, ..] = source.extents::<5>("encoder.conv1.weight")?;
        Ok(Self::new(stem, &[1, 2, 4, 4], 0.0, 2, &[false, true, true]))
    }

    /// The tensors of the network.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let Self { stem, ref levels, ref halves_time, residual_blocks } = *self;
        let deepest = levels.last().copied().unwrap_or(stem);
        let both = 2 * LATENT_CHANNELS;
        let mut net = NetworkDescription::new(format!("Wan's autoencoder of {stem} channels"));
        net.scope("encoder", |net| {
            net.weight_and_bias("conv1", &[stem, 3, 3, 3, 3]);
            let (mut channels, mut layer) = (stem, 0);
            for (level, &width) in levels.iter().enumerate() {
                for _ in 0..residual_blocks {
                    net.scope(&format!("downsamples.{layer}"), |net| describe_residual(net, channels, width));
                    (channels, layer) = (width, layer + 1);
                }
                if let Some(&halves_time) = halves_time.get(level) {
                    net.scope(&format!("downsamples.{layer}"), |net| {
                        net.weight_and_bias("resample.1", &[width, width, 3, 3]);
                        if halves_time {
                            net.weight_and_bias("time_conv", &[width, width, 3, 1, 1]);
                        }
                    });
                    layer += 1;
                }
            }
            describe_ends(net, [deepest, deepest, both]);
        });
        net.weight_and_bias("conv1", &[both, both, 1, 1, 1]);
        net.weight_and_bias("conv2", &[LATENT_CHANNELS, LATENT_CHANNELS, 1, 1, 1]);
        net.scope("decoder", |net| {
            net.weight_and_bias("conv1", &[deepest, LATENT_CHANNELS, 3, 3, 3]);
            let (mut channels, mut layer) = (deepest, 0);
            for (level, &width) in levels.iter().enumerate().rev() {
                for _ in 0..=residual_blocks {
                    net.scope(&format!("upsamples.{layer}"), |net| describe_residual(net, channels, width));
                    (channels, layer) = (width, layer + 1);
                }
                if let Some(above) = level.checked_sub(1) {
                    net.scope(&format!("upsamples.{layer}"), |net| {
                        net.weight_and_bias("resample.1", &[width / 2, width, 3, 3]);
                        if halves_time.get(above) == Some(&true) {
                            net.weight_and_bias("time_conv", &[2 * width, width, 3, 1, 1]);
                        }
                    });
                    (channels, layer) = (width / 2, layer + 1);
                }
            }
            describe_ends(net, [deepest, channels, 3]);
        });
        net
    }

    /// Frames of a latent, except for the first.
    fn group(&self) -> usize {
        1 << self.halves_time.iter().filter(|&&halves| halves).count()
    }

    /// Pixels of a latent's side.
    fn side(&self) -> usize {
        1 << self.halves_time.len()
    }
}

fn describe_residual(net: &mut NetworkDescription, inputs: usize, outputs: usize) {
    net.tensor("residual.0.gamma", &[inputs, 1, 1, 1]);
    net.weight_and_bias("residual.2", &[outputs, inputs, 3, 3, 3]);
    net.tensor("residual.3.gamma", &[outputs, 1, 1, 1]);
    net.weight_and_bias("residual.6", &[outputs, outputs, 3, 3, 3]);
    if inputs != outputs {
        net.weight_and_bias("shortcut", &[outputs, inputs, 1, 1, 1]);
    }
}

/// Middle and head of either half.
fn describe_ends(net: &mut NetworkDescription, [middle, inputs, outputs]: [usize; 3]) {
    net.scope("middle", |net| {
        net.scope("0", |net| describe_residual(net, middle, middle));
        net.tensor("1.norm.gamma", &[middle, 1, 1]);
        net.weight_and_bias("1.to_qkv", &[3 * middle, middle, 1, 1]);
        net.weight_and_bias("1.proj", &[middle, middle, 1, 1]);
        net.scope("2", |net| describe_residual(net, middle, middle));
    });
    net.tensor("head.0.gamma", &[inputs, 1, 1, 1]);
    net.weight_and_bias("head.2", &[outputs, inputs, 3, 3, 3]);
}

/// The weights.
#[derive(Debug)]
pub struct WanAutoencoder {
    config: WanVaeConfig,
    encoder: Encoder,
    /// The mean of the latent's distribution from the encoder's result.
    mean: Linear,
    unpack: Linear,
    decoder: Decoder,
    statistics: Statistics,
}

impl WanAutoencoder {
    /// Builds the network from `encoder.*`, `conv1.*`, `conv2.*` and `decoder.*` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: WanVaeConfig) -> Result<Self, WeightError> {
        // The other half of the encoder's result is the variance, which only training needs.
        let both = 2 * LATENT_CHANNELS;
        let mut weight = loader.values("conv1.weight", &[both, both, 1, 1, 1])?;
        weight.truncate(LATENT_CHANNELS * both);
        let bias = loader.values("conv1.bias", &[both])?;
        let mean = loader.linear_from(&weight, [LATENT_CHANNELS, both], Some(&bias[..LATENT_CHANNELS]))?;
        let square = [LATENT_CHANNELS, LATENT_CHANNELS];
        let weight = loader.values("conv2.weight", &[LATENT_CHANNELS, LATENT_CHANNELS, 1, 1, 1])?;
        let bias = loader.values("conv2.bias", &[LATENT_CHANNELS])?;
        Ok(Self {
            encoder: Encoder::load(&loader.at("encoder"), &config)?,
            mean,
            unpack: loader.linear_from(&weight, square, Some(&bias))?,
            decoder: Decoder::load(&loader.at("decoder"), &config)?,
            statistics: Statistics::wan(loader.device())?,
            config,
        })
    }
}

impl VideoAutoencoder for WanAutoencoder {
    fn device(&self) -> Device {
        self.statistics.mean.device()
    }

    fn encode(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError> {
        check("pixels", pixels, 3, self.config.side())?;
        let (frames, group) = (pixels.dim(0), self.config.group());
        let alone = usize::from(memory.is_fresh());
        if !(frames - alone).is_multiple_of(group) {
            let first = if alone == 1 { "1 and " } else { "" };
            return Err(VaeError::Input {
                what: "the frames to encode",
                found: frames.to_string(),
                expected: format!("{first}a multiple of {group}"),
            });
        }
        // In groups, so that memory does not grow with the number of frames.
        let mut latents = Parts::new();
        let starts = (alone == 1).then_some(0).into_iter().chain((alone..frames).step_by(group));
        for start in starts {
            let count = if start < alone { 1 } else { group };
            let part = pixels.narrow(start, count)?;
            let encoded = memory.pass(|pass| self.encoder.run(pass, &part))?;
            latents.push(ops::linear(&encoded, &self.mean, Activation::None)?);
        }
        let latents = joined(latents)?;
        match scale {
            LatentScale::Normalised => Ok(self.statistics.normalise(latents)?),
            LatentScale::Raw => Ok(latents),
        }
    }

    fn encode_uneven(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError> {
        check("pixels", pixels, 3, self.config.side())?;
        let (frames, group) = (pixels.dim(0), self.config.group());
        if !memory.is_fresh() || frames < 2 {
            let whole = if memory.is_fresh() { frames } else { frames / group * group };
            return self.encode(memory, &pixels.narrow(0, whole)?, scale);
        }
        let first = self.encode(memory, &pixels.narrow(0, 1)?, scale)?;
        let rest = pixels.narrow(1, frames - 1)?;
        let encoded = memory.pass(|pass| self.encoder.run(pass, &rest))?;
        let latents = ops::linear(&encoded, &self.mean, Activation::None)?;
        let latents = match scale {
            LatentScale::Normalised => self.statistics.normalise(latents)?,
            LatentScale::Raw => latents,
        };
        Ok(Tensor::concat(&[&first, &latents])?)
    }

    fn spatial_factor(&self) -> usize {
        self.config.side()
    }

    fn opening_pictures(&self) -> usize {
        1
    }

    fn first_latent_pictures(&self) -> usize {
        1
    }

    fn decode_next(&self, memory: &mut DecoderMemory, latent: &Tensor) -> Result<Tensor, VaeError> {
        check("latents", latent, LATENT_CHANNELS, 1)?;
        let raw = self.statistics.denormalise(latent.clone())?;
        let unpacked = ops::linear(&raw, &self.unpack, Activation::None)?;
        let frames = memory.pass(|pass| self.decoder.run(pass, &unpacked))?;
        Ok(ops::affine_clamped(frames, 1.0, 0.0, [-1.0, 1.0])?)
    }
}

/// Residual block, attention, residual block: the middle of both halves.
#[derive(Debug)]
struct Middle(Residual, Attention, Residual);

impl Middle {
    fn load(loader: &Loader<'_>, channels: usize) -> Result<Self, WeightError> {
        Ok(Self(
            Residual::load(&loader.at(0), [channels; 2])?,
            Attention::load(&loader.at(1), channels)?,
            Residual::load(&loader.at(2), [channels; 2])?,
        ))
    }

    fn wants(&self) -> Wants<'_> {
        self.0.wants()
    }

    fn run(&self, pass: &mut Pass<'_>, x: Stream, wants: Wants<'_>) -> scope_engine::Result<Stream> {
        let x = self.0.run(pass, x, Wants::Plain)?.x;
        let x = self.1.run(&x)?;
        self.2.run(pass, x.into(), wants)
    }
}

/// Norm, SiLU and the convolution to the result.
#[derive(Debug)]
struct Head {
    gamma: Tensor,
    conv: Conv,
}

impl Head {
    fn load(loader: &Loader<'_>, [inputs, outputs]: [usize; 2]) -> Result<Self, WeightError> {
        let gamma = loader.tensor("0.gamma", &[inputs, 1, 1, 1])?;
        let conv = loader.at(2).conv([inputs, outputs], ConvSpec::square(3).causal(3))?;
        Ok(Self { gamma, conv })
    }

    fn wants(&self) -> Wants<'_> {
        Wants::Normed(&self.gamma)
    }

    fn run(&self, pass: &mut Pass<'_>, normed: &Tensor) -> scope_engine::Result<Tensor> {
        pass.conv(normed, &self.conv, None, Activation::None)
    }
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a few dozen of them, each before megabytes of weights")]
enum Down {
    Block(Residual),
    Half(Downsample),
}

impl Down {
    fn wants(&self) -> Wants<'_> {
        match self {
            Self::Block(block) => block.wants(),
            Self::Half(_) => Wants::Plain,
        }
    }
}

#[derive(Debug)]
struct Encoder {
    stem: Conv,
    layers: Vec<Down>,
    middle: Middle,
    head: Head,
}

impl Encoder {
    fn load(loader: &Loader<'_>, config: &WanVaeConfig) -> Result<Self, WeightError> {
        let mut layers = Vec::new();
        let mut channels = config.stem;
        for (level, &width) in config.levels.iter().enumerate() {
            for _ in 0..config.residual_blocks {
                let loader = loader.at("downsamples").at(layers.len());
                layers.push(Down::Block(Residual::load(&loader, [channels, width])?));
                channels = width;
            }
            if let Some(&halves_time) = config.halves_time.get(level) {
                let loader = loader.at("downsamples").at(layers.len());
                layers.push(Down::Half(Downsample::load(&loader, width, halves_time)?));
            }
        }
        Ok(Self {
            stem: loader.at("conv1").conv([3, config.stem], ConvSpec::square(3).causal(3))?,
            layers,
            middle: Middle::load(&loader.at("middle"), channels)?,
            head: Head::load(&loader.at("head"), [channels, 2 * LATENT_CHANNELS])?,
        })
    }

    fn run(&self, pass: &mut Pass<'_>, pixels: &Tensor) -> scope_engine::Result<Tensor> {
        let wants = |index: usize| self.layers.get(index).map_or(self.middle.wants(), Down::wants);
        let mut x = wants(0).of_causal(pass, pixels, &self.stem, None)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = match layer {
                Down::Block(block) => block.run(pass, x, wants(index + 1))?,
                Down::Half(half) => half.run(pass, &x.x, wants(index + 1))?,
            };
        }
        let x = self.middle.run(pass, x, self.head.wants())?;
        self.head.run(pass, &x.x)
    }
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a few dozen of them, each before megabytes of weights")]
enum Up {
    Block(Residual),
    Double(Upsample),
}

impl Up {
    fn wants(&self) -> Wants<'_> {
        match self {
            Self::Block(block) => block.wants(),
            Self::Double(_) => Wants::Plain,
        }
    }
}

#[derive(Debug)]
struct Decoder {
    stem: Conv,
    middle: Middle,
    layers: Vec<Up>,
    head: Head,
}

impl Decoder {
    fn load(loader: &Loader<'_>, config: &WanVaeConfig) -> Result<Self, WeightError> {
        let deepest = config.levels.last().copied().unwrap_or(config.stem);
        let mut layers = Vec::new();
        let mut channels = deepest;
        for (level, &width) in config.levels.iter().enumerate().rev() {
            for _ in 0..=config.residual_blocks {
                let loader = loader.at("upsamples").at(layers.len());
                layers.push(Up::Block(Residual::load(&loader, [channels, width])?));
                channels = width;
            }
            if let Some(above) = level.checked_sub(1) {
                let loader = loader.at("upsamples").at(layers.len());
                let doubles_time = config.halves_time.get(above).copied().unwrap_or(false);
                layers.push(Up::Double(Upsample::load(&loader, width, doubles_time)?));
                channels = width / 2;
            }
        }
        Ok(Self {
            stem: loader.at("conv1").conv([LATENT_CHANNELS, deepest], ConvSpec::square(3).causal(3))?,
            middle: Middle::load(&loader.at("middle"), deepest)?,
            layers,
            head: Head::load(&loader.at("head"), [channels, 3])?,
        })
    }

    fn run(&self, pass: &mut Pass<'_>, latent: &Tensor) -> scope_engine::Result<Tensor> {
        let wants = |index: usize| self.layers.get(index).map_or(self.head.wants(), Up::wants);
        let x = self.middle.wants().of_causal(pass, latent, &self.stem, None)?;
        let mut x = self.middle.run(pass, x, wants(0))?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = match layer {
                Up::Block(block) => block.run(pass, x, wants(index + 1))?,
                Up::Double(double) => double.run(pass, x.x, wants(index + 1))?,
            };
        }
        self.head.run(pass, &x.x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_networks_have_their_published_numbers_of_tensors_and_weights() {
        let count = |config: WanVaeConfig| {
            let net = config.description();
            (net.tensors().len(), net.parameters())
        };
        assert_eq!(count(WanVaeConfig::full()), (194, 126_892_531));
        assert_eq!(count(WanVaeConfig::light()), (194, 8_035_003));
    }
}
