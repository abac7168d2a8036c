//! The pocket model by how its weights are kept: memory, time of a chunk of four pictures, and how far the pictures are
//! from those of `f32` weights: `cargo bench --profile release -p scope-models --bench pocket [threads]`. The kinds take
//! turns chunk by chunk, so that other work on the machine slows all alike; times are medians.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    env,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use scope_engine::{Cpu, Device};
use scope_models::{
    frames::Layout,
    noise::SeededNoise,
    pocket::{PocketFiles, PocketModel},
    prompt::{Interpolation, Prompt},
    text::TextEncoder,
    video::{ControlPictures, Decoded, VideoCall, VideoStream},
    weights::Precision,
};

const KINDS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

struct Stream {
    video: VideoStream,
    text: Arc<TextEncoder>,
    noise: SeededNoise,
    seed: u64,
}

impl Stream {
    fn new(model: &PocketModel, seed: u64) -> Self {
        let [width, height] = model.config().video.default_size;
        Self {
            video: model.video([height, width]).unwrap(),
            text: Arc::clone(model.text_encoder()),
            noise: SeededNoise::new(model.device(), seed),
            seed,
        }
    }

    /// The pictures of the next chunk, and how long they took.
    fn chunk(&mut self, prompt: &str, steps: &[f64]) -> (Vec<f32>, Duration) {
        let prompts = [Prompt { text: prompt.to_owned(), weight: 1.0 }];
        let call = VideoCall {
            prompts: &prompts,
            transition: None,
            method: Interpolation::Linear,
            video: None,
            noise_scale: None,
            follow_motion: false,
            steps,
            moving_steps: false,
            manage_cache: true,
            reset: false,
            seed: self.seed,
            control: ControlPictures::default(),
            control_scale: 1.0,
            cache_weight: None,
            layout: Layout::Packed,
        };
        let mut pictures = Vec::new();
        let begin = Instant::now();
        let mut keep = |decoded: Decoded| pictures.extend(decoded.pictures.to_vec());
        self.video.generate(&call, &mut self.text, &mut self.noise, &mut keep).unwrap();
        (pictures, begin.elapsed())
    }
}

/// Peak signal-to-noise ratio of pictures from −1 to 1, in decibels.
fn psnr(pictures: &[f32], original: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| f64::from(a.clamp(-1.0, 1.0) - b.clamp(-1.0, 1.0)).powi(2);
    let error = pictures.iter().zip(original).map(square).sum::<f64>() / original.len() as f64;
    10.0 * (4.0 / error.max(1e-12)).log10()
}

/// Mean difference of neighbours in a line: less where pictures are blurred.
fn sharpness(pictures: &[f32], width: usize) -> f64 {
    let lines = pictures.chunks_exact(3 * width);
    let sum: f64 =
        lines.map(|line| line.windows(4).map(|w| f64::from((w[3] - w[0]).abs())).sum::<f64>()).sum();
    sum / pictures.len() as f64
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let threads = arguments.iter().find_map(|argument| argument.parse().ok()).and_then(NonZeroUsize::new);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/pocket");
    let files = PocketFiles::open(&env::var_os("SCOPE_POCKET_DIR").map_or(folder, PathBuf::from)).unwrap();
    let cpu = Cpu::new(threads).unwrap();
    println!("{cpu:?}");
    let device = Device::from(cpu);
    let models = KINDS.map(|precision| PocketModel::load(&device, &files, precision).unwrap());
    let config = files.config();
    let steps: Vec<f64> = config.sampling.default_steps.iter().map(|step| 1000.0 * step).collect();
    let prompts = &config.example_prompts[..if quick { 1 } else { config.example_prompts.len() }];
    let [width, _] = config.video.default_size;

    // The first chunk has no past of its own: its inputs are the same for all.
    let mut first = [0.0; 3];
    for (index, prompt) in prompts.iter().enumerate() {
        let made =
            models.each_ref().map(|model| Stream::new(model, 1 + index as u64).chunk(prompt, &steps).0);
        for (sum, pictures) in first.iter_mut().zip(&made) {
            *sum += psnr(pictures, &made[0]) / prompts.len() as f64;
        }
    }

    let chunks = if quick { 2 } else { 40 };
    let mut streams = models.each_ref().map(|model| Stream::new(model, 7));
    let mut times = [const { Vec::new() }; 3];
    let (mut far, mut sharp) = ([0.0; 3], [0.0; 3]);
    for _ in 0..chunks {
        let mut made = Vec::new();
        for (stream, times) in streams.iter_mut().zip(&mut times) {
            let (pictures, time) = stream.chunk(&prompts[0], &steps);
            times.push(time);
            made.push(pictures);
        }
        for (index, pictures) in made.iter().enumerate() {
            far[index] += psnr(pictures, &made[0]) / f64::from(chunks);
            sharp[index] += sharpness(pictures, width) / f64::from(chunks);
        }
    }
    println!(
        "{:>6} {:>12} {:>16} {:>22} {:>10}",
        "", "chunk", "PSNR, 1st chunk", "PSNR, all the stream", "sharpness"
    );
    for (index, precision) in KINDS.iter().enumerate() {
        times[index].sort_unstable();
        let time = times[index][times[index].len() / 2];
        println!(
            "{:>6} {:>9.1} ms {:>13.1} dB {:>19.1} dB {:>9.1}%",
            format!("{precision:?}"),
            time.as_secs_f64() * 1e3,
            first[index],
            far[index],
            100.0 * sharp[index] / sharp[0]
        );
    }
}
