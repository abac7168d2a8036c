//! Streams through the autoencoders: what is encoded or decoded in parts is what it would have been in one go.
#![allow(clippy::expect_used)]

use proptest::prelude::*;
use scope_engine::{Cpu, Device, Tensor};
use scope_models::{
    vae::{
        DecoderMemory, EncoderMemory, LatentScale, TaeConfig, TinyAutoencoder, VaeError, VideoAutoencoder,
        WanAutoencoder, WanVaeConfig,
    },
    weights::{Loader, Precision, TensorMap, WeightError},
};

fn noise(len: usize, seed: u32, scale: f32) -> Vec<f32> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * scale
        })
        .collect()
}

fn device() -> Device {
    Cpu::new(std::num::NonZero::new(1)).expect("threads").into()
}

/// A network with random weights: it names the tensors that it misses.
fn random<T>(device: &Device, load: impl Fn(&Loader<'_>) -> Result<T, WeightError>) -> T {
    let mut weights = TensorMap::default();
    loop {
        match load(&Loader::new(&weights, device, Precision::F32)) {
            Ok(network) => return network,
            Err(WeightError::Missing(name)) => weights.insert(name, vec![], vec![]),
            Err(WeightError::Shape { name, expected, .. }) => {
                let len = expected.iter().product();
                let seed = name.bytes().fold(7, |hash: u32, byte| hash.wrapping_mul(31) ^ u32::from(byte));
                let inputs = expected[1..].iter().product::<usize>() as f32;
                weights.insert(name, expected, noise(len, seed, (2.0 / inputs).sqrt()));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn wan(device: &Device) -> WanAutoencoder {
    let config = WanVaeConfig::new(3, &[1, 2, 4, 4], 0.0, 1, &[false, true, true]);
    random(device, |loader| WanAutoencoder::load(loader, config.clone()))
}

fn tae(device: &Device, raw_latents: bool) -> TinyAutoencoder {
    let config =
        TaeConfig { encoder_widths: [6; 4], decoder_widths: [10, 8, 6, 5], raw_latents, ..TaeConfig::full() };
    random(device, |loader| TinyAutoencoder::load(loader, config))
}

fn tensor(device: &Device, shape: &[usize], seed: u32) -> Tensor {
    Tensor::from_f32(device, shape, &noise(shape.iter().product(), seed, 1.0)).expect("a tensor")
}

fn close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-4, "{got} for {expected}");
    }
}

/// Encodes `pixels` in parts that begin and end at multiples of four frames after the first `alone`.
fn encoded(vae: &dyn VideoAutoencoder, pixels: &Tensor, alone: usize, parts: &[usize]) -> Vec<f32> {
    let mut memory = EncoderMemory::default();
    let (mut latents, mut start) = (Vec::new(), 0);
    for (index, part) in parts.iter().enumerate() {
        let count = 4 * part + if index == 0 { alone } else { 0 };
        let pixels = pixels.narrow(start, count).expect("frames");
        latents.extend(vae.encode(&mut memory, &pixels, LatentScale::Normalised).expect("latents").to_vec());
        start += count;
    }
    assert!(memory.bytes() > 0);
    latents
}

/// Decodes `latents` in parts.
fn decoded(vae: &dyn VideoAutoencoder, latents: &Tensor, parts: &[usize]) -> Vec<f32> {
    let mut memory = DecoderMemory::default();
    let (mut frames, mut start) = (Vec::new(), 0);
    for &part in parts {
        let latents = latents.narrow(start, part).expect("latents");
        frames.extend(vae.decode(&mut memory, &latents).expect("frames").to_vec());
        start += part;
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_of_a_stream_make_the_whole(parts in prop::collection::vec(1usize..3, 1..4), seed in 0u32..1000) {
        let device = device();
        let total: usize = parts.iter().sum();
        let networks: [(Box<dyn VideoAutoencoder>, usize); 3] = [
            (Box::new(wan(&device)), 1),
            (Box::new(tae(&device, false)), 0),
            (Box::new(tae(&device, true)), 0),
        ];
        for (vae, alone) in networks {
            let pixels = tensor(&device, &[alone + 4 * total, 16, 24, 3], seed);
            let whole = vae.encode_once(&pixels, LatentScale::Normalised).expect("latents");
            prop_assert_eq!(&whole.shape()[..], &[alone + total, 2, 3, 16]);
            close(&encoded(&*vae, &pixels, alone, &parts), &whole.to_vec());

            let latents = tensor(&device, &[total, 2, 3, 16], seed + 1);
            let whole = vae.decode_once(&latents).expect("frames");
            prop_assert_eq!(&whole.shape()[..], &[1 + 4 * (total - 1), 16, 24, 3]);
            prop_assert!(whole.to_vec().iter().all(|value| (-1.0..=1.0).contains(value)));
            close(&decoded(&*vae, &latents, &parts), &whole.to_vec());
        }
    }

    #[test]
    fn groups_of_frames_make_no_difference(groups in 1usize..4, seed in 0u32..1000) {
        let device = device();
        let vae = wan(&device);
        let pixels = tensor(&device, &[1 + 4 * groups, 16, 16, 3], seed);
        let grouped = vae.encode_once(&pixels, LatentScale::Raw).expect("latents");
        let at_once = vae.encode_uneven(&mut EncoderMemory::default(), &pixels, LatentScale::Raw).expect("latents");
        close(&grouped.to_vec(), &at_once.to_vec());
    }
}

#[test]
fn without_an_opening_picture_every_latent_is_four_pictures() {
    let device = device();
    let config = TaeConfig {
        latent_channels: 5,
        patch: 2,
        encoder_widths: [4, 6, 5, 7],
        encoder_blocks: [1, 2, 0],
        decoder_widths: [7, 6, 5, 4],
        decoder_blocks: [2, 1, 3],
        single_opening: false,
        ..TaeConfig::full()
    };
    let vae = random(&device, |loader| TinyAutoencoder::load(loader, config));
    assert_eq!((vae.spatial_factor(), vae.opening_pictures()), (16, 0));
    let pixels = tensor(&device, &[12, 32, 16, 3], 5);
    let whole = vae.encode_once(&pixels, LatentScale::Normalised).expect("latents");
    assert_eq!(whole.shape()[..], [3, 2, 1, 5]);
    close(&encoded(&vae, &pixels, 0, &[1, 2]), &whole.to_vec());
    let frames = vae.decode_once(&whole).expect("frames");
    assert_eq!(frames.shape()[..], [12, 32, 16, 3]);
    close(&decoded(&vae, &whole, &[2, 1]), &frames.to_vec());
}

#[test]
fn streams_share_weights_and_nothing_else() {
    let device = device();
    for vae in [Box::new(wan(&device)) as Box<dyn VideoAutoencoder>, Box::new(tae(&device, false))] {
        let latents = [tensor(&device, &[3, 2, 2, 16], 1), tensor(&device, &[3, 2, 3, 16], 2)];
        let mut memories = [DecoderMemory::default(), DecoderMemory::default()];
        let mut frames = [Vec::new(), Vec::new()];
        for index in 0..3 {
            for stream in 0..2 {
                let latent = latents[stream].narrow(index, 1).expect("a latent");
                let decoded = vae.decode_next(&mut memories[stream], &latent).expect("frames");
                assert_eq!(decoded.dim(0), if index == 0 { 1 } else { 4 });
                frames[stream].extend(decoded.to_vec());
            }
        }
        for stream in 0..2 {
            close(&frames[stream], &vae.decode_once(&latents[stream]).expect("frames").to_vec());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_the_stream_begins_again() {
    let device = device();
    let vae = wan(&device);
    let mut memory = EncoderMemory::default();
    let mut encode = |shape: &[usize]| {
        let result = vae.encode(&mut memory, &tensor(&device, shape, 3), LatentScale::Normalised);
        (result.map(|latents| latents.dim(0)), memory.is_fresh())
    };
    assert!(matches!(encode(&[1, 16, 12, 3]), (Err(VaeError::Input { .. }), true)));
    assert!(matches!(encode(&[4, 16, 16, 3]), (Err(VaeError::Input { .. }), true)));
    assert!(matches!(encode(&[5, 16, 16, 3]), (Ok(2), false)));
    assert!(matches!(encode(&[3, 16, 16, 3]), (Err(VaeError::Input { .. }), false)));
    assert!(matches!(encode(&[4, 16, 24, 3]), (Err(VaeError::Engine(_)), true)));
    assert!(matches!(encode(&[1, 16, 24, 3]), (Ok(1), false)));
    let mut memory = DecoderMemory::default();
    assert!(vae.decode_next(&mut memory, &tensor(&device, &[1, 2, 2, 4], 4)).is_err());
}
