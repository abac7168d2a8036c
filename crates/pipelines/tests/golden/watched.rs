//! An autoencoder that tells what it decodes.

use scope_engine::{Device, Tensor};
use scope_models::vae::{DecoderMemory, EncoderMemory, LatentScale, VaeError, VideoAutoencoder};
use std::sync::{Arc, Mutex};

/// Latents and pictures of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) latents: Vec<Tensor>,
    pub(crate) pictures: Vec<Tensor>,
}

#[derive(Debug)]
pub(crate) struct Watched<A> {
    pub(crate) inner: A,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl<A: VideoAutoencoder> VideoAutoencoder for Watched<A> {
    fn device(&self) -> Device {
        self.inner.device()
    }

    fn encode(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError> {
        self.inner.encode(memory, pixels, scale)
    }

    fn encode_uneven(
        &self,
        memory: &mut EncoderMemory,
        pixels: &Tensor,
        scale: LatentScale,
    ) -> Result<Tensor, VaeError> {
        self.inner.encode_uneven(memory, pixels, scale)
    }

    fn encode_once(&self, pixels: &Tensor, scale: LatentScale) -> Result<Tensor, VaeError> {
        self.inner.encode_once(pixels, scale)
    }

    fn spatial_factor(&self) -> usize {
        self.inner.spatial_factor()
    }

    fn opening_pictures(&self) -> usize {
        self.inner.opening_pictures()
    }

    fn first_latent_pictures(&self) -> usize {
        self.inner.first_latent_pictures()
    }

    fn decode_next(&self, memory: &mut DecoderMemory, latent: &Tensor) -> Result<Tensor, VaeError> {
        let pictures = self.inner.decode_next(memory, latent)?;
        let mut seen = self.seen.lock().expect("nobody panicked");
        seen.latents.push(latent.clone());
        seen.pictures.push(pictures.clone());
        Ok(pictures)
    }
}

/// Stands for an autoencoder where only latents were recorded: pictures are black, and what is encoded again is recorded.
#[derive(Debug)]
pub(crate) struct Black {
    pub(crate) device: Device,
    /// What the next picture is encoded to.
    pub(crate) reencoded: Arc<Mutex<Option<Tensor>>>,
}

impl VideoAutoencoder for Black {
    fn device(&self) -> Device {
        self.device.clone()
    }

    fn encode(&self, _: &mut EncoderMemory, pixels: &Tensor, _: LatentScale) -> Result<Tensor, VaeError> {
        let reencoded = self.reencoded.lock().expect("nobody panicked").clone();
        let missing = || VaeError::Input {
            what: "recorded latents",
            found: "none".into(),
            expected: format!("those of {}", pixels.shape()),
        };
        reencoded.ok_or_else(missing)
    }

    fn spatial_factor(&self) -> usize {
        8
    }

    fn opening_pictures(&self) -> usize {
        1
    }

    fn first_latent_pictures(&self) -> usize {
        1
    }

    fn decode_next(&self, _: &mut DecoderMemory, latent: &Tensor) -> Result<Tensor, VaeError> {
        Ok(Tensor::zeros(&self.device, &[4, 8 * latent.dim(1), 8 * latent.dim(2), 3])?)
    }
}
