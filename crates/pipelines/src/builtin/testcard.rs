use crate::prompt::{Blend, Prompt, normalised_weights};
use crate::schema::Interpolation;
use crate::{
    Chunk, ChunkReport, Effort, GenerateError, Generator, InputMode, LoadError, LoadParams, LoadedPipeline,
    Needs, Output, Pipeline, PipelineSchema, Sampling, Snapshot,
};
use scope_frame::{Fit, Image, PixelFormat};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Frames per chunk, unless `chunk_frames` says otherwise.
const CHUNK: usize = 3;
/// Most frames per chunk.
const MAX_CHUNK: usize = 16;
/// Frames per second in text mode.
const FRAME_RATE: f64 = 15.0;
/// Cells of the frame counter on the bottom row.
const COUNTER_BITS: u32 = 16;
/// Smallest side: every counter cell keeps at least four pixels.
const MIN_SIZE: u64 = 64;
const MAX_SIZE: u64 = 2048;
/// The most that a chunk may be asked to take, for rehearsing slow models.
const MAX_DELAY_MS: f64 = 10_000.0;

/// A pipeline whose picture says what reached it. Its colour is a hash of the prompt, mixed by weight; transitions mix
/// linearly; `noise_scale` is brightness; a frame counter stands in black and white cells on the bottom row, restarted
/// by `reset_cache`; a reference image appears top left, and in video mode the input appears top right.
pub struct Testcard {
    schema: PipelineSchema,
}

impl Testcard {
    /// The pipeline.
    pub fn new() -> Self {
        let mut schema = PipelineSchema::new("testcard", "Test card", "TestcardConfig")
            .with_property("height", size_property("Height"))
            .with_property("width", size_property("Width"))
            .with_property(
                "noise_scale",
                json!({
                    "default": 0.7, "minimum": 0.0, "maximum": 1.0, "title": "Noise Scale", "type": "number",
                    "description": "Brightness of the card.",
                    "ui": {"category": "configuration", "component": "noise", "is_load_param": false, "order": 7,
                        "modulatable": true, "modulatable_min": 0.0, "modulatable_max": 1.0, "section": "motion"},
                }),
            )
            .with_property(
                "delay_ms",
                json!({
                    "default": 0.0, "minimum": 0.0, "maximum": MAX_DELAY_MS, "title": "Delay", "type": "number",
                    "description": "Time a chunk takes, to rehearse a slow model.",
                    "ui": {"category": "configuration", "is_load_param": false, "order": 8, "unit": "ms",
                        "section": "general", "advanced": true},
                }),
            )
            .with_property(
                "adaptive_quality",
                json!({
                    "default": true, "title": "Adaptive Quality", "type": "boolean",
                    "description": "Half of the delay while all of it is too much.",
                    "ui": {"category": "configuration", "is_load_param": false, "order": 10, "section": "general",
                        "advanced": true},
                }),
            )
            .with_property(
                "chunk_frames",
                json!({
                    "default": CHUNK, "minimum": 1, "maximum": MAX_CHUNK, "title": "Chunk", "type": "integer",
                    "description": "Frames made at once, to rehearse a model that works in bursts.",
                    "ui": {"category": "configuration", "is_load_param": false, "order": 9, "unit": "frames",
                        "section": "general", "advanced": true},
                }),
            );
        schema.description =
            "Turns the prompt into a colour and counts frames: shows what arrives, and when.".into();
        schema.supported_modes = vec![InputMode::Text, InputMode::Video];
        schema.default_mode = InputMode::Video;
        schema.supports_prompts = true;
        schema.supports_cache_management = true;
        schema.default_temporal_interpolation_method = Some(Interpolation::Linear);
        schema.min_dimension = 16;
        schema.default_prompt = Some("a dog walking in grass".into());
        schema.example_prompts = [
            "a dog walking in grass",
            "a cow walking in grass",
            "a dragon flying through clouds",
            "a robot walking on mars",
        ]
        .map(String::from)
        .into();
        Self { schema }
    }
}

fn size_property(title: &str) -> serde_json::Value {
    json!({
        "default": 512, "minimum": MIN_SIZE, "maximum": MAX_SIZE, "title": title, "type": "integer",
        "ui": {"category": "configuration", "component": "resolution", "is_load_param": true, "order": 4,
            "multiple_of": 16, "section": "quality"},
    })
}

impl Default for Testcard {
    fn default() -> Self {
        Self::new()
    }
}

impl Pipeline for Testcard {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn load(&self, params: &LoadParams, stage: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        stage("Drawing the test card…");
        let side = |key: &str| {
            let value = params.u64(key).unwrap_or(512);
            if value.is_multiple_of(16) && (MIN_SIZE..=MAX_SIZE).contains(&value) {
                return Ok(value as u32);
            }
            let nearest = (value / 16 * 16).clamp(MIN_SIZE, MAX_SIZE);
            Err(LoadError::InvalidParameter {
                pipeline: "testcard".into(),
                key: key.into(),
                problem: format!("is {value}; it must be a multiple of 16. Use {nearest}"),
            })
        };
        Ok(Arc::new(Loaded { width: side("width")?, height: side("height")? }))
    }
}

struct Loaded {
    width: u32,
    height: u32,
}

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        Ok(Box::new(Run {
            width: self.width,
            height: self.height,
            chunk: CHUNK,
            blend: Blend::default(),
            shown: Vec::new(),
            counter: 0,
            reference: None,
        }))
    }
}

type Rgb = [f64; 3];

struct Run {
    width: u32,
    height: u32,
    chunk: usize,
    blend: Blend<Rgb>,
    shown: Vec<Prompt>,
    counter: u16,
    reference: Option<Image>,
}

impl Generator for Run {
    fn needs(&self, mode: InputMode) -> Needs {
        match mode {
            InputMode::Text => Needs::Nothing,
            InputMode::Video => Needs::Frames { count: self.chunk, sampling: Sampling::Uniform },
        }
    }

    fn generate(
        &mut self,
        chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        let mut report = ChunkReport::default();
        if chunk.parameters.is_true("reset_cache") {
            self.reset();
        }
        let frames = chunk.parameters.get::<usize>("chunk_frames");
        self.chunk = frames.map_or(CHUNK, |frames| frames.clamp(1, MAX_CHUNK));
        self.take_prompts(chunk.parameters);
        self.take_reference(&chunk, &mut report);
        let colour = self.blend.advance(mix).unwrap_or([64.0; 3]);
        let brightness = 0.3 + 0.7 * chunk.parameters.f64("noise_scale").unwrap_or(0.7);
        let rgb = colour.map(|c| (c * brightness).round().clamp(0.0, 255.0) as u8);
        let delay = chunk.parameters.f64("delay_ms").unwrap_or(0.0).clamp(0.0, MAX_DELAY_MS);
        let share = if chunk.effort == 0 { 1.0 } else { 0.5 };
        std::thread::sleep(Duration::from_secs_f64(delay * share / 1000.0));

        let inputs = chunk.inputs.get("video").map_or(&[][..], Vec::as_slice);
        let count = if inputs.is_empty() { self.chunk } else { inputs.len() };
        for index in 0..count {
            let input = inputs.get(index);
            let image = self.draw(rgb, input.map(|frame| &frame.image))?;
            self.counter = self.counter.wrapping_add(1);
            emit(Output::Frame {
                port: "video".into(),
                image,
                captured_at: input.map(|frame| frame.captured_at),
            });
        }
        Ok(report)
    }

    fn frame_rate(&self, mode: InputMode) -> Option<f64> {
        (mode == InputMode::Text).then_some(FRAME_RATE)
    }

    /// A rehearsed slow model can be rehearsed with less effort.
    fn efforts(&self, _mode: InputMode, parameters: &Snapshot) -> Vec<Effort> {
        let slow = parameters.f64("delay_ms").is_some_and(|delay| delay > 0.0);
        let names: &[_] = if slow { &[("all of the delay", 1.0), ("half of the delay", 0.5)] } else { &[] };
        names.iter().map(|&(name, cost)| Effort { name: name.into(), cost }).collect()
    }

    fn reset(&mut self) {
        self.counter = 0;
    }
}

impl Run {
    fn take_prompts(&mut self, parameters: &Snapshot) {
        if let Some(transition) = parameters.transition() {
            self.blend.move_to(colour_of(&transition.target_prompts), transition.num_steps, mix);
            self.shown = transition.target_prompts;
        } else if let Some(prompts) = parameters.prompts()
            && prompts != self.shown
        {
            self.blend.cut_to(colour_of(&prompts));
            self.shown = prompts;
        }
    }

    fn take_reference(&mut self, chunk: &Chunk<'_>, report: &mut ChunkReport) {
        for key in ["vace_ref_images", "images", "first_frame_image"] {
            let paths =
                chunk.parameters.get::<Vec<String>>(key).or_else(|| Some(vec![chunk.parameters.get(key)?]));
            match paths.as_deref() {
                None => {}
                Some([]) => self.reference = None,
                Some([path, ..]) => match chunk.assets.image(path) {
                    Ok(image) => self.reference = Some(image),
                    Err(problem) => report.parameter_problems.push((key.into(), problem)),
                },
            }
        }
    }

    fn draw(&self, rgb: [u8; 3], input: Option<&Image>) -> Result<Image, GenerateError> {
        let failed = |error: scope_frame::ImageError| GenerateError::Failed(error.to_string());
        let mut pixels = rgb.repeat(self.width as usize * self.height as usize);
        let (part_w, part_h) = (self.width / 8, self.height / 8);
        if let Some(reference) = &self.reference {
            let small = reference.to_rgb8().resized(part_w, part_h, Fit::Cover).map_err(failed)?;
            self.paste(&mut pixels, &small, 0);
        }
        if let Some(input) = input {
            let small = input.resized(part_w, part_h, Fit::Cover).map_err(failed)?.to_rgb8();
            self.paste(&mut pixels, &small, self.width - part_w);
        }
        self.draw_counter(&mut pixels);
        Image::new(PixelFormat::Rgb8, self.width, self.height, pixels).map_err(failed)
    }

    fn paste(&self, pixels: &mut [u8], image: &Image, left: u32) {
        let (w, row_bytes) = (self.width as usize, image.width() as usize * 3);
        for (row, source) in image.data().chunks_exact(row_bytes).enumerate() {
            let start = (row * w + left as usize) * 3;
            pixels[start..start + row_bytes].copy_from_slice(source);
        }
    }

    /// Sixteen cells across the bottom, most significant bit left; white is 1. A cell is 1/16 of the width and as tall.
    fn draw_counter(&self, pixels: &mut [u8]) {
        let (w, h) = (self.width as usize, self.height as usize);
        let cell = w / COUNTER_BITS as usize;
        for row in h - cell.min(h)..h {
            for bit in 0..COUNTER_BITS {
                let on = self.counter >> (COUNTER_BITS - 1 - bit) & 1 == 1;
                let start = (row * w + bit as usize * cell) * 3;
                pixels[start..start + cell * 3].fill(if on { 255 } else { 0 });
            }
        }
    }
}

fn mix(from: &Rgb, to: &Rgb, share: f64) -> Rgb {
    std::array::from_fn(|c| from[c] + (to[c] - from[c]) * share)
}

fn colour_of(prompts: &[Prompt]) -> Rgb {
    let mut sum = [0.0; 3];
    for (prompt, weight) in prompts.iter().zip(normalised_weights(prompts)) {
        let colour = rgb_from_hue(hue_of(&prompt.text));
        sum = std::array::from_fn(|c| sum[c] + colour[c] * weight);
    }
    sum
}

/// The hue of a prompt in degrees: 32-bit FNV-1a of its trimmed text without the last four bits, modulo 360.
fn hue_of(text: &str) -> u32 {
    let hash = text
        .trim()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 4) % 360
}

/// HSL with 70 % saturation and 55 % lightness, as 0…255.
fn rgb_from_hue(hue: u32) -> Rgb {
    let (saturation, lightness) = (0.70, 0.55);
    let amplitude = saturation * f64::min(lightness, 1.0 - lightness);
    // CSS Color Module Level 4, §7.1.
    [0.0, 8.0, 4.0].map(|n| {
        let k = (n + f64::from(hue) / 30.0) % 12.0;
        255.0 * (lightness - amplitude * f64::min(k - 3.0, 9.0 - k).clamp(-1.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoAssets, ParameterStore};
    use scope_frame::{Frame, Timestamp};
    use serde_json::{Map, Value};
    use std::collections::BTreeMap;

    struct Harness {
        run: Box<dyn Generator>,
        store: ParameterStore,
        index: u64,
    }

    impl Harness {
        fn new() -> Self {
            let loaded = Testcard::new().load(&LoadParams::default(), &|_| {}).unwrap();
            Self { run: loaded.start().unwrap(), store: ParameterStore::default(), index: 0 }
        }

        fn set(&mut self, value: Value) {
            let Value::Object(map) = value else { panic!() };
            self.store.merge(&map, 0);
        }

        fn chunk(&mut self, inputs: Vec<Frame>) -> (Vec<Image>, ChunkReport) {
            self.index += 1;
            let mode = if inputs.is_empty() { InputMode::Text } else { InputMode::Video };
            let chunk = Chunk {
                index: self.index,
                mode,
                parameters: &self.store.take(),
                inputs: BTreeMap::from([("video".into(), inputs)]),
                assets: &NoAssets,
                now: Timestamp::default(),
                effort: 0,
                format: PixelFormat::Rgb8,
            };
            let mut images = Vec::new();
            let mut emit = |output: Output| {
                if let Output::Frame { image, .. } = output {
                    images.push(image);
                }
            };
            let report = self.run.generate(chunk, &mut emit).unwrap();
            (images, report)
        }
    }

    fn centre(image: &Image) -> [f64; 3] {
        let at = (image.height() / 2 * image.width() + image.width() / 2) as usize * 3;
        std::array::from_fn(|c| f64::from(image.data()[at + c]))
    }

    fn counter(image: &Image) -> u16 {
        let cell = image.width() as usize / 16;
        let row = (image.height() as usize - cell / 2 - 1) * image.width() as usize;
        (0..16).fold(0, |n, bit| n << 1 | u16::from(image.data()[(row + bit * cell + cell / 2) * 3] > 127))
    }

    #[test]
    fn frames_are_counted_and_a_reset_starts_over() {
        let mut card = Harness::new();
        let counts = |images: &[Image]| images.iter().map(counter).collect::<Vec<_>>();
        assert_eq!(counts(&card.chunk(vec![]).0), [0, 1, 2]);
        assert_eq!(counts(&card.chunk(vec![]).0), [3, 4, 5]);
        card.set(json!({"reset_cache": true}));
        assert_eq!(counts(&card.chunk(vec![]).0), [0, 1, 2]);
    }

    #[test]
    fn two_prompts_show_the_mean_of_their_colours() {
        let mut card = Harness::new();
        let mut show = |prompts: Value| {
            card.set(json!({"prompts": prompts, "noise_scale": 1.0}));
            centre(&card.chunk(vec![]).0[0])
        };
        let (a, b) = (show(json!(["a cow"])), show(json!(["a robot"])));
        let both = show(json!([{"text": "a cow", "weight": 50}, {"text": "a robot", "weight": 50}]));
        assert!(a.iter().zip(b).any(|(a, b)| (a - b).abs() > 40.0), "{a:?} {b:?}");
        for c in 0..3 {
            assert!((both[c] - (a[c] + b[c]) / 2.0).abs() <= 1.0);
        }
    }

    #[test]
    fn a_transition_takes_its_number_of_chunks() {
        let mut card = Harness::new();
        card.set(json!({"prompts": ["a cow"], "noise_scale": 1.0}));
        let start = centre(&card.chunk(vec![]).0[0]);
        card.set(
            json!({"transition": {"target_prompts": [{"text": "a robot", "weight": 1}], "num_steps": 8}}),
        );
        let seen: Vec<_> = (0..9).map(|_| centre(&card.chunk(vec![]).0[0])).collect();
        let distance = |rgb: [f64; 3]| start.iter().zip(rgb).map(|(a, b)| (a - b).abs()).sum::<f64>();
        assert!(seen.windows(2).take(7).all(|pair| distance(pair[1]) > distance(pair[0])), "{seen:?}");
        assert_eq!(seen[7], seen[8]);
    }

    #[test]
    fn the_size_of_a_chunk_can_be_chosen() {
        let mut card = Harness::new();
        for frames in [1, 12] {
            card.set(json!({"chunk_frames": frames}));
            assert_eq!(card.chunk(vec![]).0.len(), frames);
        }
    }

    #[test]
    fn noise_scale_is_brightness() {
        let mut card = Harness::new();
        let mut sum = |scale: f64| {
            card.set(json!({"prompts": ["x"], "noise_scale": scale}));
            centre(&card.chunk(vec![]).0[0]).iter().sum::<f64>()
        };
        assert!(sum(1.0) > sum(0.5) + 50.0);
    }

    #[test]
    fn video_mode_keeps_capture_times_and_shows_its_input() {
        let input = Frame::new(Image::solid(64, 64, [255; 3]).unwrap(), Timestamp::from_micros(77));
        let mut card = Harness::new();
        let (images, _) = card.chunk(vec![input.clone(), input]);
        assert_eq!(images.len(), 2);
        let top_right = (images[0].width() as usize - 10) * 3;
        assert_eq!(images[0].data()[top_right], 255);
    }

    #[test]
    fn sizes_off_the_grid_name_the_nearest_that_works() {
        let Value::Object(params) = json!({"width": 577}) else { panic!() };
        let error = Testcard::new().load(&LoadParams::new(params), &|_| {}).err().unwrap();
        assert!(error.to_string().contains("576"), "{error}");
    }

    #[test]
    fn a_missing_reference_is_reported_and_the_chunk_goes_on() {
        let mut card = Harness::new();
        card.set(json!({"vace_ref_images": ["/nowhere.png"]}));
        let (images, report) = card.chunk(vec![]);
        assert_eq!(images.len(), CHUNK);
        assert_eq!(report.parameter_problems[0].0, "vace_ref_images");
    }

    #[test]
    fn load_parameters_survive_an_empty_map() {
        assert!(Testcard::new().load(&LoadParams::new(Map::new()), &|_| {}).is_ok());
    }
}
