//! Arithmetic rate of the transformer on the CPU, beside the rate of bare matrix products at the same sizes: `cargo bench
//! --profile release -p scope-models --bench transformer [threads]`. Operations of matrix products and attention are
//! counted; norms, activations and rotary embedding cost time and count nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    hint::black_box,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use scope_engine::{
    Cpu, Device, Tensor,
    ops::{self, Activation},
};
use scope_models::{
    quirks::Quirks,
    wan::{Adapters, CachePolicy, Call, KvCache, SinkUpdate, WanConfig, WanTransformer},
    weights::{Loader, Precision, RandomWeights},
};

/// Latent frames that the cache holds, the newest included.
const WINDOW: usize = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let threads =
        arguments.iter().find_map(|argument| argument.parse::<usize>().ok()).and_then(NonZeroUsize::new);
    let cpu = Cpu::new(threads).unwrap();
    println!("{cpu:?}");
    println!(
        "{:>7} {:>5} {:>6}  {:>13} {:>15} {:>6}   GFLOP/s, best of many; window of {WINDOW} frames",
        "tokens", "dim", "layers", "bare products", "transformer", "share"
    );
    let time = if quick { Duration::ZERO } else { Duration::from_secs(3) };
    for (height, width, dim) in [(16, 16, 384), (32, 32, 512), (9, 16, 320)] {
        let device = Device::from(cpu.clone());
        device.install(|| measure(&device, [height, width], dim, time));
    }
}

/// One latent frame of `height × width` tokens on top of a full window.
fn measure(device: &Device, [height, width]: [usize; 2], dim: usize, time: Duration) {
    let config = WanConfig {
        dim,
        ffn_dim: 4 * dim,
        freq_dim: 256,
        text_dim: 256,
        text_len: 48,
        in_dim: 16,
        out_dim: 16,
        num_heads: dim / 64,
        num_layers: 8,
        patch: 2,
        eps: 1e-6,
    };
    let weights = RandomWeights::new(&[&config.description()], 1);
    let loader = Loader::new(&weights, device, Precision::Bf16);
    let model = WanTransformer::load(&loader, &config, None).unwrap();
    let tokens = height * width;
    let policy = CachePolicy {
        window_frames: WINDOW,
        sink_frames: 0,
        sink_update: SinkUpdate::Fixed,
        relative_positions: false,
        protect_sink: false,
        bank: None,
    };
    let mut cache = KvCache::new(device, &config, &policy, tokens, 0).unwrap();
    let count = 4 * tokens * config.in_dim;
    let noise: Vec<f32> = (0..count).map(|i| ((i * 7919 % 2003) as f32 / 1001.5) - 1.0).collect();
    let latents = Tensor::from_f32(device, &[1, 2 * height, 2 * width, config.in_dim], &noise).unwrap();
    let adapters = Adapters::default();
    let words = vec![0.5; 12 * config.text_dim];
    let text = model
        .text_context(&Tensor::from_f32(device, &[12, config.text_dim], &words).unwrap(), &adapters)
        .unwrap();
    let mut forward = |frame: usize| {
        let call = Call {
            latents: &latents,
            timesteps: &[500.0],
            start_frame: frame,
            text: &text,
            adapters: &adapters,
            vace: None,
            cache_weight: None,
            clean: false,
            recache: false,
            quirks: Quirks::default(),
        };
        black_box(model.forward(&call, &mut cache).unwrap());
    };
    (0..WINDOW).for_each(&mut forward);
    let seconds = best(time, || forward(WINDOW - 1));

    // Per layer and token: q, k, v, o, the text's q and o, and the feed-forward network; then scores and values.
    let products = 2 * tokens * dim * dim * (4 + 2 + 8);
    let attention = 4 * tokens * dim * (WINDOW * tokens + 13);
    let outside = 2 * tokens * dim * 2 * 64;
    let operations = (config.num_layers * (products + attention) + outside) as f64;

    let square = loader.linear_from(&vec![0.01; dim * dim], [dim, dim], None).unwrap();
    let wide = loader.linear_from(&vec![0.01; 4 * dim * dim], [4 * dim, dim], None).unwrap();
    let narrow = loader.linear_from(&vec![0.01; 4 * dim * dim], [dim, 4 * dim], None).unwrap();
    let x = Tensor::from_f32(device, &[tokens, dim], &vec![0.5; tokens * dim]).unwrap();
    let bare = best(time / 4, || {
        let inner = ops::linear(&x, &wide, Activation::None).unwrap();
        black_box(ops::linear(&inner, &narrow, Activation::None).unwrap());
        black_box(ops::linear(&x, &square, Activation::None).unwrap());
    });
    let bare_rate = (2 * tokens * dim * dim * 9) as f64 / bare / 1e9;
    let rate = operations / seconds / 1e9;
    println!(
        "{tokens:>7} {dim:>5} {:>6}  {bare_rate:>13.0} {rate:>15.0} {:>5.0}%   {:.1} ms",
        config.num_layers,
        100.0 * rate / bare_rate,
        seconds * 1000.0
    );
}

/// Shortest time of a run, in seconds: other work on the machine only ever adds to it.
fn best(time: Duration, mut run: impl FnMut()) -> f64 {
    run();
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while best.is_infinite() || start.elapsed() < time {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    best
}
