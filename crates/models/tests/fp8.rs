//! A transformer in 8 bits on the GPU beside the same in bf16: nearly the same flow, the same bytes every time, less memory.
//!
//! Where there is no GPU this says so and passes; with `SCOPE_REQUIRE_GPU` set it fails instead.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use scope_engine::{
    Cpu, Cuda, Device,
    cuda::{Arithmetic, CudaOptions},
    ops::{self, Generator, LinearFp8},
};
use scope_models::{
    quirks::Quirks,
    wan::{Adapters, Call, Family, KvCache, WanConfig, WanTransformer},
    weights::{Loader, Precision, RandomWeights},
};

/// Of two layers in 8 bits, whose flow was found to differ from that in bf16 by 1.4e-2.
const TOLERANCE: f64 = 3e-2;

/// Layers of the 1.3B model, of which there are thirty.
fn config() -> WanConfig {
    WanConfig { num_layers: 2, ..WanConfig::t2v_1_3b() }
}

fn gpu() -> Option<(Cuda, Device)> {
    let options = CudaOptions { arithmetic: Arithmetic::Bf16, ..CudaOptions::default() };
    match Cuda::new(&options) {
        Ok(cuda) => Some((cuda.clone(), cuda.into())),
        Err(error) if std::env::var_os("SCOPE_REQUIRE_GPU").is_none() => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn load(device: &Device, config: &WanConfig, precision: Precision) -> WanTransformer {
    let description = config.description();
    let source = RandomWeights::new(&[&description], 11);
    WanTransformer::load(&Loader::new(&source, device, precision), config, None).unwrap()
}

fn families() -> [Family; 4] {
    [Family::longlive(), Family::reward_forcing(), Family::memflow(), Family::streamdiffusion_v2()]
}

/// Two chunks of a family's stream, the second of which looks back on the first.
fn flows(model: &WanTransformer, family: &Family) -> Vec<f32> {
    let device = model.device();
    let side = 16;
    let mut cache =
        KvCache::for_model(model, &family.cache, model.config().frame_tokens(side, side)).unwrap();
    let mut generator = Generator::new(5);
    let adapters = Adapters::default();
    let text = ops::randn(device, &[20, model.config().text_dim], &mut generator).unwrap();
    let text = model.text_context(&text, &adapters).unwrap();
    let frames = family.chunk_frames;
    let mut flows = Vec::new();
    for (chunk, timestep) in [(0, 1000.0), (0, 0.0), (1, 750.0)] {
        let latents = ops::randn(device, &[frames, side, side, 16], &mut generator).unwrap();
        let call = Call {
            latents: &latents,
            timesteps: &[timestep],
            start_frame: chunk * frames,
            text: &text,
            adapters: &adapters,
            vace: None,
            cache_weight: None,
            clean: timestep == 0.0,
            recache: false,
            quirks: Quirks::default(),
        };
        flows.extend(model.forward(&call, &mut cache).unwrap().to_vec());
    }
    flows
}

fn relative(a: &[f32], b: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let difference = square(&mut a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    (difference / square(&mut b.iter().map(|&value| f64::from(value)))).sqrt()
}

#[test]
fn a_transformer_in_8_bits_gives_nearly_what_bf16_gives() {
    let Some((cuda, device)) = gpu() else { return };
    let families = families();
    let before = cuda.memory_use().bytes;
    let exact = load(&device, &config(), Precision::Bf16);
    let wide = cuda.memory_use().bytes - before;
    let expected: Vec<_> = families.iter().map(|family| flows(&exact, family)).collect();
    drop(exact);
    let before = cuda.memory_use().bytes;
    let mut narrow = load(&device, &config(), Precision::F8E4M3);
    let bytes = cuda.memory_use().bytes - before;
    let native = LinearFp8::is_native(&device);
    println!("8-bit products: {native}; weights {bytes} bytes instead of {wide}");
    assert!(!native || bytes < wide);
    for (family, expected) in families.iter().zip(&expected) {
        let error = relative(&flows(&narrow, family), expected);
        println!("{}, scales as they come: {error:.2e}", family.name);
        assert!(error < TOLERANCE, "{error}");
    }
    narrow.calibrate().unwrap();
    for (family, expected) in families.iter().zip(&expected) {
        let found = flows(&narrow, family);
        let error = relative(&found, expected);
        println!("{}, scales known before: {error:.2e}", family.name);
        assert!(error < TOLERANCE, "{error}");
        assert_eq!(flows(&narrow, family), found, "the same bytes every time");
    }
}

/// What is compared on the GPU runs without one, too, where every layer is rounded as in the published quantisation.
#[test]
fn streams_of_all_families_run_on_the_cpu() {
    let config = WanConfig { dim: 96, ffn_dim: 192, num_heads: 2, text_dim: 64, ..config() };
    let device = Device::from(Cpu::new(None).unwrap());
    let (exact, narrow) =
        (load(&device, &config, Precision::Bf16), load(&device, &config, Precision::F8E4M3));
    for family in families() {
        let error = relative(&flows(&narrow, &family), &flows(&exact, &family));
        assert!(error > 0.0 && error < 0.2, "{}: {error}", family.name);
    }
}
