//! Control signals for VACE (Jiang et al. 2025): pictures and masks become the 96-channel context of a chunk.
//!
//! A context has, for every latent pixel, 16 channels of what stays (*inactive*), 16 of what is generated anew
//! (*reactive*) and the 64 mask pixels that it covers. Control video is all reactive; inpainting is split by its mask;
//! a picture to start from or to arrive at is inactive.

use scope_engine::{Tensor, ops};

use crate::{
    quirks::Quirks,
    vae::{DecoderMemory, EncoderMemory, LatentScale, VaeError, VideoAutoencoder},
    wan::VaceContext,
};

/// Latent pixels are this many pixels wide and high.
const LATENT_PIXELS: usize = 8;
/// Pictures of a latent frame.
const LATENT_FRAMES: usize = 4;
const LATENT_CHANNELS: usize = 16;
const MASK_CHANNELS: usize = LATENT_PIXELS * LATENT_PIXELS;

/// Which of an encoder's independent streams a clip continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlStream {
    /// What stays.
    Inactive,
    /// What is generated anew.
    Reactive,
    /// What stays around the pictures of an extension, where there is no control video.
    Extension,
}

/// An autoencoder, as control signals need it. Pixels are `[frames, height, width, 3]` in [-1, 1], latents `[frames,
/// height / 8, width / 8, 16]`.
pub trait ControlEncoder {
    /// What can go wrong besides the engine's refusals.
    type Error: From<scope_engine::Error>;

    /// Encodes a clip that continues a stream.
    ///
    /// # Errors
    /// When the pictures don't fit the autoencoder.
    fn continue_stream(&mut self, stream: ControlStream, pixels: &Tensor) -> Result<Tensor, Self::Error>;

    /// Encodes a clip by itself.
    ///
    /// # Errors
    /// When the pictures don't fit the autoencoder.
    fn encode_once(&mut self, pixels: &Tensor) -> Result<Tensor, Self::Error>;

    /// Pictures of the first latent frame of a clip by itself: 1 for causal autoencoders, 4 for others.
    fn first_pictures(&self) -> usize;
}

/// What to control a chunk with. Pictures are `[frames, height, width, 3]` in [-1, 1] at the size of the video, masks `[frames,
/// height, width, 1]` where white (above 0.5) is generated anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control<'a> {
    /// A control video, or a video to inpaint.
    pub frames: Option<&'a Tensor>,
    /// What of it is generated anew; everything without a mask.
    pub masks: Option<&'a Tensor>,
    /// Pictures of things to show, one frame each.
    pub references: &'a [Tensor],
    /// A picture to start from, one frame.
    pub first: Option<&'a Tensor>,
    /// A picture to arrive at, one frame.
    pub last: Option<&'a Tensor>,
}

impl Control<'_> {
    /// The context of a chunk of `chunk_frames` latent frames, or `None` without any control. Pictures to start from or to
    /// arrive at come before a control video, and that before reference pictures alone.
    ///
    /// # Errors
    /// When pictures and masks don't fit each other or the autoencoder.
    pub fn context<E: ControlEncoder>(
        &self,
        encoder: &mut E,
        chunk_frames: usize,
        quirks: Quirks,
    ) -> Result<Option<VaceContext>, E::Error> {
        let context = if self.first.is_some() || self.last.is_some() {
            self.extension(encoder, chunk_frames, quirks)?
        } else if let Some(frames) = self.frames {
            self.video(encoder, frames, quirks)?
        } else if !self.references.is_empty() {
            references(encoder, self.references, quirks)?
        } else {
            return Ok(None);
        };
        Ok(Some(VaceContext(context)))
    }

    fn video<E: ControlEncoder>(
        &self,
        encoder: &mut E,
        frames: &Tensor,
        quirks: Quirks,
    ) -> Result<Tensor, E::Error> {
        let white = ones(frames)?;
        let mask = self.masks.unwrap_or(&white);
        let all_white = self.masks.is_none_or(|mask| mask.to_vec().iter().all(|&value| value > 0.5));
        let kept = ops::masked(frames.clone(), mask, false)?;
        let changed = ops::masked(frames.clone(), mask, true)?;
        let inactive = encoder.continue_stream(ControlStream::Inactive, &kept)?;
        let reactive = if all_white || !quirks.mixed_control {
            encoder.continue_stream(ControlStream::Reactive, &changed)?
        } else {
            encoder.encode_once(&changed)?
        };
        let mask = mask_latents(mask, inactive.dim(0))?;
        let Some(reference) = self.references.first() else { return join(&inactive, &reactive, &mask) };
        // A reference stands before the video, with nothing to generate anew.
        let reference = encoder.encode_once(reference)?;
        let nothing =
            |channels| Tensor::zeros(&frames.device(), &[1, inactive.dim(1), inactive.dim(2), channels]);
        let reference = reference.narrow(0, 1)?;
        let context = join(&inactive, &reactive, &mask)?;
        let before =
            ops::concat_channels(&[&reference, &nothing(LATENT_CHANNELS)?, &nothing(MASK_CHANNELS)?])?;
        Ok(Tensor::concat(&[&before, &context])?)
    }

    fn extension<E: ControlEncoder>(
        &self,
        encoder: &mut E,
        chunk_frames: usize,
        quirks: Quirks,
    ) -> Result<Tensor, E::Error> {
        let Some(picture) = self.first.or(self.last) else {
            return Err(scope_engine::Error::Shape { op: "control", detail: "no picture".to_owned() }.into());
        };
        let (height, width) = (picture.dim(1), picture.dim(2));
        // A causal autoencoder's first latent is one picture; counting it as four shifts every later one.
        let opening = if quirks.mixed_control { LATENT_FRAMES } else { encoder.first_pictures() };
        let count = opening + LATENT_FRAMES * chunk_frames.saturating_sub(1);
        let device = picture.device();
        let mut frames = match self.frames {
            Some(frames) => stretch(frames, count)?,
            None => Tensor::zeros(&device, &[count, height, width, 3])?,
        };
        let mut mask = match self.masks {
            Some(masks) => stretch(masks, count)?,
            None => ones(&frames)?,
        };
        let mut place = |picture: &Tensor, start: usize, len: usize| {
            let group = repeat(picture, len)?;
            let pixels = match self.masks {
                None => group,
                Some(_) => {
                    let mask = mask.narrow(start, len)?;
                    let old = ops::masked(frames.narrow(start, len)?, &mask, false)?;
                    ops::add(ops::masked(group, &mask, true)?, &old)?
                }
            };
            frames.write(start, &pixels)?;
            mask.write(start, &Tensor::zeros(&device, &[len, height, width, 1])?)
        };
        if let Some(first) = self.first {
            place(first, 0, opening.min(count))?;
        }
        if let Some(last) = self.last {
            let len = if chunk_frames > 1 { LATENT_FRAMES } else { opening }.min(count);
            place(last, count - len, len)?;
        }
        let kept = ops::masked(frames.clone(), &mask, false)?;
        let changed = ops::masked(frames, &mask, true)?;
        let inactive = match (quirks.mixed_control, self.frames) {
            (false, _) => encoder.encode_once(&kept)?,
            (true, Some(_)) => encoder.continue_stream(ControlStream::Inactive, &kept)?,
            (true, None) => encoder.continue_stream(ControlStream::Extension, &kept)?,
        };
        let reactive = encoder.encode_once(&changed)?;
        let latents = inactive.dim(0).min(reactive.dim(0));
        join(&inactive.narrow(0, latents)?, &reactive.narrow(0, latents)?, &mask_latents(&mask, latents)?)
    }
}

/// Reference pictures alone: what stays, and nothing else.
fn references<E: ControlEncoder>(
    encoder: &mut E,
    pictures: &[Tensor],
    quirks: Quirks,
) -> Result<Tensor, E::Error> {
    let pictures: Vec<&Tensor> = pictures.iter().collect();
    let latents = if quirks.mixed_control {
        encoder.encode_once(&Tensor::concat(&pictures)?)?
    } else {
        let each = pictures
            .iter()
            .map(|picture| Ok(encoder.encode_once(picture)?.narrow(0, 1)?))
            .collect::<Result<Vec<_>, E::Error>>()?;
        Tensor::concat(&each.iter().collect::<Vec<_>>())?
    };
    let [frames, height, width] = [latents.dim(0), latents.dim(1), latents.dim(2)];
    let rest = Tensor::zeros(&latents.device(), &[frames, height, width, LATENT_CHANNELS + MASK_CHANNELS])?;
    Ok(ops::concat_channels(&[&latents, &rest])?)
}

fn join<E: From<scope_engine::Error>>(
    inactive: &Tensor,
    reactive: &Tensor,
    mask: &Tensor,
) -> Result<Tensor, E> {
    Ok(ops::concat_channels(&[inactive, reactive, mask])?)
}

/// The mask pixels of every latent pixel as channels, row by row, at the latents' `frames` (the nearest in time).
fn mask_latents(mask: &Tensor, frames: usize) -> scope_engine::Result<Tensor> {
    let (count, height, width) = (mask.dim(0), mask.dim(1), mask.dim(2));
    let white = ops::masked(ones(mask)?, mask, true)?;
    let squares = ops::patchify(&white, LATENT_PIXELS)?;
    let squares = squares.reshape(&[count, height / LATENT_PIXELS, width / LATENT_PIXELS, MASK_CHANNELS])?;
    let nearest = |frame: usize| ((2 * frame + 1) * count / (2 * frames)).min(count.saturating_sub(1));
    let picked = (0..frames).map(|frame| squares.narrow(nearest(frame), 1)).collect::<Result<Vec<_>, _>>()?;
    Tensor::concat(&picked.iter().collect::<Vec<_>>())
}

/// A white mask for pictures.
fn ones(frames: &Tensor) -> scope_engine::Result<Tensor> {
    Tensor::from_fn(&frames.device(), &[frames.dim(0), frames.dim(1), frames.dim(2), 1], |mask| {
        mask.fill(1.0);
    })
}

fn repeat(picture: &Tensor, count: usize) -> scope_engine::Result<Tensor> {
    Tensor::concat(&vec![picture; count])
}

/// `count` frames: the first of a longer clip, or a shorter one followed by its last.
fn stretch(frames: &Tensor, count: usize) -> scope_engine::Result<Tensor> {
    let have = frames.dim(0);
    if have >= count {
        return frames.narrow(0, count);
    }
    let last = frames.narrow(have.saturating_sub(1), 1)?;
    let mut parts = vec![frames];
    parts.resize(1 + count - have, &last);
    Tensor::concat(&parts)
}

/// An autoencoder with a memory for each stream of control signals.
pub struct StreamEncoder<'a> {
    /// The weights.
    pub autoencoder: &'a dyn VideoAutoencoder,
    /// The memory of the input video, which the reference uses for control signals as well.
    pub video: &'a mut EncoderMemory,
    /// The memories of what stays and of what is generated anew.
    pub own: &'a mut [EncoderMemory; 2],
    /// The stream of decoded pictures: until it has begun, the reference begins every encoded one again.
    pub decoder: &'a DecoderMemory,
    /// Defects to reproduce.
    pub quirks: Quirks,
}

impl ControlEncoder for StreamEncoder<'_> {
    type Error = VaeError;

    fn continue_stream(&mut self, stream: ControlStream, pixels: &Tensor) -> Result<Tensor, VaeError> {
        let causal = self.autoencoder.first_latent_pictures() == 1;
        let shared = self.quirks.mixed_control && (causal || stream == ControlStream::Extension);
        if shared {
            if causal && self.decoder.is_fresh() {
                self.video.clear();
            }
            return self.autoencoder.encode_uneven(self.video, pixels, LatentScale::Normalised);
        }
        let memory = match stream {
            ControlStream::Inactive => &mut self.own[0],
            ControlStream::Reactive => &mut self.own[1],
            ControlStream::Extension => return self.encode_once(pixels),
        };
        self.autoencoder.encode(memory, pixels, LatentScale::Normalised)
    }

    fn encode_once(&mut self, pixels: &Tensor) -> Result<Tensor, VaeError> {
        let causal = self.autoencoder.first_latent_pictures() == 1;
        if !(self.quirks.mixed_control && causal) {
            return self.autoencoder.encode_once(pixels, LatentScale::Normalised);
        }
        // Pictures that complete no latent are left out.
        let whole = 1 + (pixels.dim(0).saturating_sub(1)) / LATENT_FRAMES * LATENT_FRAMES;
        self.autoencoder.encode_once(&pixels.narrow(0, whole.min(pixels.dim(0)))?, LatentScale::Normalised)
    }

    fn first_pictures(&self) -> usize {
        self.autoencoder.first_latent_pictures()
    }
}
