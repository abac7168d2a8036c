//! Milliseconds a frame for colour conversion, encoding, decoding and stills: `cargo bench --profile release -p
//! scope-media`. One thread; a moving picture with grain at 0.15 bits a pixel.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use scope_frame::{Image, PixelFormat};
use scope_media::codec::{Decoder, Encoder, EncoderConfig, VideoCodec};
use scope_media::still;
use std::hint::black_box;
use std::time::{Duration, Instant};

const FRAMES: u32 = 150;

fn main() {
    // `cargo test --benches` runs this with `--test`: once around is enough there.
    let frames = if std::env::args().any(|argument| argument == "--test") { 3 } else { FRAMES };
    println!("{:>10}  {:<14} {:>7} {:>7}   ms a frame, {frames} frames", "size", "", "p50", "p95");
    for (width, height) in [(512, 512), (832, 480), (1280, 720)] {
        let pictures: Vec<Image> = (0..30).map(|index| picture(width, height, index)).collect();
        let report = |name: &str, mut times: Vec<Duration>| {
            times.sort();
            let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
            println!("{:>10}  {name:<14} {:>7.2} {:>7.2}", format!("{width}×{height}"), at(50), at(95));
        };
        let each = |mut step: Box<dyn FnMut(u32, &Image) + '_>| -> Vec<Duration> {
            // Back and forth, so that the motion never jumps.
            let order = (0..30).chain((1..29).rev()).cycle().take(frames as usize);
            let timed = (0..).zip(order).map(|(count, index)| {
                let start = Instant::now();
                step(count, &pictures[index]);
                start.elapsed()
            });
            timed.collect()
        };
        report("RGB → I420", each(Box::new(|_, image| drop(black_box(image.to_i420())))));
        for codec in [VideoCodec::Vp8, VideoCodec::H264] {
            let bitrate_kbps = width * height * 30 * 15 / 100_000;
            let config = EncoderConfig { width, height, bitrate_kbps, fps: 30.0 };
            let mut encoder = Encoder::new(codec, &config).unwrap();
            let mut packets = Vec::new();
            let i420: Vec<Image> = pictures.iter().map(Image::to_i420).collect();
            let order = (0..30).chain((1..29).rev()).cycle().take(frames as usize);
            let mut times = Vec::new();
            for (count, index) in (0i64..).zip(order) {
                let start = Instant::now();
                let frame = encoder.encode(&i420[index], count * 3000, false).unwrap();
                times.push(start.elapsed());
                packets.extend(frame);
            }
            report(&format!("{codec:?} encode"), times);
            let bytes: usize = packets.iter().map(|packet| packet.data.len()).sum();
            let mut decoder = Decoder::new(codec).unwrap();
            let timed = packets.iter().map(|packet| {
                let start = Instant::now();
                black_box(decoder.decode(&packet.data).unwrap());
                start.elapsed()
            });
            report(&format!("{codec:?} decode"), timed.collect());
            let kbps = bytes as f64 * 8.0 * 30.0 / f64::from(frames) / 1000.0;
            println!("{:>10}  {kbps:.0} kb/s of {bitrate_kbps}", "");
        }
        report("JPEG 85", each(Box::new(|_, image| drop(black_box(still::encode_jpeg(image, 85))))));
    }
}

/// Gradients with a moving box and grain.
fn picture(width: u32, height: u32, index: u32) -> Image {
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
