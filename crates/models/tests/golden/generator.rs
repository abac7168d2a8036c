//! Streams of chunks: kind `generator`.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use scope_engine::Tensor;
use scope_models::{
    quirks::Quirks,
    wan::{ChunkRequest, ChunkStream, Family, NoiseSource, WanTransformer},
    weights::{Loader, Precision},
};
use serde_json::Value;

use crate::{
    case::{Case, Check, MANY_LAYERS, Recorded},
    dit::{config, embedding, permute, to_fchw},
};

/// Latents, keys and values agree to this, in units and relative: whole streams differ by 3e-6 on the CPU.
const TOLERANCE: f32 = 1e-4;

/// The family of a case, with the sizes that its documents set.
pub(crate) fn family(case: &Case) -> Result<Family> {
    let mut family = match case.text("pipeline")? {
        "streamdiffusionv2" => Family::streamdiffusion_v2(),
        "longlive" => Family::longlive(),
        "reward_forcing" | "reward-forcing" => Family::reward_forcing(),
        "memflow" => Family::memflow(),
        "krea-realtime-video" => Family::krea_realtime(),
        other => return Err(anyhow!("no family is called {other:?}")),
    };
    let yaml = case.value("/model_yaml")?;
    let number = |key: &str| yaml.get(key).and_then(Value::as_u64).map(|value| value as usize);
    if let Some(shift) = case.json.get("timestep_shift").and_then(Value::as_f64) {
        family.timestep_shift = Some(shift);
    }
    if let Some(frames) = number("num_frame_per_block") {
        family.first_chunk_frames = if frames == 1 { 2 } else { frames };
        family.chunk_frames = frames;
    }
    if let Some(frames) = number("local_attn_size") {
        family.cache.window_frames = frames;
    }
    if let Some(sink) = yaml.pointer("/base_model_kwargs/sink_size").and_then(Value::as_u64) {
        family.cache.sink_frames = sink as usize;
    }
    if let Some(global) = yaml.get("global_sink").and_then(Value::as_bool) {
        family.cache.protect_sink = global;
    }
    if let Some(bank) = &mut family.cache.bank {
        bank.chunk_frames = family.chunk_frames;
        bank.frames = number("bank_size").unwrap_or(bank.frames);
        // As shipped, the interval stands where the reference does not look for it, and nothing is ever recorded.
        match number("record_interval") {
            Some(interval) => bank.record_interval = interval,
            None => family.cache.bank = None,
        }
    }
    Ok(family)
}

/// Name of a recorded draw.
pub(crate) fn noise(chunk: usize, draw: usize) -> String {
    format!("chunk.{chunk}.noise.{draw}")
}

/// The noise that was recorded for a chunk, draw by draw, in either of its orders of axes.
pub(crate) struct RecordedNoise<'a> {
    case: &'a Case,
    chunk: usize,
    next: usize,
}

impl<'a> RecordedNoise<'a> {
    pub(crate) fn new(case: &'a Case, chunk: usize) -> Self {
        Self { case, chunk, next: 0 }
    }
}

impl NoiseSource for RecordedNoise<'_> {
    fn draw(&mut self, shape: [usize; 4]) -> scope_engine::Result<Tensor> {
        let name = noise(self.chunk, self.next);
        self.next += 1;
        let recorded = self.case.recorded(&name).expect("the case has the noise of every step");
        let latents = fchw(recorded).expect("noise is [1, F, C, h, w] or [F, C, h, w]");
        let latents = Tensor::from_f32(&self.case.device, &latents.0, &latents.1)?;
        assert_eq!(latents.shape()[..], shape, "{name}");
        Ok(latents)
    }
}

/// `[1, F, C, h, w]` or `[F, C, h, w]` as `[F, h, w, C]`.
pub(crate) fn fchw(recorded: &Recorded) -> Result<(Vec<usize>, Vec<f32>)> {
    let [.., frames, channels, height, width] = recorded.shape[..] else {
        return Err(anyhow!("{:?} are no latents", recorded.shape));
    };
    Ok(permute(&[frames, channels, height, width], &recorded.values, &[0, 2, 3, 1]))
}

/// Recorded latents on the device.
pub(crate) fn latents(case: &Case, name: &str) -> Result<Tensor> {
    let (shape, values) = fchw(case.recorded(name)?)?;
    Ok(Tensor::from_f32(&case.device, &shape, &values)?)
}

/// The chunk's list of steps.
pub(crate) fn steps(chunk: &Value) -> Vec<f64> {
    chunk["denoising_step_list"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// A chunk's latents and cache against the recorded ones.
pub(crate) fn compare(
    case: &Case,
    check: &mut Check,
    index: usize,
    chunk: &Value,
    stream: &ChunkStream,
    got: &Tensor,
) -> Result<()> {
    let name = format!("chunk.{index}.latents");
    let check = check.after(MANY_LAYERS);
    check.close(&name, &to_fchw(got), &case.recorded(&name)?.values, TOLERANCE, TOLERANCE);
    if let Some(frame) = chunk["current_start_frame_after"].as_u64() {
        check.holds(&format!("chunk {index} ends at frame {frame}"), stream.frame() == frame as usize);
    }
    let tokens = stream.cache().frame_tokens();
    let window = stream.cache().window();
    for (what, frames) in [("kv_global_end", window.end()), ("kv_local_end", window.filled())] {
        if let Some(end) = chunk[what].as_u64() {
            check.holds(&format!("{what} of chunk {index} is {end}"), frames * tokens == end as usize);
        }
    }
    for key in case.names(&format!("chunk.{index}.kv.")) {
        let Some((layer, what)) =
            key.strip_prefix(&format!("chunk.{index}.kv.")).and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let Some((k, v)) = stream.cache().layer(layer.parse()?)? else { continue };
        let got = if what == "k" { k.to_vec() } else { v.to_vec() };
        // Rows beyond those in use are undefined.
        let recorded = &case.recorded(&key)?.values;
        check.close(&key, &got, &recorded[..got.len().min(recorded.len())], TOLERANCE, TOLERANCE);
    }
    for key in case.names(&format!("chunk.{index}.bank.")) {
        let Some((layer, what)) =
            key.strip_prefix(&format!("chunk.{index}.bank.")).and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let Some((k, v)) = stream.cache().bank(layer.parse()?) else { continue };
        match what {
            "k" => check.close(&key, &k.to_vec(), &case.recorded(&key)?.values, TOLERANCE, TOLERANCE),
            "v" => check.close(&key, &v.to_vec(), &case.recorded(&key)?.values, TOLERANCE, TOLERANCE),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn replay(case: &Case, check: &mut Check) -> Result<()> {
    let weights = case.weights();
    let model =
        WanTransformer::load(&Loader::new(&weights, &case.device, Precision::F32), &config(case)?, None)?;
    let size = [case.number("/height")? / 8, case.number("/width")? / 8];
    let mut stream = ChunkStream::new(Arc::new(model), &family(case)?, size, Quirks::reference())?;
    let cache_weight =
        case.json.get("kv_cache_attention_bias").and_then(Value::as_f64).map(|weight| weight as f32);
    for (index, chunk) in case.value("/chunks")?.as_array().into_iter().flatten().enumerate() {
        if chunk["conditioning_embeds_updated"].as_bool() == Some(true) {
            stream.set_text(&embedding(case, &format!("chunk.{index}.conditioning_embeds"))?)?;
        }
        stream.wrap();
        check.holds(
            &format!("chunk {index} has as many frames"),
            chunk["num_latent_frames"].as_u64() == Some(stream.next_frames() as u64),
        );
        let reencoded = format!("chunk.{index}.reencoded_latent");
        let reencoded = case.has(&reencoded).then(|| latents(case, &reencoded)).transpose()?;
        let mut noise = RecordedNoise::new(case, index);
        let frames = stream.next_frames();
        let start = noise.draw([frames, size[0], size[1], case.number("/config/in_dim")?])?;
        let request = ChunkRequest {
            latents: &start,
            steps: &steps(chunk),
            noise_scale: None,
            vace: None,
            cache_weight,
            reencoded: reencoded.as_ref(),
        };
        let got = stream.generate(&request, &mut noise)?;
        compare(case, check, index, chunk, &stream, &got)?;
    }
    Ok(())
}
