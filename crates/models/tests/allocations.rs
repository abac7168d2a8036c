//! A stream that has warmed up allocates nothing: every tensor takes memory that an earlier one gave back.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use std::{num::NonZeroUsize, sync::Arc};

use allocation_counter::measure;
use scope_engine::{Cpu, Device, Tensor};
use scope_models::{
    quirks::Quirks,
    vae::{
        DecoderMemory, EncoderMemory, LatentScale, TaeConfig, TinyAutoencoder, VideoAutoencoder,
        WanAutoencoder, WanVaeConfig,
    },
    wan::{ChunkRequest, ChunkStream, Family, NoiseSource, WanConfig, WanTransformer},
    weights::{Loader, Precision, RandomWeights, TensorMap, WeightError},
};

/// The same noise again and again, already on the device.
struct FixedNoise(Tensor);

impl NoiseSource for FixedNoise {
    fn draw(&mut self, shape: [usize; 4]) -> scope_engine::Result<Tensor> {
        self.0.narrow(0, shape[0])
    }
}

fn config() -> WanConfig {
    WanConfig {
        dim: 48,
        ffn_dim: 96,
        freq_dim: 32,
        text_dim: 32,
        text_len: 16,
        in_dim: 16,
        out_dim: 16,
        num_heads: 2,
        num_layers: 2,
        patch: 2,
        eps: 1e-6,
    }
}

#[test]
fn a_steady_stream_allocates_nothing() {
    for family in
        [Family::streamdiffusion_v2(), Family::longlive(), Family::reward_forcing(), Family::memflow()]
    {
        // Allocations are counted on the calling thread: with one compute thread, it is the one that works.
        let device = Device::from(Cpu::new(NonZeroUsize::new(1)).expect("threads"));
        let weights = RandomWeights::new(&[&config().description()], 3);
        let loader = Loader::new(&weights, &device, Precision::Bf16);
        let model = Arc::new(WanTransformer::load(&loader, &config(), None).expect("a model"));
        let mut stream = ChunkStream::new(model, &family, [4, 6], Quirks::default()).expect("a stream");
        let text: Vec<f32> = (0..7 * 32).map(|i| (i as f32).sin()).collect();
        stream.set_text(&Tensor::from_f32(&device, &[7, 32], &text).expect("a text")).expect("fits");
        let values: Vec<f32> = (0..3 * 4 * 6 * 16).map(|i| (i as f32 * 0.7).cos()).collect();
        let mut noise = FixedNoise(Tensor::from_f32(&device, &[3, 4, 6, 16], &values).expect("noise"));
        let counted = device.install(|| {
            let mut chunk = || {
                stream.wrap();
                let latents = noise.draw([stream.next_frames(), 4, 6, 16]).expect("noise");
                let request = ChunkRequest {
                    latents: &latents,
                    steps: &[1000.0, 500.0],
                    noise_scale: None,
                    vace: None,
                    cache_weight: None,
                    reencoded: None,
                };
                let latents = stream.generate(&request, &mut noise).expect("a chunk");
                assert!(latents.to_vec().iter().all(|value| value.is_finite()));
            };
            for _ in 0..14 {
                chunk();
            }
            measure(|| {
                // `to_vec` above is the one allocation that each chunk may make.
                for _ in 0..9 {
                    chunk();
                }
            })
        });
        assert_eq!(counted.count_total, 9, "{}: {counted:?}", family.name);
    }
}

/// A network with made-up weights: it names the tensors that it misses.
fn made_up<T>(device: &Device, load: impl Fn(&Loader<'_>) -> Result<T, WeightError>) -> T {
    let mut weights = TensorMap::default();
    loop {
        match load(&Loader::new(&weights, device, Precision::F32)) {
            Ok(network) => return network,
            Err(WeightError::Missing(name)) => weights.insert(name, vec![], vec![]),
            Err(WeightError::Shape { name, expected, .. }) => {
                let count = expected.iter().product::<usize>();
                weights.insert(name, expected, (0..count).map(|i| (i as f32).sin() * 0.1).collect());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn steady_autoencoders_allocate_nothing() {
    let device = Device::from(Cpu::new(NonZeroUsize::new(1)).expect("threads"));
    let tae = TaeConfig { encoder_widths: [8; 4], decoder_widths: [16, 8, 8, 8], ..TaeConfig::full() };
    let tae = made_up(&device, |loader| TinyAutoencoder::load(loader, tae));
    let wan = WanVaeConfig::new(8, &[1, 2, 4, 4], 0.0, 1, &[false, true, true]);
    let wan = made_up(&device, |loader| WanAutoencoder::load(loader, wan.clone()));
    let networks: [(&str, &dyn VideoAutoencoder); 2] = [("TAE", &tae), ("Wan VAE", &wan)];
    for (name, network) in networks {
        let tensor = |shape: &[usize]| {
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|i: usize| (i as f32 * 0.3).sin()).collect();
            Tensor::from_f32(&device, shape, &values).expect("a tensor")
        };
        let (latent, pixels) = (tensor(&[1, 4, 6, 16]), tensor(&[4, 32, 48, 3]));
        let (mut encoder, mut decoder) = (EncoderMemory::default(), DecoderMemory::default());
        let opening = pixels.narrow(0, network.first_latent_pictures()).expect("pictures");
        network.encode(&mut encoder, &opening, LatentScale::Normalised).expect("encodes");
        let counted = device.install(|| {
            let mut round = || {
                network.decode_next(&mut decoder, &latent).expect("decodes");
                network.encode(&mut encoder, &pixels, LatentScale::Normalised).expect("encodes");
            };
            (0..6).for_each(|_| round());
            measure(|| (0..5).for_each(|_| round()))
        });
        assert_eq!(counted.count_total, 0, "{name}: {counted:?}");
    }
}
