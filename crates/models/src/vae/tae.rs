//! The tiny autoencoder for Wan2.1 latents (TAEHV, github.com/madebyollin/taehv, MIT), and LightTAE, the same network
//! trained for normalised latents.
//!
//! A 2-D network whose blocks also see what they saw one frame earlier. Frames are merged or multiplied by layers that
//! have neither bias nor activation, right before a convolution without bias: each such pair is one convolution here.

use scope_engine::{
    Tensor,
    ops::{self, Activation, Conv, ConvInput, ConvSpec, Enlarge, Weights, conv},
};

use super::{
    DecoderMemory, EncoderMemory, LatentScale, Statistics, VaeError, VideoAutoencoder, check, joined,
    memory::Pass,
};
use crate::weights::{Loader, WeightError};

/// The network's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaeConfig {
    /// Channels of the encoder.
    pub encoder_width: usize,
    /// Channels of the decoder's four resolutions, from the lowest up.
    pub decoder_widths: [usize; 4],
    /// Does the network work on latents as Wan's encoder makes them? TAE has seen normalised ones instead.
    pub raw_latents: bool,
}

impl TaeConfig {
    /// TAE for Wan2.1.
    #[must_use]
    pub fn full() -> Self {
        Self { encoder_width: 64, decoder_widths: [256, 128, 64, 64], raw_latents: false }
    }

    /// LightTAE: of the same size.
    #[must_use]
    pub fn light() -> Self {
        Self { raw_latents: true, ..Self::full() }
    }
}

/// Channels of a latent.
const LATENT_CHANNELS: usize = 16;
/// Frames of a latent.
const GROUP: usize = 4;
/// Pixels of a latent's side.
const SIDE: usize = 8;
/// Blocks in a row.
const BLOCKS: usize = 3;

/// The weights.
#[derive(Debug)]
pub struct TinyAutoencoder {
    encoder: Encoder,
    decoder: Decoder,
    /// Where the network works on latents that are not normalised.
    statistics: Option<Statistics>,
}

impl TinyAutoencoder {
    /// Builds the network from `encoder.*` and `decoder.*` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: TaeConfig) -> Result<Self, WeightError> {
        let statistics = if config.raw_latents { Some(Statistics::new(loader.device())?) } else { None };
        Ok(Self {
            encoder: Encoder::load(&loader.at("encoder"), config.encoder_width)?,
            decoder: Decoder::load(&loader.at("decoder"), config.decoder_widths)?,
            statistics,
        })
    }
}

impl VideoAutoencoder for TinyAutoencoder {
    fn encode(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError> {
        const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];
        check("pixels", pixels, 3, SIDE)?;
        let frames = pixels.dim(0);
        let mut latents = Vec::with_capacity(frames.div_ceil(GROUP));
        for start in (0..frames).step_by(GROUP) {
            let count = GROUP.min(frames - start);
            let mut group = pixels.narrow(start, count)?;
            if count < GROUP {
                let last = pixels.narrow(frames - 1, 1)?;
                let repeated = std::iter::repeat_n(&last, GROUP - count);
                group = Tensor::concat(&std::iter::once(&group).chain(repeated).collect::<Vec<_>>())?;
            }
            // The network's colours are between 0 and 1.
            let group = ops::affine_clamped(group, 0.5, 0.5, UNBOUNDED)?;
            latents.push(memory.pass(|pass| self.encoder.run(pass, &group))?);
        }
        let latents = joined(latents)?;
        match (&self.statistics, scale) {
            (Some(statistics), LatentScale::Normalised) => Ok(statistics.normalise(latents)?),
            // TAE has learnt normalised latents: it knows no others.
            _ => Ok(latents),
        }
    }

    fn spatial_factor(&self) -> usize {
        SIDE
    }

    fn opening_pictures(&self) -> usize {
        1
    }

    fn first_latent_pictures(&self) -> usize {
        GROUP
    }

    fn decode_next(&self, memory: &mut DecoderMemory, latent: &Tensor) -> Result<Tensor, VaeError> {
        check("latents", latent, LATENT_CHANNELS, 1)?;
        if latent.dim(0) != 1 {
            let (found, expected) = (latent.dim(0).to_string(), "one at a time".to_owned());
            return Err(VaeError::Input { what: "latent frames", found, expected });
        }
        let latent = match &self.statistics {
            None => latent.clone(),
            Some(statistics) => statistics.denormalise(latent.clone())?,
        };
        let frames = memory.pass(|pass| self.decoder.run(pass, latent))?;
        Ok(ops::affine_clamped(frames, 2.0, -1.0, [-1.0, 1.0])?)
    }
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

    fn load_row(loader: &Loader<'_>, first: usize, width: usize) -> Result<[Self; BLOCKS], WeightError> {
        Ok([
            Self::load(&loader.at(first), width)?,
            Self::load(&loader.at(first + 1), width)?,
            Self::load(&loader.at(first + 2), width)?,
        ])
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
    stages: [(Conv, [MemBlock; BLOCKS]); 3],
    head: Conv,
}

impl Encoder {
    fn load(loader: &Loader<'_>, width: usize) -> Result<Self, WeightError> {
        let stage = |first: usize, frames: usize| {
            Ok::<_, WeightError>((
                pooled(loader, first, width, frames)?,
                MemBlock::load_row(loader, first + 2, width)?,
            ))
        };
        Ok(Self {
            stem: loader.at(0).conv([3, width], ConvSpec::square(3))?,
            stages: [stage(2, 2)?, stage(7, 2)?, stage(12, 1)?],
            head: loader.at(17).conv([width, LATENT_CHANNELS], ConvSpec::square(3))?,
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
    stages: [([MemBlock; BLOCKS], Conv); 3],
    head: Conv,
}

impl Decoder {
    fn load(loader: &Loader<'_>, widths: [usize; 4]) -> Result<Self, WeightError> {
        let stage = |first: usize, width: usize, outputs: usize, frames: usize| {
            Ok::<_, WeightError>((
                MemBlock::load_row(loader, first, width)?,
                grown(loader, first + 4, [width, outputs], frames)?,
            ))
        };
        let square = ConvSpec::square(3);
        Ok(Self {
            stem: loader.at(1).conv([LATENT_CHANNELS, widths[0]], square)?,
            stages: [
                stage(3, widths[0], widths[1], 1)?,
                stage(9, widths[1], widths[2], 2)?,
                stage(15, widths[2], widths[3], 2)?,
            ],
            head: loader.at(22).conv([widths[3], 3], square)?,
        })
    }

    fn run(&self, pass: &mut Pass<'_>, latent: Tensor) -> scope_engine::Result<Tensor> {
        let limited = ops::activate(ops::scale(latent, 1.0 / 3.0)?, Activation::Tanh)?;
        let relu = ConvInput { activation: Activation::Relu, ..ConvInput::default() };
        let mut x = conv(&ops::scale(limited, 3.0)?, &self.stem, &relu)?;
        let last = self.stages.len() - 1;
        for (index, (blocks, grow)) in self.stages.iter().enumerate() {
            x = run_row(blocks, pass, x)?;
            if index < last {
                x = conv(&x, grow, &ConvInput::default())?;
                continue;
            }
            // Of a stream's first four frames only the last is shown: the others lie before its beginning.
            if pass.first {
                x = x.narrow(x.dim(0) - 1, 1)?;
            }
            x = conv(&x, grow, &relu)?;
            if pass.first {
                x = x.narrow(x.dim(0) - 1, 1)?;
            }
        }
        conv(&x, &self.head, &ConvInput::default())
    }
}

/// Layer `index`, which mixes `frames` frames into one, and layer `index + 1`, a convolution with stride 2.
fn pooled(loader: &Loader<'_>, index: usize, width: usize, frames: usize) -> Result<Conv, WeightError> {
    let mix = loader.values(&format!("{index}.conv.weight"), &[width, frames * width, 1, 1])?;
    let kernel = loader.values(&format!("{}.weight", index + 1), &[width, width, 3, 3])?;
    // `[out, frame, in]` to `[out, in, frame]`.
    let product = product(&kernel, width, &mix, frames * width);
    let mut ordered = Vec::with_capacity(product.len() * 9);
    for output in product.chunks_exact(frames * width) {
        for input in 0..width {
            ordered.extend(output.iter().skip(input).step_by(width).flatten());
        }
    }
    let spec = ConvSpec::square(3).strided(2).pooling(frames);
    Ok(Conv::new(loader.device(), Weights::F32(&ordered), [width; 2], spec, None)?)
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
    let kernel = loader.values(&format!("{}.weight", index + 1), &[outputs, inputs, 3, 3])?;
    let mut ordered = Vec::with_capacity(frames * outputs * inputs * 9);
    for grow in grow.chunks_exact(inputs * inputs) {
        ordered.extend(product(&kernel, inputs, grow, inputs).into_iter().flatten());
    }
    let spec = ConvSpec::square(3).enlarged(Enlarge::Nearest2).growing(frames);
    let channels = [inputs, frames * outputs];
    Ok(Conv::new(loader.device(), Weights::F32(&ordered), channels, spec, None)?)
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
