//! Whole videos from pictures to pictures: kinds `e2e_v2v` and `vace_stream`.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Result, anyhow};
use scope_engine::Tensor;
use scope_models::{
    control::Control,
    frames::{self, Picture},
    prompt::{Interpolation, Prompt},
    quirks::Quirks,
    vae::VideoAutoencoder,
    video::{ConditionError, TextConditioner, VideoCall, VideoStream},
    wan::{VaceBlocks, VaceConfig, WanTransformer},
    weights::{Loader, Precision},
};
use serde_json::Value;

use crate::{
    case::{Case, Check, Recorded},
    dit::{config, embedding},
    generator::{RecordedNoise, compare, family, steps},
    vae,
};

/// Recorded embeddings by the name of their prompt.
struct RecordedTexts(HashMap<String, Tensor>);

impl RecordedTexts {
    fn new(case: &Case) -> Result<Self> {
        let names = case.value("/prompt_texts")?.as_array().into_iter().flatten().filter_map(Value::as_str);
        let entry = |(index, name): (usize, &str)| {
            // A case keeps either the prompts' embeddings or those that each chunk was conditioned with.
            let recorded = format!("prompt_embed.{index}");
            let chunk = |(_, chunk): &(usize, &Value)| chunk["user"]["prompts"].as_str() == Some(name);
            let source = if case.has(&recorded) {
                recorded
            } else {
                let chunks = case.value("/chunks")?.as_array().into_iter().flatten().enumerate();
                let (index, _) = { chunks }.find(chunk).ok_or_else(|| anyhow!("no chunk shows {name}"))?;
                format!("chunk.{index}.conditioning_embeds")
            };
            Ok((name.to_owned(), embedding(case, &source)?))
        };
        Ok(Self(names.enumerate().map(entry).collect::<Result<_>>()?))
    }
}

impl TextConditioner for RecordedTexts {
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Tensor>, ConditionError> {
        let embed = |text: &&str| {
            let found = self.0.get(*text).cloned();
            found.ok_or_else(|| ConditionError(format!("no prompt {text:?}").into()))
        };
        texts.iter().map(embed).collect()
    }
}

/// Recorded bytes `[frames, height, width, channels]` as pictures.
fn bytes(recorded: &Recorded) -> Vec<u8> {
    recorded.values.iter().map(|&value| value as u8).collect()
}

fn pictures<'a>(recorded: &Recorded, bytes: &'a [u8]) -> Vec<Picture<'a>> {
    let [.., height, width, channels] = recorded.shape[..] else { return Vec::new() };
    bytes.chunks_exact(height * width * channels).map(|bytes| Picture { height, width, bytes }).collect()
}

fn call<'a>(prompts: &'a [Prompt], steps: &'a [f64]) -> VideoCall<'a> {
    VideoCall {
        prompts,
        transition: None,
        method: Interpolation::Linear,
        video: None,
        noise_scale: None,
        follow_motion: false,
        steps,
        manage_cache: true,
        reset: false,
        seed: 0,
        control: Control::default(),
        control_scale: 1.0,
        cache_weight: None,
    }
}

fn prompts(chunk: &Value) -> Vec<Prompt> {
    let text = chunk["user"]["prompts"].as_str().unwrap_or_default().to_owned();
    vec![Prompt { text, weight: 1.0 }]
}

/// The Wan autoencoder of a case.
fn autoencoder(case: &Case) -> Result<Arc<dyn VideoAutoencoder>> {
    Ok(Arc::new(vae::load_wan(case, "/vae_config")?))
}

pub(crate) fn from_video(case: &Case, check: &mut Check) -> Result<()> {
    let weights = case.weights();
    let model =
        WanTransformer::load(&Loader::new(&weights, &case.device, Precision::F32), &config(case)?, None)?;
    let size = [case.number("/height")?, case.number("/width")?];
    let autoencoder = autoencoder(case)?;
    let mut stream =
        VideoStream::new(Arc::new(model), autoencoder, &family(case)?, size, Quirks::reference())?;
    let mut texts = RecordedTexts::new(case)?;
    let cache_weight =
        case.json.get("kv_cache_attention_bias").and_then(Value::as_f64).map(|weight| weight as f32);
    for (index, chunk) in case.value("/chunks")?.as_array().into_iter().flatten().enumerate() {
        let input = case.recorded(&format!("chunk.{index}.input_u8"))?;
        let bytes = bytes(input);
        let input = pictures(input, &bytes);
        let (prompts, steps) = (prompts(chunk), steps(chunk));
        let user = &chunk["user"];
        let call = VideoCall {
            video: Some(&input),
            noise_scale: user["noise_scale"].as_f64(),
            follow_motion: user["noise_controller"].as_bool().unwrap_or(true),
            cache_weight,
            ..call(&prompts, &steps)
        };
        let mut shown = Vec::new();
        let mut noise = RecordedNoise::new(case, index);
        let latents =
            stream.generate(&call, &mut texts, &mut noise, &mut |decoded| shown.push(decoded.pictures))?;
        compare(case, check, index, chunk, stream.chunks(), &latents)?;
        let name = format!("chunk.{index}.output_01");
        if case.has(&name) {
            let video = frames::for_display(Tensor::concat(&shown.iter().collect::<Vec<_>>())?)?;
            check.close(&name, &video.to_vec(), &case.recorded(&name)?.values, 1e-3, 0.0);
        }
    }
    Ok(())
}

pub(crate) fn controlled(case: &Case, check: &mut Check) -> Result<()> {
    let config = config(case)?;
    let weights = case.weights();
    let loader = Loader::new(&weights, &case.device, Precision::F32);
    let layers = case.value("/vace_layers")?.as_array().into_iter().flatten();
    let vace = VaceConfig { layers: layers.filter_map(Value::as_u64).map(|layer| layer as usize).collect() };
    let vace = VaceBlocks::load(&loader, &config, &vace)?;
    let base =
        if loader.has("patch_embedding.weight") { loader.clone() } else { loader.at("causal_wan_model") };
    let model = WanTransformer::load(&base, &config, Some(vace))?;
    let size = [case.number("/height")?, case.number("/width")?];
    let autoencoder = autoencoder(case)?;
    let family = family(case)?;
    let chunk_pictures = 4 * family.chunk_frames;
    let quirks = Quirks::reference();
    let mut stream = VideoStream::new(Arc::new(model), autoencoder, &family, size, quirks)?;
    let mut texts = RecordedTexts::new(case)?;
    for (index, chunk) in case.value("/chunks")?.as_array().into_iter().flatten().enumerate() {
        let user = &chunk["user"];
        let count = chunk_pictures + usize::from(chunk["current_start_frame_before"].as_u64() == Some(0));
        let clip = |what: &str| -> Result<Option<Tensor>> {
            if user[format!("vace_input_{what}")].as_bool() != Some(true) {
                return Ok(None);
            }
            let recorded = case.recorded(&format!("chunk.{index}.vace_{what}_u8"))?;
            let bytes = bytes(recorded);
            let pictures = pictures(recorded, &bytes);
            Ok(Some(match what {
                "masks" => frames::masks(&case.device, &pictures, size, count)?,
                _ => frames::video(&case.device, &pictures, size, count)?,
            }))
        };
        let (control_frames, masks) = (clip("frames")?, clip("masks")?);
        let recorded = case.recorded("first_frame.u8_hwc")?;
        let picture = frames::cover(&case.device, &pictures(recorded, &bytes(recorded))[0], size)?;
        let references: Vec<Tensor> =
            user.get("vace_ref_images").map(|_| picture.clone()).into_iter().collect();
        let (prompts, steps) = (prompts(chunk), steps(chunk));
        let call = VideoCall {
            control: Control {
                frames: control_frames.as_ref(),
                masks: masks.as_ref(),
                references: &references,
                first: user.get("first_frame_image").map(|_| &picture),
                last: None,
            },
            control_scale: user["vace_context_scale"].as_f64().unwrap_or(1.0) as f32,
            ..call(&prompts, &steps)
        };
        let mut noise = RecordedNoise::new(case, index);
        let latents = stream.generate(&call, &mut texts, &mut noise, &mut |_| ())?;
        compare(case, check, index, chunk, stream.chunks(), &latents)?;
    }
    Ok(())
}
