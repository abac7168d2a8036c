//! The tiny autoencoder for Wan2.1 latents (TAEHV, github.com/madebyollin/taehv, MIT), and LightTAE, the same network
//! trained for normalised latents.
//!
//! A 2-D network whose blocks also see what they saw one frame earlier. Frames are merged or multiplied by layers that
//! have neither bias nor activation, right before a convolution: each such pair is one convolution here.

use scope_engine::{
    Device, Tensor,
    ops::{self, Activation, Conv, ConvInput, ConvSpec, Enlarge, Weights, conv},
};

use super::{
    DecoderMemory, EncoderMemory, LatentScale, Parts, Statistics, VaeError, VideoAutoencoder, check, joined,
    memory::Pass,
};
use crate::{
    checkpoint::NetworkDescription,
    weights::{Loader, TensorSource, WeightError},
};

/// The network's sizes, and what its latents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaeConfig {
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Side of the squares of pixels that are one pixel of many channels to the network.
    pub patch: usize,
    /// Channels of the encoder's four resolutions, from the highest down.
    pub encoder_widths: [usize; 4],
    /// Blocks of the encoder's three lower resolutions.
    pub encoder_blocks: [usize; 3],
    /// Channels of the decoder's four resolutions, from the lowest up.
    pub decoder_widths: [usize; 4],
    /// Blocks of the decoder's three lower resolutions.
    pub decoder_blocks: [usize; 3],
    /// Does the network work on latents as Wan's encoder makes them? TAE has seen normalised ones instead.
    pub raw_latents: bool,
    /// The encoder's latents are normalised by `latents_mean` and `latents_std` beside the weights; the decoder takes
    /// normalised ones.
    pub own_statistics: bool,
    /// Does a stream open with one picture, as Wan's do? The first latent then stands for that one alone.
    pub single_opening: bool,
}

impl TaeConfig {
    /// TAE for Wan2.1.
    #[must_use]
    pub fn full() -> Self {
        Self {
            latent_channels: 16,
            patch: 1,
            encoder_widths: [64; 4],
            encoder_blocks: [3; 3],
            decoder_widths: [256, 128, 64, 64],
            decoder_blocks: [3; 3],
            raw_latents: false,
            own_statistics: false,
            single_opening: true,
        }
    }

    /// LightTAE: of the same size.
    #[must_use]
    pub fn light() -> Self {
        Self { raw_latents: true, ..Self::full() }
    }

    /// The network for Wan2.1 latents whose tensors these are: the published one, or one of other widths.
    ///
    /// # Errors
    /// [`WeightError`] when it lacks a convolution that tells.
    pub fn of(source: &dyn TensorSource) -> Result<Self, WeightError> {
        let width = |name: &str| source.extents::<4>(name).map(|[width, ..]| width);
        let encoder = |layer: usize| width(&format!("encoder.{layer}.weight"));
        let decoder = |layer: usize| width(&format!("decoder.{layer}.weight"));
        Ok(Self {
            encoder_widths: [encoder(0)?, encoder(3)?, encoder(8)?, encoder(13)?],
            decoder_widths: [decoder(1)?, decoder(8)?, decoder(14)?, decoder(20)?],
            ..Self::full()
        })
    }

    /// The tensors of the network for Wan2.1 latents.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let Self { latent_channels, encoder_widths, decoder_widths, encoder_blocks, decoder_blocks, .. } =
            *self;
        let mut net = NetworkDescription::new(format!(
            "a tiny autoencoder of {} and {} channels",
            encoder_widths[0], decoder_widths[0]
        ));
        let memory = |net: &mut NetworkDescription, first: usize, count: usize, width: usize| {
            for block in first..first + count {
                net.weight_and_bias(&format!("{block}.conv.0"), &[width, 2 * width, 3, 3]);
                net.weight_and_bias(&format!("{block}.conv.2"), &[width, width, 3, 3]);
                net.weight_and_bias(&format!("{block}.conv.4"), &[width, width, 3, 3]);
            }
        };
        net.scope("encoder", |net| {
            net.weight_and_bias("0", &[encoder_widths[0], self.pixel(), 3, 3]);
            let mut next = 2;
            for (stage, frames) in [2, 2, 1].into_iter().enumerate() {
                let [inputs, outputs] = [encoder_widths[stage], encoder_widths[stage + 1]];
                net.tensor(&format!("{next}.conv.weight"), &[inputs, frames * inputs, 1, 1]);
                net.tensor(&format!("{}.weight", next + 1), &[outputs, inputs, 3, 3]);
                memory(net, next + 2, encoder_blocks[stage], outputs);
                next += 2 + encoder_blocks[stage];
            }
            net.weight_and_bias(&next.to_string(), &[latent_channels, encoder_widths[3], 3, 3]);
        });
        net.scope("decoder", |net| {
            net.weight_and_bias("1", &[decoder_widths[0], latent_channels, 3, 3]);
            let mut next = 3;
            for (stage, frames) in [1, 2, 2].into_iter().enumerate() {
                let [inputs, outputs] = [decoder_widths[stage], decoder_widths[stage + 1]];
                memory(net, next, decoder_blocks[stage], inputs);
                next += decoder_blocks[stage] + 1;
                net.tensor_at_least(&format!("{next}.conv.weight"), &[frames * inputs, inputs, 1, 1]);
                net.tensor(&format!("{}.weight", next + 1), &[outputs, inputs, 3, 3]);
                next += 2;
            }
            net.weight_and_bias(&(next + 1).to_string(), &[self.pixel(), decoder_widths[3], 3, 3]);
        });
        net
    }

    /// Pixels of a latent's side.
    #[must_use]
    pub fn side(&self) -> usize {
        8 * self.patch
    }

    /// Channels of a pixel as the network sees it.
    fn pixel(&self) -> usize {
        3 * self.patch * self.patch
    }
}

/// Frames of a latent.
const GROUP: usize = 4;
/// Latents that are decoded at once where that is faster, at most: memory grows with them.
const MOST_AT_ONCE: usize = 4;

/// The weights.
#[derive(Debug)]
pub struct TinyAutoencoder {
    config: TaeConfig,
    encoder: Encoder,
    decoder: Decoder,
    /// Between the network's latents and those that are asked for.
    statistics: Statistics,
}

impl TinyAutoencoder {
    /// Builds the network from `encoder.*` and `decoder.*` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: TaeConfig) -> Result<Self, WeightError> {
        let statistics = if config.own_statistics {
            let channels = [config.latent_channels];
            let mean = loader.values("latents_mean", &channels)?;
            Statistics::new(loader.device(), &mean, &loader.values("latents_std", &channels)?)?
        } else {
            Statistics::wan(loader.device())?
        };
        Ok(Self {
            encoder: Encoder::load(&loader.at("encoder"), &config)?,
            decoder: Decoder::load(&loader.at("decoder"), &config)?,
            statistics,
            config,
        })
    }

    /// The network's sizes.
    #[must_use]
    pub fn config(&self) -> &TaeConfig {
        &self.config
    }
}

impl VideoAutoencoder for TinyAutoencoder {
    fn device(&self) -> Device {
        self.statistics.mean.device()
    }

    fn encode(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError> {
        const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];
        check("pixels", pixels, 3, self.config.side())?;
        let frames = pixels.dim(0);
        let mut latents = Parts::new();
        for start in (0..frames).step_by(GROUP) {
            let count = GROUP.min(frames - start);
            let mut group = pixels.narrow(start, count)?;
            if count < GROUP {
                let last = pixels.narrow(frames - 1, 1)?;
                let repeated = std::iter::repeat_n(&last, GROUP - count);
                group = Tensor::concat(&std::iter::once(&group).chain(repeated).collect::<Vec<_>>())?;
            }
            // The network's colours are between 0 and 1.
            let group = packed(ops::affine_clamped(group, 0.5, 0.5, UNBOUNDED)?, self.config.patch)?;
            latents.push(memory.pass(|pass| self.encoder.run(pass, &group))?);
        }
        let latents = joined(latents)?;
        let is_raw = self.config.raw_latents || self.config.own_statistics;
        match (is_raw, scale) {
            (true, LatentScale::Normalised) => Ok(self.statistics.normalise(latents)?),
            (false, LatentScale::Raw) => Ok(self.statistics.denormalise(latents)?),
            _ => Ok(latents),
        }
    }

    fn spatial_factor(&self) -> usize {
        self.config.side()
    }

    fn opening_pictures(&self) -> usize {
        usize::from(self.config.single_opening)
    }

    fn first_latent_pictures(&self) -> usize {
        GROUP
    }

    fn latents_at_once(&self) -> usize {
        MOST_AT_ONCE
    }

    fn decode_next(&self, memory: &mut DecoderMemory, latent: &Tensor) -> Result<Tensor, VaeError> {
        check("latents", latent, self.config.latent_channels, 1)?;
        let latent = if self.config.raw_latents {
            self.statistics.denormalise(latent.clone())?
        } else {
            latent.clone()
        };
        let frames = memory.pass(|pass| self.decoder.run(pass, latent))?;
        let frames = unpacked(frames, self.config.patch)?;
        Ok(ops::affine_clamped(frames, 2.0, -1.0, [-1.0, 1.0])?)
    }
}

/// Squares of `patch` pixels as single ones, their channels pixel by pixel.
fn packed(pixels: Tensor, patch: usize) -> scope_engine::Result<Tensor> {
    if patch == 1 {
        return Ok(pixels);
    }
    let (frames, height, width) = (pixels.dim(0), pixels.dim(1) / patch, pixels.dim(2) / patch);
    ops::patchify(&pixels, patch)?.reshape(&[frames, height, width, patch * patch * pixels.dim(3)])
}

/// The reverse of [`packed`].
fn unpacked(packed: Tensor, patch: usize) -> scope_engine::Result<Tensor> {
    if patch == 1 {
        return Ok(packed);
    }
    let (frames, height, width, squares) = (packed.dim(0), packed.dim(1), packed.dim(2), packed.dim(3));
    let tokens = packed.reshape(&[frames * height * width, squares])?;
    ops::unpatchify(&tokens, patch, [frames, patch * height, patch * width, squares / (patch * patch)])
}

/// The place in the checkpoint of the channel that is number `index` here: a checkpoint has the pixels of a square side by
/// side for each colour, here the colours of a pixel lie together.
fn packed_channel(index: usize, patch: usize) -> usize {
    let (pixel, colour) = (index / 3, index % 3);
    colour * patch * patch + pixel
}

/// Three convolutions over a frame, and the first of them over the frame before it too, beside the input itself.
#[derive(Debug)]
struct MemBlock([Conv; 3]);

impl MemBlock {
    fn load(loader: &Loader<'_>, width: usize) -> Result<Self, WeightError> {
        // The checkpoint puts the earlier frame's channels after those of the frame itself; here it is the first of
        // two frames under the kernel.
        let weight = loader.values("conv.0.weight", &[width, 2 * width, 3, 3])?;
        let (cells, _) = weight.as_chunks::<9>();
        let mut ordered = Vec::with_capacity(weight.len());
        for output in 0..width {
            for input in 0..width {
                let row = output * 2 * width + input;
                ordered.extend(cells[row + width]);
                ordered.extend(cells[row]);
            }
        }
        let square = ConvSpec::square(3);
        let bias = loader.values("conv.0.bias", &[width])?;
        Ok(Self([
            loader.conv_from(&ordered, [width; 2], square.causal(2), Some(&bias))?,
            loader.at("conv.2").conv([width; 2], square)?,
            loader.at("conv.4").conv([width; 2], square)?,
        ]))
    }

    /// The blocks `first..first + count`.
    fn load_row(
        loader: &Loader<'_>,
        first: usize,
        count: usize,
        width: usize,
    ) -> Result<Vec<Self>, WeightError> {
        (first..first + count).map(|index| Self::load(&loader.at(index), width)).collect()
    }

    fn run(&self, pass: &mut Pass<'_>, x: &Tensor) -> scope_engine::Result<Tensor> {
        let [first, second, third] = &self.0;
        let activation = Activation::Relu;
        let hidden = pass.conv(x, first, None, activation)?;
        let hidden = conv(&hidden, second, &ConvInput { activation, ..ConvInput::default() })?;
        conv(&hidden, third, &ConvInput { residual: Some(x), activation, ..ConvInput::default() })
    }
}

fn run_row(blocks: &[MemBlock], pass: &mut Pass<'_>, mut x: Tensor) -> scope_engine::Result<Tensor> {
    for block in blocks {
        x = block.run(pass, &x)?;
    }
    Ok(x)
}

#[derive(Debug)]
struct Encoder {
    stem: Conv,
    stages: Vec<(Conv, Vec<MemBlock>)>,
    head: Conv,
}

impl Encoder {
    fn load(loader: &Loader<'_>, config: &TaeConfig) -> Result<Self, WeightError> {
        let widths = config.encoder_widths;
        let mut stages = Vec::with_capacity(3);
        let mut next = 2;
        for (stage, frames) in [2, 2, 1].into_iter().enumerate() {
            let pool = pooled(loader, next, [widths[stage], widths[stage + 1]], frames)?;
            let count = config.encoder_blocks[stage];
            stages.push((pool, MemBlock::load_row(loader, next + 2, count, widths[stage + 1])?));
            next += 2 + count;
        }
        let square = ConvSpec::square(3);
        Ok(Self {
            stem: stem(&loader.at(0), config, square)?,
            stages,
            head: loader.at(next).conv([widths[3], config.latent_channels], square)?,
        })
    }

    fn run(&self, pass: &mut Pass<'_>, pixels: &Tensor) -> scope_engine::Result<Tensor> {
        let activation = Activation::Relu;
        let mut x = conv(pixels, &self.stem, &ConvInput { activation, ..ConvInput::default() })?;
        for (pool, blocks) in &self.stages {
            x = run_row(blocks, pass, conv(&x, pool, &ConvInput::default())?)?;
        }
        conv(&x, &self.head, &ConvInput::default())
    }
}

#[derive(Debug)]
struct Decoder {
    stem: Conv,
    stages: Vec<(Vec<MemBlock>, Conv)>,
    head: Conv,
    single_opening: bool,
}

impl Decoder {
    fn load(loader: &Loader<'_>, config: &TaeConfig) -> Result<Self, WeightError> {
        let widths = config.decoder_widths;
        let mut stages = Vec::with_capacity(3);
        let mut next = 3;
        for (stage, frames) in [1, 2, 2].into_iter().enumerate() {
            let count = config.decoder_blocks[stage];
            let blocks = MemBlock::load_row(loader, next, count, widths[stage])?;
            stages
                .push((blocks, grown(loader, next + count + 1, [widths[stage], widths[stage + 1]], frames)?));
            next += count + 3;
        }
        let square = ConvSpec::square(3);
        Ok(Self {
            stem: loader.at(1).conv([config.latent_channels, widths[0]], square)?,
            stages,
            // Behind an activation.
            head: head(&loader.at(next + 1), config, square)?,
            single_opening: config.single_opening,
        })
    }

    fn run(&self, pass: &mut Pass<'_>, latent: Tensor) -> scope_engine::Result<Tensor> {
        let limited = ops::activate(ops::scale(latent, 1.0 / 3.0)?, Activation::Tanh)?;
        let relu = ConvInput { activation: Activation::Relu, ..ConvInput::default() };
        let mut x = conv(&ops::scale(limited, 3.0)?, &self.stem, &relu)?;
        let last = self.stages.len() - 1;
        let trims = self.single_opening && pass.first;
        for (index, (blocks, grow)) in self.stages.iter().enumerate() {
            x = run_row(blocks, pass, x)?;
            if index < last {
                x = conv(&x, grow, &ConvInput::default())?;
                continue;
            }
            // Of a stream's first four frames only the last is shown: the others lie before its beginning.
            if trims {
                x = x.narrow(1, x.dim(0) - 1)?;
            }
            x = conv(&x, grow, &relu)?;
            if trims {
                x = x.narrow(1, x.dim(0) - 1)?;
            }
        }
        conv(&x, &self.head, &ConvInput::default())
    }
}

/// The first layer of an encoder.
fn stem(loader: &Loader<'_>, config: &TaeConfig, square: ConvSpec) -> Result<Conv, WeightError> {
    let channels = [config.pixel(), config.encoder_widths[0]];
    let weight = loader.conv_weight(channels, &square)?;
    let (cells, _) = weight.as_chunks::<9>();
    let mut ordered = Vec::with_capacity(weight.len());
    for row in cells.chunks_exact(config.pixel()) {
        ordered.extend((0..config.pixel()).flat_map(|input| row[packed_channel(input, config.patch)]));
    }
    let bias = loader.values("bias", &[channels[1]])?;
    loader.conv_from(&ordered, channels, square, Some(&bias))
}

/// The last layer of a decoder.
fn head(loader: &Loader<'_>, config: &TaeConfig, square: ConvSpec) -> Result<Conv, WeightError> {
    let channels = [config.decoder_widths[3], config.pixel()];
    let weight = loader.conv_weight(channels, &square)?;
    let bias = loader.values("bias", &[channels[1]])?;
    let row = 9 * channels[0];
    let places = || (0..config.pixel()).map(|output| packed_channel(output, config.patch));
    let ordered: Vec<f32> = places().flat_map(|place| &weight[place * row..][..row]).copied().collect();
    let bias: Vec<f32> = places().map(|place| bias[place]).collect();
    loader.conv_from(&ordered, channels, square, Some(&bias))
}

/// Layer `index`, which mixes `frames` frames into one, and layer `index + 1`, a convolution with stride 2.
fn pooled(
    loader: &Loader<'_>,
    index: usize,
    [inputs, outputs]: [usize; 2],
    frames: usize,
) -> Result<Conv, WeightError> {
    let mix = loader.values(&format!("{index}.conv.weight"), &[inputs, frames * inputs, 1, 1])?;
    let (kernel, bias) = kernel(&loader.at(index + 1), [inputs, outputs])?;
    // `[out, frame, in]` to `[out, in, frame]`.
    let product = product(&kernel, inputs, &mix, frames * inputs);
    let mut ordered = Vec::with_capacity(product.len() * 9);
    for output in product.chunks_exact(frames * inputs) {
        for input in 0..inputs {
            ordered.extend(output.iter().skip(input).step_by(inputs).flatten());
        }
    }
    let spec = ConvSpec::square(3).strided(2).pooling(frames);
    let channels = [inputs, outputs];
    Ok(Conv::new(loader.device(), Weights::F32(&ordered), channels, spec, bias.as_deref())?)
}

/// Layer `index`, which makes `frames` frames of one, and layer `index + 1`, a convolution over doubled pixels.
fn grown(
    loader: &Loader<'_>,
    index: usize,
    [inputs, outputs]: [usize; 2],
    frames: usize,
) -> Result<Conv, WeightError> {
    let name = format!("{index}.conv.weight");
    // Checkpoints may hold rows for more frames: the last ones count.
    let rows = loader.shape(&name)?.first().copied().unwrap_or(0).max(frames * inputs);
    let grow = loader.values(&name, &[rows, inputs, 1, 1])?;
    let grow = &grow[(rows - frames * inputs) * inputs..];
    let (kernel, bias) = kernel(&loader.at(index + 1), [inputs, outputs])?;
    let mut ordered = Vec::with_capacity(frames * outputs * inputs * 9);
    for grow in grow.chunks_exact(inputs * inputs) {
        ordered.extend(product(&kernel, inputs, grow, inputs).into_iter().flatten());
    }
    let spec = ConvSpec::square(3).enlarged(Enlarge::Nearest2).growing(frames);
    let channels = [inputs, frames * outputs];
    let bias = bias.map(|bias| bias.repeat(frames));
    Ok(Conv::new(loader.device(), Weights::F32(&ordered), channels, spec, bias.as_deref())?)
}

/// The values of a 3×3 convolution, and its bias if it has one.
fn kernel(
    loader: &Loader<'_>,
    [inputs, outputs]: [usize; 2],
) -> Result<(Vec<f32>, Option<Vec<f32>>), WeightError> {
    let bias = loader.has("bias").then(|| loader.values("bias", &[outputs])).transpose()?;
    Ok((loader.values("weight", &[outputs, inputs, 3, 3])?, bias))
}

/// The kernels `[out, in]` of a 3×3 convolution `[out, middle]` behind a pointwise one `[middle, in]`.
fn product(kernel: &[f32], middle: usize, pointwise: &[f32], inputs: usize) -> Vec<[f32; 9]> {
    let (cells, _) = kernel.as_chunks::<9>();
    let mut out = Vec::with_capacity(cells.len() / middle.max(1) * inputs);
    let mut sums = vec![[0.0f64; 9]; inputs];
    for cells in cells.chunks_exact(middle) {
        sums.fill([0.0; 9]);
        for (cell, row) in cells.iter().zip(pointwise.chunks_exact(inputs)) {
            for (sums, &weight) in sums.iter_mut().zip(row) {
                for (sum, &element) in sums.iter_mut().zip(cell) {
                    *sum += f64::from(element) * f64::from(weight);
                }
            }
        }
        out.extend(sums.iter().map(|sums| sums.map(|sum| sum as f32)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::RandomWeights;

    #[test]
    fn the_published_network_has_its_published_number_of_tensors_and_weights() {
        let net = TaeConfig::full().description();
        assert_eq!((net.tensors().len(), net.parameters()), (128, 11_315_539));
        assert_eq!(TaeConfig::of(&RandomWeights::new(&[&net], 0)).unwrap(), TaeConfig::full());
    }

    #[test]
    fn models_get_the_latents_that_they_know_from_either_network() {
        let device = scope_engine::Device::from(scope_engine::Cpu::new(None).unwrap());
        let pixels = Tensor::from_fn(&device, &[1, 16, 16, 3], |values| {
            values.iter_mut().enumerate().for_each(|(i, value)| *value = (i as f32 * 0.37).sin());
        })
        .unwrap();
        for raw_latents in [false, true] {
            let config = TaeConfig {
                encoder_widths: [8; 4],
                decoder_widths: [16, 8, 8, 8],
                raw_latents,
                ..TaeConfig::full()
            };
            let weights = RandomWeights::new(&[&config.description()], 1);
            let loader = Loader::new(&weights, &device, crate::weights::Precision::F32);
            let vae = TinyAutoencoder::load(&loader, config).unwrap();
            let encode = |scale| vae.encode(&mut EncoderMemory::default(), &pixels, scale).unwrap();
            let (raw, normalised) = (encode(LatentScale::Raw), encode(LatentScale::Normalised));
            let statistics = Statistics::wan(&device).unwrap();
            let expected = statistics.normalise(raw).unwrap();
            for (found, expected) in normalised.to_vec().iter().zip(expected.to_vec()) {
                assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
            }
        }
    }

    #[test]
    fn latents_together_become_the_pictures_of_single_ones() {
        let device = Device::from(scope_engine::Cpu::new(None).unwrap());
        for single_opening in [false, true] {
            let config = TaeConfig {
                encoder_widths: [8; 4],
                decoder_widths: [16, 8, 8, 8],
                single_opening,
                ..TaeConfig::full()
            };
            let weights = RandomWeights::new(&[&config.description()], 1);
            let loader = Loader::new(&weights, &device, crate::weights::Precision::F32);
            let vae = TinyAutoencoder::load(&loader, config).unwrap();
            let latents = Tensor::from_fn(&device, &[7, 2, 3, 16], |values| {
                values.iter_mut().enumerate().for_each(|(i, value)| *value = (i as f32 * 0.37).sin());
            })
            .unwrap();
            let expected = vae.decode_once(&latents).unwrap();
            let mut memory = DecoderMemory::default();
            let parts = [(0, 3), (3, 1), (4, 3)].map(|(first, count)| {
                vae.decode_next(&mut memory, &latents.narrow(first, count).unwrap()).unwrap()
            });
            let together = Tensor::concat(&parts.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(together.shape(), expected.shape());
            assert_eq!(together.to_vec(), expected.to_vec());
        }
    }
}
