//! Kinds `wan_vae` and `tae`: autoencoders as streams and in one go.

use anyhow::{Context, Result};
use scope_engine::{Device, Tensor};
use scope_models::{
    vae::{
        DecoderMemory, EncoderMemory, LatentScale, TaeConfig, TinyAutoencoder, VideoAutoencoder,
        WanAutoencoder, WanVaeConfig,
    },
    weights::{Loader, Precision},
};
use serde_json::Value;

use crate::{
    case::{Case, Check, MANY_LAYERS},
    dit::{latents_bfchw, permuted},
};

const TOLERANCE: f32 = 1e-4;

/// The reference keeps one memory for all that it encodes and forgets it before every part that it encodes until it
/// has decoded something.
struct Reference<'a> {
    case: &'a Case,
    vae: &'a dyn VideoAutoencoder,
    encoder: EncoderMemory,
    decoder: DecoderMemory,
    /// Does a fresh encoder wait for a decoder?
    restarts: bool,
}

impl<'a> Reference<'a> {
    fn new(case: &'a Case, vae: &'a dyn VideoAutoencoder, restarts: bool) -> Self {
        Self { case, vae, encoder: EncoderMemory::default(), decoder: DecoderMemory::default(), restarts }
    }

    fn encode(&mut self, check: &mut Check, name: &str, scale: LatentScale) -> Result<()> {
        if !self.case.has(&format!("{name}.pixels")) {
            return Ok(());
        }
        if self.restarts && self.decoder.is_fresh() {
            self.encoder.clear();
        }
        let pixels = pixels_bcthw(self.case, &format!("{name}.pixels"))?;
        let latents = self.vae.encode(&mut self.encoder, &pixels, scale)?;
        self.compare_latents(check, &format!("{name}.latents"), &latents)
    }

    fn decode(&mut self, check: &mut Check, name: &str) -> Result<()> {
        if !self.case.has(&format!("{name}.latents")) {
            return Ok(());
        }
        let latents = latents_bfchw(self.case, &format!("{name}.latents"))?;
        let at_once = self.vae.latents_at_once().min(latents.dim(0));
        if at_once > 1 {
            let first = latents.narrow(0, at_once)?;
            let [one_by_one, together] = [&mut self.decoder.clone(), &mut self.decoder.clone()];
            let expected = self.vae.decode(one_by_one, &first)?;
            let pixels = self.vae.decode_next(together, &first)?;
            anyhow::ensure!(pixels.shape() == expected.shape(), "{name}: {} together", pixels.shape());
            anyhow::ensure!(pixels.to_vec() == expected.to_vec(), "{name}: other pictures together");
        }
        let pixels = self.vae.decode(&mut self.decoder, &latents)?;
        self.compare_pixels(check, &format!("{name}.pixels"), &pixels)
    }

    fn compare_latents(&self, check: &mut Check, name: &str, latents: &Tensor) -> Result<()> {
        self.compare(check, name, latents)
    }

    fn compare_pixels(&self, check: &mut Check, name: &str, pixels: &Tensor) -> Result<()> {
        self.compare(check, name, pixels)
    }

    /// Recorded as `[1, frames, channels, height, width]`.
    fn compare(&self, check: &mut Check, name: &str, got: &Tensor) -> Result<()> {
        if self.case.has(name) {
            let (shape, recorded) = permuted(self.case.recorded(name)?, &[0, 1, 3, 4, 2]);
            check.holds(&format!("shape of {name}"), got.shape()[..] == shape[1..]);
            check.after(MANY_LAYERS).close(name, &got.to_vec(), &recorded, TOLERANCE, 0.0);
        }
        Ok(())
    }
}

pub(crate) fn wan(case: &Case, check: &mut Check) -> Result<()> {
    let vae = load_wan(case, &case.device, "/config")?;
    let mut reference = Reference::new(case, &vae, true);
    for chunk in 0..2 {
        reference.encode(check, &format!("enc.{chunk}"), LatentScale::Normalised)?;
        reference.decode(check, &format!("dec.{chunk}"))?;
    }
    for (name, source, frames) in [
        ("oneshot.1f", "enc.0.pixels", 1),
        ("oneshot.12f", "enc.1.pixels", 12),
        ("oneshot.3f", "enc.1.pixels", 3),
    ] {
        let name = format!("{name}.latents");
        if case.has(&name) && case.has(source) {
            // The reference leaves out frames that complete no group.
            let pixels = pixels_bcthw(case, source)?;
            let complete = 1 + (frames.min(pixels.dim(0)) - 1) / 4 * 4;
            let latents = vae.encode_once(&pixels.narrow(0, complete)?, LatentScale::Normalised)?;
            reference.compare_latents(check, &name, &latents)?;
        }
    }
    reference.encode(check, "enc.3", LatentScale::Normalised)?;
    if case.has("batch.dec.latents") {
        let pixels = vae.decode_once(&latents_bfchw(case, "batch.dec.latents")?)?;
        reference.compare_pixels(check, "batch.dec.pixels", &pixels)?;
    }
    reference.encoder.clear();
    reference.encode(check, "sdv2.enc", LatentScale::Raw)
}

pub(crate) fn tae(case: &Case, check: &mut Check) -> Result<()> {
    let vae = load_tae(case, &case.device, "/config")?;
    let mut reference = Reference::new(case, &vae, false);
    let chunks = case.names("enc.").into_iter().chain(case.names("dec.")).filter_map(|name| {
        let (chunk, _) = name.get(4..)?.split_once('.')?;
        chunk.parse::<usize>().ok()
    });
    for chunk in 0..chunks.max().map_or(0, |last| last + 1) {
        reference.encode(check, &format!("enc.{chunk}"), LatentScale::Normalised)?;
        reference.decode(check, &format!("dec.{chunk}"))?;
    }
    if case.has("oneshot.enc3f.latents") {
        let pixels = pixels_bcthw(case, "enc.1.pixels")?.narrow(0, 3)?;
        let latents = vae.encode_once(&pixels, LatentScale::Normalised)?;
        reference.compare_latents(check, "oneshot.enc3f.latents", &latents)?;
    }
    let mut separate = EncoderMemory::default();
    for (index, source) in ["enc.1.pixels", "enc.0.pixels"].into_iter().enumerate() {
        let name = format!("sep.enc.{index}.latents");
        if case.has(&name) {
            let latents = vae.encode(&mut separate, &pixels_bcthw(case, source)?, LatentScale::Normalised)?;
            reference.compare_latents(check, &name, &latents)?;
        }
    }
    if case.has("batch.dec.pixels") {
        let pixels = vae.decode_once(&latents_bfchw(case, "dec.1.latents")?)?;
        reference.compare_pixels(check, "batch.dec.pixels", &pixels)?;
    }
    if case.has("afterclear.dec.pixels") {
        reference.decoder.clear();
        let latents = latents_bfchw(case, "dec.1.latents")?.narrow(0, 2)?;
        let pixels = vae.decode(&mut reference.decoder, &latents)?;
        reference.compare_pixels(check, "afterclear.dec.pixels", &pixels)?;
    }
    Ok(())
}

/// The Wan autoencoder of a case, whose sizes lie at `pointer`.
pub(crate) fn load_wan(case: &Case, device: &Device, pointer: &str) -> Result<WanAutoencoder> {
    let config = case.value(pointer)?;
    let list = |key: &str| config.get(key).and_then(Value::as_array);
    let multipliers: Vec<usize> = list("dim_mult")
        .map_or(vec![1, 2, 4, 4], |list| list.iter().filter_map(Value::as_u64).map(|n| n as usize).collect());
    let halves_time: Vec<bool> = list("temporal_downsample")
        .map_or(vec![false, true, true], |list| list.iter().filter_map(Value::as_bool).collect());
    let number = |key: &str| config.get(key).and_then(Value::as_u64).map(|n| n as usize);
    let config = WanVaeConfig::new(
        number("dim").context("the autoencoder's width")?,
        &multipliers,
        config.get("pruning_rate").and_then(Value::as_f64).unwrap_or(0.0),
        number("num_res_blocks").unwrap_or(2),
        &halves_time,
    );
    let weights = case.vae_weights()?;
    Ok(WanAutoencoder::load(&Loader::new(&weights, device, Precision::F32), config)?)
}

/// The tiny autoencoder of a case, whose sizes lie at `pointer`.
pub(crate) fn load_tae(case: &Case, device: &Device, pointer: &str) -> Result<TinyAutoencoder> {
    let width = |index: usize| case.number(&format!("{pointer}/decoder_widths/{index}"));
    let config = TaeConfig {
        encoder_widths: [case.number(&format!("{pointer}/encoder_width"))?; 4],
        decoder_widths: [width(0)?, width(1)?, width(2)?, width(3)?],
        raw_latents: case.json.pointer(&format!("{pointer}/light")).and_then(Value::as_bool).unwrap_or(false),
        ..TaeConfig::full()
    };
    let weights = case.vae_weights()?;
    Ok(TinyAutoencoder::load(&Loader::new(&weights, device, Precision::F32), config)?)
}

/// `[1, 3, T, H, W]` as pixels `[T, H, W, 3]`.
pub(crate) fn pixels_bcthw(case: &Case, name: &str) -> Result<Tensor> {
    let (shape, values) = permuted(case.recorded(name)?, &[0, 2, 3, 4, 1]);
    Ok(Tensor::from_f32(&case.device, &shape[1..], &values)?)
}
