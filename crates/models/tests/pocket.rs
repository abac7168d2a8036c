//! The pocket model against its recorded roll-out.
//!
//! `SCOPE_POCKET_DIR` names a folder with the model's files and `parity.safetensors.gz`; otherwise it is `models/pocket` of
//! the repository.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use std::{
    env,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use flate2::read::GzDecoder;
use scope_engine::{Cpu, Device, Tensor};
use scope_models::{
    checkpoint::Checkpoint,
    frames::Layout,
    pocket::{PocketFiles, PocketModel},
    prompt::{Interpolation, Prompt},
    vae::{EncoderMemory, LatentScale, VideoAutoencoder},
    video::{ControlPictures, VideoCall},
    wan::NoiseSource,
    weights::Precision,
};

/// Largest differences. Sums are ordered differently, and a roll-out feeds them back.
struct Limits {
    embedding: f32,
    latents: f32,
    pictures: f32,
    bytes: f32,
}

fn folder() -> PathBuf {
    let repository = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/pocket");
    env::var_os("SCOPE_POCKET_DIR").map_or_else(repository, PathBuf::from)
}

/// `[frames, channels, height, width]` as `[frames, height, width, channels]`.
fn channels_last(values: &[f32], [frames, channels, height, width]: [usize; 4]) -> Vec<f32> {
    let area = height * width;
    let mut out = Vec::with_capacity(values.len());
    for frame in 0..frames {
        for pixel in 0..area {
            out.extend((0..channels).map(|channel| values[(frame * channels + channel) * area + pixel]));
        }
    }
    out
}

struct Recording(Checkpoint);

impl Recording {
    fn values(&self, name: &str) -> Vec<f32> {
        self.0.get(name).expect("a recorded tensor").to_f32()
    }

    fn shape4(&self, name: &str) -> [usize; 4] {
        self.0.get(name).expect("a recorded tensor").shape().try_into().expect("four dimensions")
    }

    fn pictures(&self, name: &str) -> Vec<f32> {
        channels_last(&self.values(name), self.shape4(name))
    }

    fn metadata<T: serde::de::DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_str(&self.0.metadata()[name]).expect("JSON")
    }
}

fn largest_difference(got: &[f32], recorded: &[f32]) -> f32 {
    assert_eq!(got.len(), recorded.len());
    got.iter().zip(recorded).fold(0.0, |worst, (got, recorded)| {
        let difference = (got - recorded).abs();
        // NaN is worse than everything.
        if difference.is_nan() { f32::INFINITY } else { worst.max(difference) }
    })
}

struct Recorded<'a> {
    device: &'a Device,
    values: Vec<f32>,
    frame: usize,
    next: usize,
}

impl NoiseSource for Recorded<'_> {
    fn draw(&mut self, shape: [usize; 4]) -> scope_engine::Result<Tensor> {
        assert_eq!(shape.iter().product::<usize>(), self.frame);
        let values = &self.values[self.next * self.frame..][..self.frame];
        self.next += 1;
        Tensor::from_f32(self.device, &shape, values)
    }
}

#[test]
fn the_recorded_roll_out_is_reproduced() {
    reproduce(Precision::F32, &Limits { embedding: 1e-4, latents: 1e-3, pictures: 1e-3, bytes: 1.0 });
}

#[test]
fn integers_reproduce_the_recorded_pictures() {
    reproduce(Precision::Int8, &Limits { embedding: 3e-2, latents: 3e-2, pictures: 5e-3, bytes: 2.0 });
}

/// The recording in `folder`, unpacked into a file of its own.
fn recording(folder: &Path) -> Recording {
    let packed = File::open(folder.join("parity.safetensors.gz")).expect("a recording");
    let scratch = tempfile::tempdir().expect("a folder");
    let path = scratch.path().join("parity.safetensors");
    io::copy(&mut GzDecoder::new(packed), &mut File::create(&path).expect("a file"))
        .expect("a whole recording");
    // Mapped: the name may go.
    Recording(Checkpoint::open(&path).expect("the recording"))
}

fn reproduce(precision: Precision, limits: &Limits) {
    let folder = folder();
    let recording = recording(&folder);
    let device = Device::from(Cpu::new(None).expect("threads"));
    let files = PocketFiles::open(&folder).expect("the model's files");
    let model = PocketModel::load(&device, &files, precision).expect("the model");
    let prompts: Vec<String> = recording.metadata("prompts");
    let steps: Vec<f64> = recording.metadata::<Vec<f64>>("steps").iter().map(|step| 1000.0 * step).collect();
    let switch: usize = recording.metadata("switch_at_latent");

    let embeddings = model.text_encoder().encode(&prompts).expect("embeddings");
    let embeddings: Vec<f32> = embeddings.iter().flat_map(Tensor::to_vec).collect();
    let error = largest_difference(&embeddings, &recording.values("text_embedding"));
    println!("text embedding: largest difference {error:.1e}");
    assert!(error <= limits.embedding);

    let shape = recording.shape4("latents");
    let [count, channels, height, width] = shape;
    let latents = recording.pictures("latents");
    let frame = channels * height * width;
    let mut noise = Recorded { device: &device, values: recording.pictures("noise"), frame, next: 0 };
    let side = model.autoencoder().spatial_factor();
    let mut video = model.video([side * height, side * width]).expect("a video");
    let mut text = std::sync::Arc::clone(model.text_encoder());
    let (mut pictures, mut worst) = (Vec::new(), 0f32);
    let started = Instant::now();
    for index in 0..count {
        let text_of_now = &prompts[usize::from(index >= switch).min(prompts.len() - 1)];
        let prompt = [Prompt { text: text_of_now.clone(), weight: 1.0 }];
        let call = VideoCall {
            prompts: &prompt,
            transition: None,
            method: Interpolation::Linear,
            video: None,
            noise_scale: None,
            follow_motion: false,
            steps: &steps,
            moving_steps: false,
            manage_cache: true,
            reset: false,
            seed: 0,
            control: ControlPictures::default(),
            control_scale: 1.0,
            cache_weight: None,
            layout: Layout::Packed,
        };
        let made = video
            .generate(&call, &mut text, &mut noise, &mut |decoded| pictures.push(decoded.pictures))
            .expect("a latent");
        worst = worst.max(largest_difference(&made.to_vec(), &latents[index * frame..][..frame]));
    }
    let pictures_made: usize = pictures.iter().map(|decoded| decoded.dim(0)).sum();
    let rate = pictures_made as f64 / started.elapsed().as_secs_f64();
    println!("latents: largest difference {worst:.1e}; {rate:.1} pictures a second");
    assert!(worst <= limits.latents);
    assert_eq!(pictures_made, 4 * count);

    let pictures = Tensor::concat(&pictures.iter().collect::<Vec<_>>()).expect("pictures");
    let shown: Vec<f32> = pictures.to_vec().iter().map(|value| 0.5 * value + 0.5).collect();
    let picture = 3 * side * height * side * width;
    let first = channels_last(&recording.values("first_frame"), [1, 3, side * height, side * width]);
    let error = largest_difference(&shown[..picture], &first);
    println!("first picture: largest difference {error:.1e}");
    assert!(error <= limits.pictures);
    let recorded_ones =
        recording.0.metadata()["frames"].split(',').map(|index| index.parse::<usize>().unwrap());
    let bytes: Vec<f32> = recorded_ones
        .flat_map(|index| &shown[index * picture..][..picture])
        .map(|value| (value * 255.0).round())
        .collect();
    let error = largest_difference(&bytes, &recording.values("frames_u8"));
    println!("recorded pictures: largest difference {error} of 255");
    assert!(error <= limits.bytes);

    let recorded = recording.pictures("reencoded_latents");
    let again = recorded.len() / frame;
    let input = pictures.narrow(0, 4 * again).expect("pictures");
    let encoded = model
        .autoencoder()
        .encode(&mut EncoderMemory::default(), &input, LatentScale::Normalised)
        .expect("latents");
    let error = largest_difference(&encoded.to_vec(), &recorded);
    println!("encoded again: largest difference {error:.1e}");
    assert!(error <= limits.latents);
}
