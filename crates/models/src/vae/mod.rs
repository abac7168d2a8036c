//! Video autoencoders: between pixels and latents, as endless streams.
//!
//! Weights are shared ([`VideoAutoencoder`] behind an `Arc`); what a stream remembers of its past lies in an
//! [`EncoderMemory`] or a [`DecoderMemory`] of its own, so that one autoencoder serves any number of streams. Pixels are
//! `[frames, height, width, 3]` in -1..1, latents `[frames, height / 8, width / 8, 16]`; the pocket model's autoencoder
//! has 48 channels for every 16 pixels.

mod memory;
mod tae;
mod wan;

use scope_engine::{Device, Tensor, ops};
use smallvec::SmallVec;

pub use memory::{DecoderMemory, EncoderMemory};
pub use tae::{TaeConfig, TinyAutoencoder};
pub use wan::{WanAutoencoder, WanVaeConfig};

/// Mean of each latent channel of Wan2.1's autoencoder.
pub const LATENT_MEAN: [f32; 16] = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
    -0.1922, -0.9497, 0.2503, -0.2921,
];

/// Standard deviation of each latent channel of Wan2.1's autoencoder.
pub const LATENT_DEVIATION: [f32; 16] = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382,
    1.1253, 2.8251, 1.9160,
];

/// What encoded latents look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatentScale {
    /// Zero mean and unit deviation in each channel, as diffusion models expect them.
    #[default]
    Normalised,
    /// As the encoder makes them. StreamDiffusionV2 was trained to start from these.
    Raw,
}

/// Why pixels or latents were refused. The stream has forgotten its past and starts again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaeError {
    /// An input has another size than the autoencoder or the place in the stream needs.
    #[error("{what} are {found}, the autoencoder needs {expected}")]
    Input {
        /// Which input.
        what: &'static str,
        /// Its shape.
        found: String,
        /// What fits.
        expected: String,
    },
    /// The engine refused an operator, or an input does not continue the stream.
    #[error("{0}")]
    Engine(#[from] scope_engine::Error),
}

/// An autoencoder's weights.
pub trait VideoAutoencoder: std::fmt::Debug + Send + Sync {
    /// Where it runs: pixels, latents and memories are there.
    fn device(&self) -> Device;

    /// Encodes further frames of a stream. The Wan autoencoder takes one frame and then groups of four, the tiny one
    /// groups of four of which the last is completed by repeating its last frame.
    ///
    /// # Errors
    /// [`VaeError::Input`] for pixels of another shape or number; [`VaeError::Engine`] when they are of another size
    /// than the stream before.
    fn encode(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError>;

    /// Encodes frames of any number in one pass, as the reference does: those that complete no latent are remembered,
    /// where they lie after the first frame of a stream, or left out.
    ///
    /// # Errors
    /// As [`VideoAutoencoder::encode`].
    fn encode_uneven(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError> {
        self.encode(memory, pixels, scale)
    }

    /// Pixels of a latent's side.
    fn spatial_factor(&self) -> usize;

    /// Pictures that open a stream besides four for each latent of a chunk.
    fn opening_pictures(&self) -> usize;

    /// Pictures of the first latent of a clip by itself.
    fn first_latent_pictures(&self) -> usize;

    /// How many latents [`VideoAutoencoder::decode_next`] takes. More than one at a time are faster on devices whose operators
    /// return early, where the layers are small; elsewhere the first pictures come sooner from single ones.
    fn latents_at_once(&self) -> usize {
        1
    }

    /// Decodes the next latents of a stream, `[latents, height, width, channels]`, to one frame for the first of a stream of an
    /// autoencoder with an opening picture and to four for every other. Pixels are between -1 and 1.
    ///
    /// # Errors
    /// [`VaeError::Input`] for latents of another shape or number; [`VaeError::Engine`] when they are of another size than
    /// the stream before.
    fn decode_next(&self, memory: &mut DecoderMemory, latent: &Tensor) -> Result<Tensor, VaeError>;

    /// Decodes further latents of a stream, one after the other.
    ///
    /// # Errors
    /// As [`VideoAutoencoder::decode_next`], and [`VaeError::Engine`] without any latent.
    fn decode(&self, memory: &mut DecoderMemory, latents: &Tensor) -> Result<Tensor, VaeError> {
        let mut frames = Parts::new();
        for index in 0..latents.dim(0) {
            frames.push(self.decode_next(memory, &latents.narrow(index, 1)?)?);
        }
        joined(frames)
    }

    /// Encodes frames that are no part of a stream.
    ///
    /// # Errors
    /// As [`VideoAutoencoder::encode`].
    fn encode_once(&self, pixels: &Tensor, scale: LatentScale) -> Result<Tensor, VaeError> {
        self.encode(&mut EncoderMemory::default(), pixels, scale)
    }

    /// Decodes latents that are no part of a stream.
    ///
    /// # Errors
    /// As [`VideoAutoencoder::decode`].
    fn decode_once(&self, latents: &Tensor) -> Result<Tensor, VaeError> {
        self.decode(&mut DecoderMemory::default(), latents)
    }
}

/// Tensors to be joined; the few of a chunk stay off the heap.
type Parts = SmallVec<[Tensor; 4]>;

/// One after the other; a single one without a copy.
fn joined(mut parts: Parts) -> Result<Tensor, VaeError> {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            parts.extend(last);
            Ok(Tensor::concat(&parts.iter().collect::<SmallVec<[&Tensor; 4]>>())?)
        }
    }
}

/// Refuses anything but pictures `[frames, height, width, channels]` of a size that is a multiple of `multiple`.
fn check(what: &'static str, x: &Tensor, channels: usize, multiple: usize) -> Result<(), VaeError> {
    let shape = x.shape();
    let fits = shape.len() == 4
        && shape[3] == channels
        && shape[..3].iter().all(|&dim| dim > 0)
        && shape[1..3].iter().all(|dim| dim.is_multiple_of(multiple));
    if fits {
        return Ok(());
    }
    let sizes =
        if multiple > 1 { format!(", height and width multiples of {multiple}") } else { String::new() };
    let expected = format!("[frames, height, width, {channels}]{sizes}");
    Err(VaeError::Input { what, found: shape.to_string(), expected })
}

/// The statistics of latents as tensors: `z = (raw - mean) / deviation`.
#[derive(Clone, Debug)]
struct Statistics {
    minus_mean: Tensor,
    mean: Tensor,
    deviation: Tensor,
    per_deviation: Tensor,
}

impl Statistics {
    /// Those of Wan2.1's autoencoder.
    fn wan(device: &Device) -> scope_engine::Result<Self> {
        Self::new(device, &LATENT_MEAN, &LATENT_DEVIATION)
    }

    fn new(device: &Device, mean: &[f32], deviation: &[f32]) -> scope_engine::Result<Self> {
        let vector = |values: &mut dyn Iterator<Item = f32>| {
            let values: Vec<f32> = values.collect();
            Tensor::from_f32(device, &[values.len()], &values)
        };
        Ok(Self {
            minus_mean: vector(&mut mean.iter().map(|mean| -mean))?,
            mean: vector(&mut mean.iter().copied())?,
            deviation: vector(&mut deviation.iter().copied())?,
            per_deviation: vector(&mut deviation.iter().map(|deviation| 1.0 / deviation))?,
        })
    }

    fn normalise(&self, raw: Tensor) -> scope_engine::Result<Tensor> {
        ops::multiply(ops::add(raw, &self.minus_mean)?, &self.per_deviation)
    }

    fn denormalise(&self, latents: Tensor) -> scope_engine::Result<Tensor> {
        ops::add(ops::multiply(latents, &self.deviation)?, &self.mean)
    }
}
