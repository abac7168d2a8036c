//! One session's video.

use super::effort::{efforts, ways};
use super::request::{Input, Request, picture};
use super::{CONTROL, MASKS, VIDEO, VideoModel, VideoSettings};
use crate::compute::GiveBack;
use crate::{
    Chunk, ChunkReport, Effort, GenerateError, Generator, InputMode, Needs, Output, Sampling, Snapshot,
};
use scope_frame::{Fit, Frame, Image, PixelFormat, Timestamp};
use scope_models::frames::Picture;
use scope_models::noise::SeededNoise;
use scope_models::video::{Decoded, TextConditioner, VideoError, VideoStream};
use scope_models::wan::{Adapters, NoiseSource};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pictures that a latent frame stands for.
const LATENT_PICTURES: usize = 4;

/// One session's run of a video model.
pub struct VideoRun {
    model: VideoModel,
    stream: VideoStream,
    /// Height and width of what is generated now.
    size: [usize; 2],
    text: Box<dyn TextConditioner + Send>,
    noise: Box<dyn NoiseSource + Send>,
    settings: VideoSettings,
    /// A reset that the next chunk makes.
    reset: bool,
    /// The first chunk is still to come.
    fresh: bool,
    _memory: [GiveBack; 2],
}

/// A change of a LoRA's strength below this is none.
const SAME_STRENGTH: f32 = 1e-6;

impl VideoRun {
    /// A session whose noise follows from its seed.
    ///
    /// # Errors
    /// [`VideoError`] when the size does not suit the model, or its memory can't be had.
    pub fn new(
        model: &VideoModel,
        settings: VideoSettings,
        text: Box<dyn TextConditioner + Send>,
    ) -> Result<Self, VideoError> {
        let noise = SeededNoise::new(model.device(), settings.seed);
        Self::with_noise(model, settings, text, Box::new(noise))
    }

    /// A session with noise of the caller's: recorded noise, say.
    ///
    /// # Errors
    /// As [`VideoRun::new`].
    pub fn with_noise(
        model: &VideoModel,
        settings: VideoSettings,
        text: Box<dyn TextConditioner + Send>,
        noise: Box<dyn NoiseSource + Send>,
    ) -> Result<Self, VideoError> {
        let mut stream = model.stream(settings.size)?;
        let strengths = settings.loras.iter().filter(|lora| !lora.merged).map(|lora| lora.scale);
        stream.set_adapters(Adapters(strengths.collect()))?;
        let size = settings.size;
        let memory = [model.device().clone(), model.autoencoder.device()].map(GiveBack);
        let model = model.clone();
        Ok(Self { model, stream, size, text, noise, settings, reset: false, fresh: true, _memory: memory })
    }

    /// The video's state.
    #[must_use]
    pub const fn stream(&self) -> &VideoStream {
        &self.stream
    }

    /// Sets the strengths of LoRA files. Files that are unknown or merged are problems.
    fn set_lora_scales(&mut self, request: &mut Request) -> Result<(), GenerateError> {
        let mut strengths = self.stream.chunks().adapters().clone();
        for asked in std::mem::take(&mut request.lora_scales) {
            let mut runtime = self.settings.loras.iter().filter(|lora| !lora.merged);
            if let Some(index) = runtime.position(|lora| lora.path == asked.path) {
                strengths.0[index] = asked.scale;
                continue;
            }
            let loaded: Vec<&str> = self.settings.loras.iter().map(|lora| lora.path.as_str()).collect();
            let text = if loaded.contains(&asked.path.as_str()) {
                format!(
                    "{} is merged into the weights; load it with merge mode runtime_peft to change its scale",
                    asked.path
                )
            } else if loaded.is_empty() {
                format!("{} is not loaded, nor any other LoRA", asked.path)
            } else {
                format!("{} is not loaded; loaded are {}", asked.path, loaded.join(", "))
            };
            request.problem("lora_scales", text);
        }
        let old = &self.stream.chunks().adapters().0;
        if strengths.0.iter().zip(old).any(|(new, old)| (new - old).abs() >= SAME_STRENGTH) {
            request.reset |= request.manage_cache;
            let stream = &mut self.stream;
            self.model
                .device()
                .install(|| stream.set_adapters(strengths))
                .map_err(|error| GenerateError::of(&error))?;
        }
        Ok(())
    }

    /// Makes sure that there are VACE blocks where control signals need some; without, the signals are problems.
    fn prepare_control(&mut self, request: &mut Request, ports: &BTreeMap<String, Vec<Frame>>) -> bool {
        let mut keys = request.control_keys();
        keys.extend([CONTROL, MASKS].into_iter().filter(|port| ports.contains_key(*port)));
        if keys.is_empty() {
            return false;
        }
        if self.stream.chunks().family().chunk_frames == 1 {
            request.one_end();
        }
        if self.stream.chunks().model().vace().is_some() {
            return true;
        }
        let added = match self.model.vace.clone() {
            None => Err("this model has no VACE blocks".to_owned()),
            Some(vace) => vace.transformer().and_then(|transformer| {
                self.model.transformer = Arc::clone(&transformer);
                self.stream.set_model(transformer).map_err(|error| error.to_string())
            }),
        };
        if let Err(reason) = &added {
            request.drop_control();
            for key in keys {
                request.problem(key, reason.as_str());
            }
        }
        added.is_ok()
    }

    /// Input pictures of a chunk.
    fn chunk_pictures(&self) -> usize {
        LATENT_PICTURES * self.stream.chunks().family().chunk_frames
    }
}

impl Generator for VideoRun {
    fn needs(&self, mode: InputMode) -> Needs {
        match mode {
            InputMode::Text => Needs::Nothing,
            InputMode::Video => Needs::Frames { count: self.chunk_pictures(), sampling: Sampling::Uniform },
        }
    }

    fn generate(
        &mut self,
        chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        let Chunk { parameters, inputs, assets, effort, format, .. } = chunk;
        let mode = if inputs.contains_key(VIDEO) { InputMode::Video } else { InputMode::Text };
        let mut ways = ways(&self.settings, mode, parameters);
        let way = ways.swap_remove(effort.min(ways.len() - 1));
        if way.size != self.size {
            let adapters = self.stream.chunks().adapters().clone();
            self.stream = self.model.stream(way.size).map_err(|error| GenerateError::of(&error))?;
            self.stream.set_adapters(adapters).map_err(|error| GenerateError::of(&error))?;
            self.size = way.size;
        }
        let mut request = Request::read(parameters, way.steps, assets, &self.settings);
        if std::mem::take(&mut self.fresh) {
            request.show("ref_images", &self.settings.references, assets);
        }
        self.set_lora_scales(&mut request)?;
        let controlled = self.prepare_control(&mut request, &inputs);
        let images = |port: &str| inputs.get(port).into_iter().flatten().map(|frame| &frame.image);
        let control = |port: &str| images(port).filter(move |_| controlled);
        let masks: Vec<Image> = control(MASKS).map(Image::to_rgb8).collect();
        let grey: Vec<Vec<u8>> = masks.iter().map(brightness).collect();
        let input = Input {
            video: images(VIDEO).map(picture).collect(),
            control: control(CONTROL).map(picture).collect(),
            masks: masks.iter().zip(&grey).map(|(mask, bytes)| Picture { bytes, ..picture(mask) }).collect(),
            references: request.references(),
        };
        // What is resized afterwards is resized in full colour.
        let format = if self.size == self.settings.size { format } else { PixelFormat::Rgb8 };
        let call = request.call(&input, std::mem::take(&mut self.reset), format);
        let source = [VIDEO, CONTROL].into_iter().find_map(|port| inputs.get(port));
        let Self { model, stream, size, text, noise, settings, .. } = self;
        let input = source.map_or(&[][..], Vec::as_slice);
        let mut show = Show { made: *size, format, shown: settings.size, input, emit, problem: None };
        model
            .device()
            .install(|| {
                stream.generate(&call, &mut **text, &mut **noise, &mut |decoded| show.pictures(&decoded))
            })
            .map_err(|error| GenerateError::of(&error))?;
        let stages = stream.stages().named().to_vec();
        match show.problem {
            Some(problem) => Err(problem),
            None => Ok(ChunkReport { parameter_problems: request.problems, stages }),
        }
    }

    fn frame_rate(&self, mode: InputMode) -> Option<f64> {
        self.settings.frame_rate.filter(|_| mode == InputMode::Text)
    }

    fn efforts(&self, mode: InputMode, parameters: &Snapshot) -> Vec<Effort> {
        efforts(&ways(&self.settings, mode, parameters))
    }

    fn least_rate(&self, _mode: InputMode) -> Option<f64> {
        self.settings.frame_rate
    }

    fn reset(&mut self) {
        self.reset = true;
    }
}

/// Hands out pictures as they are decoded.
struct Show<'a> {
    /// Height and width of what is generated.
    made: [usize; 2],
    /// That of the decoded bytes.
    format: PixelFormat,
    /// Height and width of what is handed out.
    shown: [usize; 2],
    /// What the chunk was made from, oldest first.
    input: &'a [Frame],
    emit: &'a mut (dyn FnMut(Output) + Send),
    problem: Option<GenerateError>,
}

impl Show<'_> {
    fn pictures(&mut self, decoded: &Decoded) {
        if let Err(problem) = self.try_pictures(decoded) {
            self.problem.get_or_insert(problem);
        }
    }

    fn try_pictures(&mut self, decoded: &Decoded) -> Result<(), GenerateError> {
        let [height, width] = self.made.map(|side| side as u32);
        let [shown_height, shown_width] = self.shown.map(|side| side as u32);
        let bytes = decoded.bytes.wait().map_err(|error| GenerateError::of(&error))?;
        for (index, bytes) in bytes.chunks_exact(self.format.byte_len(width, height)).enumerate() {
            let image = Image::new(self.format, width, height, bytes.to_vec())
                .and_then(|image| image.resized(shown_width, shown_height, Fit::Stretch))
                .map_err(|error| GenerateError::of(&error))?;
            let captured_at = self.captured_at(decoded.first + index, decoded.total);
            (self.emit)(Output::Frame { port: VIDEO.into(), image, captured_at });
        }
        Ok(())
    }

    /// The time of the input picture that a picture was made from: the inputs are spread over the chunk.
    fn captured_at(&self, index: usize, total: usize) -> Option<Timestamp> {
        let source = index * self.input.len() / total.max(1);
        self.input.get(source).map(|frame| frame.captured_at)
    }
}

/// An RGB picture as a mask of one channel.
fn brightness(image: &Image) -> Vec<u8> {
    let (pixels, _) = image.data().as_chunks::<3>();
    pixels.iter().map(|&rgb| (rgb.map(u16::from).iter().sum::<u16>() / 3) as u8).collect()
}
