//! A stream that has warmed up allocates nothing: every tensor takes memory that an earlier one gave back.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use std::{num::NonZeroUsize, sync::Arc};

use allocation_counter::measure;
use scope_engine::{Cpu, Device, Tensor};
use scope_models::{
    quirks::Quirks,
    wan::{ChunkRequest, ChunkStream, Family, NoiseSource, WanConfig, WanTransformer},
    weights::{Loader, Precision, RandomWeights},
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
