//! Kinds `e2e_v2v`, `vace_stream` and `generator`: chunk after chunk with the parameters that were recorded.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use scope_engine::Tensor;
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_models::frames;
use scope_models::quirks::Quirks;
use scope_models::vae::VideoAutoencoder;
use scope_models::video::{ConditionError, TextConditioner};
use scope_models::wan::{NoiseSource, VaceBlocks, VaceConfig, WanTransformer};
use scope_models::weights::{Loader, Precision};
use scope_pipelines::video::{VideoModel, VideoRun, VideoSettings};
use scope_pipelines::{AssetLoader, Chunk, Generator, InputMode, Output, ParameterStore};
use serde_json::{Value, json};

use crate::{
    case::{Case, Check, Recorded},
    dit::{config, embedding},
    generator::{compare, family, latents, noise},
    vae,
    watched::{Black, Seen, Watched},
};

/// Pictures were recorded in f16, whose numbers below 1 are 4.9e-4 apart: they may be off by half of that, and by 1e-4.
const OF_PICTURES: f32 = 3.5e-4;

/// Recorded embeddings by the name of their prompt.
struct RecordedTexts(HashMap<String, Tensor>);

impl RecordedTexts {
    /// Those of the prompts that a case lists.
    fn named(case: &Case) -> Result<Self> {
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

    /// Those of the chunks, each under the chunk's number.
    fn of_chunks(case: &Case) -> Result<Self> {
        let names = case.names("chunk.");
        let chunk = |name: &String| {
            let number = name.strip_prefix("chunk.")?.strip_suffix(".conditioning_embeds")?;
            Some(embedding(case, name).map(|embedding| (number.to_owned(), embedding)))
        };
        Ok(Self(names.iter().filter_map(chunk).collect::<Result<_>>()?))
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

/// The noise that was recorded, chunk by chunk and draw by draw.
struct RecordedNoise {
    draws: HashMap<String, Tensor>,
    /// Chunks that have begun.
    chunks: usize,
    next: usize,
}

impl RecordedNoise {
    fn new(case: &Case) -> Result<Self> {
        let names = case.names("chunk.").into_iter().filter(|name| name.contains(".noise."));
        let draws = names.map(|name| Ok((name.clone(), latents(case, &name)?))).collect::<Result<_>>()?;
        Ok(Self { draws, chunks: 0, next: 0 })
    }
}

impl NoiseSource for RecordedNoise {
    fn begin(&mut self, _: u64) {
        self.chunks += 1;
        self.next = 0;
    }

    fn draw(&mut self, shape: [usize; 4]) -> scope_engine::Result<Tensor> {
        let name = noise(self.chunks - 1, self.next);
        self.next += 1;
        let drawn = self.draws.get(&name).expect("the case has the noise of every step").clone();
        assert_eq!(drawn.shape()[..], shape, "{name}");
        Ok(drawn)
    }
}

/// The picture that a case has, under any name.
struct OnePicture(Option<Image>);

impl AssetLoader for OnePicture {
    fn image(&self, _: &str) -> Result<Image, String> {
        self.0.clone().ok_or_else(|| "the case has no picture".to_owned())
    }

    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        Err(format!("{path}: there are no files"))
    }
}

/// Recorded bytes `[frames, height, width, channels]` as pictures.
fn images(recorded: &Recorded) -> Result<Vec<Image>> {
    let [.., height, width, channels] = recorded.shape[..] else { anyhow::bail!("no pictures") };
    let spread = |value: &f32| vec![*value as u8; if channels == 1 { 3 } else { 1 }];
    let bytes: Vec<u8> = recorded.values.iter().flat_map(spread).collect();
    let image = |bytes: &[u8]| Image::new(PixelFormat::Rgb8, width as u32, height as u32, bytes.to_vec());
    Ok(bytes.chunks_exact(height * width * 3).map(image).collect::<Result<_, _>>()?)
}

/// A session of a case.
struct Session<'a> {
    case: &'a Case,
    run: VideoRun,
    store: ParameterStore,
    picture: OnePicture,
    seen: Arc<Mutex<Seen>>,
    index: usize,
}

impl<'a> Session<'a> {
    fn new<A: VideoAutoencoder + 'static>(
        case: &'a Case,
        transformer: WanTransformer,
        autoencoder: A,
        texts: RecordedTexts,
    ) -> Result<Self> {
        let seen = Arc::<Mutex<Seen>>::default();
        let model = VideoModel {
            transformer: Arc::new(transformer),
            autoencoder: Arc::new(Watched { inner: autoencoder, seen: Arc::clone(&seen) }),
            family: family(case)?,
            quirks: Quirks::reference(),
            vace: None,
        };
        let settings = VideoSettings {
            size: [case.number("/height")?, case.number("/width")?],
            seed: 0,
            text_steps: Vec::new(),
            video_steps: Vec::new(),
            noise_scale: 0.7,
            noise_controller: true,
            cache_weight: true,
            manage_cache: true,
            frame_rate: None,
            savings: Vec::new(),
            loras: Vec::new(),
            references: Vec::new(),
            context_scale: 1.0,
        };
        let noise = Box::new(RecordedNoise::new(case)?);
        let run = VideoRun::with_noise(&model, settings, Box::new(texts), noise)?;
        let picture = match case.has("first_frame.u8_hwc") {
            true => images(case.recorded("first_frame.u8_hwc")?)?.pop(),
            false => None,
        };
        let store = ParameterStore::default();
        Ok(Self { case, run, store, picture: OnePicture(picture), seen, index: 0 })
    }

    /// Generates the next chunk and compares it.
    fn chunk(
        &mut self,
        check: &mut Check,
        chunk: &Value,
        parameters: &Value,
        ports: &[(&str, String)],
    ) -> Result<()> {
        let mut inputs = BTreeMap::new();
        for (port, recorded) in ports {
            let frames = images(self.case.recorded(recorded)?)?.into_iter();
            let frames = frames.map(|image| Frame::new(image, Timestamp::default())).collect();
            inputs.insert((*port).to_owned(), frames);
        }
        self.store.merge(parameters.as_object().context("parameters are an object")?, 0);
        if let Some(weight) =
            self.case.json.get("kv_cache_attention_bias").filter(|weight| weight.is_number())
        {
            self.store.merge(json!({"kv_cache_attention_bias": weight}).as_object().expect("an object"), 0);
        }
        let request = Chunk {
            index: self.index as u64 + 1,
            mode: if inputs.is_empty() { InputMode::Text } else { InputMode::Video },
            parameters: &self.store.take(),
            inputs,
            assets: &self.picture,
            now: Timestamp::default(),
            effort: 0,
            format: PixelFormat::Rgb8,
        };
        *self.seen.lock().expect("nobody panicked") = Seen::default();
        let mut shown = 0;
        let mut emit = |output: Output| shown += usize::from(matches!(output, Output::Frame { .. }));
        let report = self.run.generate(request, &mut emit)?;
        check.holds("all parameters could be used", report.parameter_problems.is_empty());
        let seen = self.seen.lock().expect("nobody panicked");
        let made = Tensor::concat(&seen.latents.iter().collect::<Vec<_>>())?;
        compare(self.case, check, self.index, chunk, self.run.stream().chunks(), &made)?;
        let name = format!("chunk.{}.output_01", self.index);
        if self.case.has(&name) {
            let video = frames::for_display(Tensor::concat(&seen.pictures.iter().collect::<Vec<_>>())?)?;
            check.holds("every picture was shown", shown == video.dim(0));
            check.close(&name, &video.to_vec(), &self.case.recorded(&name)?.values, OF_PICTURES, 0.0);
        }
        self.index += 1;
        Ok(())
    }
}

/// What a user set for a chunk, under the names of the parameters.
fn parameters(chunk: &Value) -> Value {
    let user = &chunk["user"];
    let prompt = user["prompts"].as_str().unwrap_or_default();
    let mut parameters = json!({"prompts": [{"text": prompt, "weight": 1.0}], "denoising_step_list": chunk["denoising_step_list"]});
    for key in ["noise_scale", "noise_controller", "vace_context_scale"] {
        if let Some(value) = user.get(key).filter(|value| !value.is_null()) {
            parameters[key] = value.clone();
        }
    }
    if user.get("vace_ref_images").is_some() {
        parameters["vace_ref_images"] = json!(["the case's picture"]);
    }
    if user.get("first_frame_image").is_some() {
        parameters["first_frame_image"] = json!("the case's picture");
    }
    parameters
}

fn chunks(case: &Case) -> Result<Vec<&Value>> {
    Ok(case.value("/chunks")?.as_array().into_iter().flatten().collect())
}

fn transformer(case: &Case) -> Result<WanTransformer> {
    let weights = case.weights();
    let loader = Loader::new(&weights, &case.device, Precision::F32);
    Ok(WanTransformer::load(&loader, &config(case)?, None)?)
}

pub(crate) fn from_video(case: &Case, check: &mut Check) -> Result<()> {
    let autoencoder = vae::load_wan(case, &case.device.beside()?, "/vae_config")?;
    let mut session = Session::new(case, transformer(case)?, autoencoder, RecordedTexts::named(case)?)?;
    for (index, chunk) in chunks(case)?.into_iter().enumerate() {
        let video = [("video", format!("chunk.{index}.input_u8"))];
        session.chunk(check, chunk, &parameters(chunk), &video)?;
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
    let autoencoder = vae::load_wan(case, &case.device.beside()?, "/vae_config")?;
    let mut session = Session::new(case, model, autoencoder, RecordedTexts::named(case)?)?;
    for (index, chunk) in chunks(case)?.into_iter().enumerate() {
        let port = |what: &str, port: &'static str| {
            let given = chunk["user"][format!("vace_input_{what}")].as_bool() == Some(true);
            given.then(|| (port, format!("chunk.{index}.vace_{what}_u8")))
        };
        let ports: Vec<_> = [port("frames", "vace_input_frames"), port("masks", "vace_input_masks")]
            .into_iter()
            .flatten()
            .collect();
        session.chunk(check, chunk, &parameters(chunk), &ports)?;
    }
    Ok(())
}

pub(crate) fn from_noise(case: &Case, check: &mut Check) -> Result<()> {
    let reencoded = Arc::<Mutex<Option<Tensor>>>::default();
    let autoencoder = Black { device: case.device.beside()?, reencoded: Arc::clone(&reencoded) };
    let mut session = Session::new(case, transformer(case)?, autoencoder, RecordedTexts::of_chunks(case)?)?;
    let mut prompt = 0;
    for (index, chunk) in chunks(case)?.into_iter().enumerate() {
        if chunk["conditioning_embeds_updated"].as_bool() == Some(true) {
            prompt = index;
        }
        let again = format!("chunk.{index}.reencoded_latent");
        *reencoded.lock().expect("nobody panicked") =
            case.has(&again).then(|| latents(case, &again)).transpose()?;
        let mut parameters = parameters(chunk);
        parameters["prompts"] = json!([{"text": prompt.to_string(), "weight": 1.0}]);
        parameters["manage_cache"] = json!(false);
        session.chunk(check, chunk, &parameters, &[])?;
    }
    Ok(())
}
