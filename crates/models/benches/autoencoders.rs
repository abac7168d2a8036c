//! Milliseconds to encode and decode a latent frame, with random weights: `cargo bench --profile release -p
//! scope-models --bench autoencoders [threads]`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use scope_engine::{Cpu, Device, Tensor};
use scope_models::{
    vae::{
        DecoderMemory, EncoderMemory, LatentScale, TaeConfig, TinyAutoencoder, VideoAutoencoder,
        WanAutoencoder, WanVaeConfig,
    },
    weights::{Loader, Precision, TensorMap, WeightError},
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let threads = arguments.iter().find_map(|argument| argument.parse::<usize>().ok());
    let cpu = Cpu::new(threads.and_then(NonZeroUsize::new)).unwrap();
    println!("{cpu:?}");
    let device = Device::from(cpu);
    let (size, rounds) = if quick { ([16, 16], 1) } else { ([288, 512], 4) };
    let tae = random(&device, |loader| TinyAutoencoder::load(loader, TaeConfig::full()));
    device.install(|| report("TAE", &tae, &device, size, rounds));
    let light = random(&device, |loader| WanAutoencoder::load(loader, WanVaeConfig::light()));
    device.install(|| report("LightVAE", &light, &device, size, rounds));
}

fn report(
    name: &str,
    vae: &dyn VideoAutoencoder,
    device: &Device,
    [height, width]: [usize; 2],
    rounds: usize,
) {
    let (mut encoder, mut decoder) = (EncoderMemory::default(), DecoderMemory::default());
    let latent = ramp(device, &[1, height / 8, width / 8, 16]);
    let pixels = ramp(device, &[4, height, width, 3]);
    let mut first = Duration::MAX;
    let mut decode = Duration::MAX;
    let mut encode = Duration::MAX;
    for round in 0..=rounds {
        let start = Instant::now();
        vae.decode_next(&mut decoder, &latent).unwrap();
        let least = if round == 0 { &mut first } else { &mut decode };
        *least = start.elapsed().min(*least);
        if encoder.is_fresh() {
            // The first frame of a stream may be a group by itself.
            let lone = pixels.narrow(0, 1).unwrap();
            vae.encode(&mut encoder, &lone, LatentScale::Normalised).unwrap();
        }
        let start = Instant::now();
        vae.encode(&mut encoder, &pixels, LatentScale::Normalised).unwrap();
        encode = start.elapsed().min(encode);
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{name:<10} {width}×{height}: first frame {:7.1} ms, then four in {:7.1} ms; encoding four {:7.1} ms; memory {} MiB",
        ms(first),
        ms(decode),
        ms(encode),
        (decoder.bytes() + encoder.bytes()) >> 20
    );
}

/// Values without denormal numbers, different at every place.
fn ramp(device: &Device, shape: &[usize]) -> Tensor {
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|index: usize| (index % 1009) as f32 / 505.0 - 1.0).collect();
    Tensor::from_f32(device, shape, &values).unwrap()
}

/// A network with random weights: it names the tensors that it misses.
fn random<T>(device: &Device, load: impl Fn(&Loader<'_>) -> Result<T, WeightError>) -> T {
    let mut weights = TensorMap::default();
    loop {
        match load(&Loader::new(&weights, device, Precision::F32)) {
            Ok(network) => return network,
            Err(WeightError::Missing(name)) => weights.insert(name, vec![], vec![]),
            Err(WeightError::Shape { name, expected, .. }) => {
                let inputs = expected[1..].iter().product::<usize>() as f32;
                let values = (0..expected.iter().product())
                    .map(|index: usize| ((index % 1009) as f32 / 505.0 - 1.0) * (2.0 / inputs).sqrt())
                    .collect();
                weights.insert(name, expected, values);
            }
            Err(error) => panic!("{error}"),
        }
    }
}
