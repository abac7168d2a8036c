//! Milliseconds a picture of the networks beside the generator, with random weights: `cargo bench --profile release -p
//! scope-models --bench processors [threads]`. Medians; the first picture, before which nothing was allocated, is left out.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{num::NonZeroUsize, time::Instant};

use scope_engine::{Cpu, Device, Tensor};
use scope_models::{
    processors::{DepthConfig, DepthMemory, DepthNet, Raft, RaftConfig},
    weights::{Loader, Precision, RandomWeights},
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let threads = arguments.iter().find_map(|argument| argument.parse::<usize>().ok());
    let cpu = Cpu::new(threads.and_then(NonZeroUsize::new)).unwrap();
    println!("{cpu:?}");
    let device = Device::from(cpu);
    let (side, rounds) = if quick { (128, 1) } else { (512, 7) };
    for (name, config) in [("RAFT small", RaftConfig::small()), ("RAFT large", RaftConfig::large())] {
        let weights = RandomWeights::new(&[&config.description()], 1);
        let net = Raft::load(&Loader::new(&weights, &device, Precision::F32), &config).unwrap();
        let mut last = net.features(&picture(&device, side, side, 0)).unwrap();
        report(name, &device, [side, side], rounds, |time| {
            let features = net.features(&picture(&device, side, side, time)).unwrap();
            net.flow(&last, &features).unwrap();
            last = features;
        });
    }
    let config = DepthConfig::small();
    let weights = RandomWeights::new(&[&config.description()], 1);
    let net = DepthNet::load(&Loader::new(&weights, &device, Precision::F32), config).unwrap();
    let sizes = if quick { [[14, 28], [28, 28]] } else { [[518, 518], [518, 924]] };
    for [height, width] in sizes {
        let mut memory = DepthMemory::default();
        report("Video Depth Anything", &device, [height, width], rounds, |time| {
            net.next_at(&mut memory, &picture(&device, height, width, time)).unwrap();
        });
    }
}

fn report(
    name: &str,
    device: &Device,
    [height, width]: [usize; 2],
    rounds: usize,
    mut next: impl FnMut(usize) + Send,
) {
    let mut times: Vec<f64> = device.install(|| {
        let round = |time| {
            let start = Instant::now();
            next(time);
            start.elapsed().as_secs_f64() * 1e3
        };
        (1..=rounds + 1).map(round).skip(1).collect()
    });
    times.sort_by(f64::total_cmp);
    println!("{name:22} {width:4}×{height:<4} {:8.1} ms", times[times.len() / 2]);
}

fn picture(device: &Device, height: usize, width: usize, time: usize) -> Tensor {
    let value = |index: usize| (index * 7919 % 613) as f32 / 613.0;
    let values: Vec<f32> = (0..height * width * 3).map(|index| value(index + 6 * time)).collect();
    Tensor::from_f32(device, &[1, height, width, 3], &values).unwrap()
}
