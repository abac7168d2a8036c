//! Milliseconds a frame for colour conversion, encoding, decoding and stills: `cargo bench --profile release -p
//! scope-media`. One thread; a moving picture with grain at 0.15 bits a pixel.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use scope_frame::{Image, PixelFormat};
use scope_media::codec::{Decoder, Encoder, EncoderConfig, VideoCodec};
use scope_media::still;
use std::hint::black_box;
use std::time::{Duration, Instant};

const FRAMES: usize = 150;

fn main() {
    // `cargo test --benches` runs this with `--test`: a glance is enough there.
    let frames = if std::env::args().any(|argument| argument == "--test") { 3 } else { FRAMES };
    println!("{:>10}  {:<14} {:>7} {:>7}   ms a frame, {frames} frames", "size", "", "p50", "p95");
    for size in [(512, 512), (832, 480), (1280, 720)] {
        let pictures: Vec<Image> = (0..30).map(|index| picture(size, index)).collect();
        // Back and forth, so that the motion never jumps.
        let stream = || pictures.iter().chain(pictures[1..29].iter().rev()).cycle().take(frames);
        let report = |name: &str, mut times: Vec<Duration>| {
            times.sort();
            let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
            println!("{:>5}×{:<4}  {name:<14} {:>7.2} {:>7.2}", size.0, size.1, at(50), at(95));
        };
        report("RGB → I420", each(stream(), |image| drop(black_box(image.to_i420()))));
        report("JPEG 85", each(stream(), |image| drop(black_box(still::encode_jpeg(image, 85)))));
        for codec in [VideoCodec::Vp8, VideoCodec::H264] {
            let (width, height) = size;
            let config = EncoderConfig { width, height, bitrate_kbps: width * height * 9 / 2000, fps: 30.0 };
            let mut encoder = Encoder::new(codec, &config).unwrap();
            let planar: Vec<Image> = stream().map(Image::to_i420).collect();
            let mut packets = Vec::new();
            let times = each((0i64..).zip(&planar), |(index, image)| {
                packets.extend(encoder.encode(image, index * 3000, false).unwrap());
            });
            report(&format!("{codec:?} encode"), times);
            let mut decoder = Decoder::new(codec).unwrap();
            let mut shown = Vec::new();
            let times = each(packets.iter(), |packet| shown.extend(decoder.decode(&packet.data).unwrap()));
            report(&format!("{codec:?} decode"), times);
            let bytes: usize = packets.iter().map(|packet| packet.data.len()).sum();
            let kbps = bytes as f64 * 8.0 * 30.0 / frames as f64 / 1000.0;
            let quality: f64 = planar.iter().zip(&shown).map(|(a, b)| psnr(a, b)).sum();
            println!("{:12}{kbps:.0} of {} kb/s, {:.1} dB", "", config.bitrate_kbps, quality / frames as f64);
        }
    }
}

/// How long `step` takes for every item.
fn each<T>(items: impl Iterator<Item = T>, mut step: impl FnMut(T)) -> Vec<Duration> {
    let timed = items.map(|item| {
        let start = Instant::now();
        step(item);
        start.elapsed()
    });
    timed.collect()
}

/// Peak signal-to-noise ratio of two pictures' luma, in dB.
fn psnr(a: &Image, b: &Image) -> f64 {
    let (a, b) = (a.planes().unwrap()[0], b.planes().unwrap()[0]);
    let squares: u64 = a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
    10.0 * (255.0f64.powi(2) * a.len() as f64 / squares.max(1) as f64).log10()
}

/// Gradients with a moving box and grain.
fn picture((width, height): (u32, u32), index: u32) -> Image {
    let mut state = u64::from(index) * 2 + 0x9e37_79b9_7f4a_7c15;
    let mut data = Vec::with_capacity(width as usize * height as usize * 3);
    let (left, top) = (index * 4, index * 3);
    for y in 0..height {
        for x in 0..width {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let grain = (state & 7) as u32;
            let inside = (left..left + height / 3).contains(&x) && (top..top + height / 3).contains(&y);
            let wave = (x * 3 + y * 2 + index * 2) / 8 % 64;
            let pixel = if inside {
                [200, 160 + wave / 4, 40]
            } else {
                [x * 200 / width, y * 200 / height, 60 + wave]
            };
            data.extend(pixel.map(|value| (value + grain) as u8));
        }
    }
    Image::new(PixelFormat::Rgb8, width, height, data).unwrap()
}
