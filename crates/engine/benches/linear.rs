//! Time of linear layers by how their weights are kept, at the sizes of the pocket model's transformer: `cargo bench
//! --profile release -p scope-engine --bench linear [threads]`. The kinds take turns, so that other work on the machine
//! slows all alike; times are medians.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    hint::black_box,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use half::bf16;
use scope_engine::{
    Cpu, Device, Tensor,
    convert::int8_rows_from_f32,
    ops::{Activation, Linear, Weights, linear},
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let threads = arguments.iter().find_map(|argument| argument.parse::<usize>().ok()).unwrap_or(1);
    let device = Device::from(Cpu::new(NonZeroUsize::new(threads)).unwrap());
    let rounds = if quick { 1 } else { 1000 };
    println!("{threads} threads; microseconds (GFLOP/s)");
    println!("{:<20} {:>15} {:>15} {:>15}", "rows, in -> out", "f32", "bf16", "int8");
    device.install(|| {
        for (rows, depth, columns) in
            [(144, 320, 320), (144, 320, 1280), (144, 1280, 320), (1, 320, 1920), (1024, 1536, 1536)]
        {
            measure(&device, rounds, [rows, depth, columns]);
        }
    });
}

fn measure(device: &Device, rounds: usize, [rows, depth, columns]: [usize; 3]) {
    let ramp = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 1009) as f32 / 1009.0 - 0.5).collect() };
    let (weights, bias) = (ramp(columns * depth), ramp(columns));
    let halves: Vec<bf16> = weights.iter().map(|&weight| bf16::from_f32(weight)).collect();
    let (bytes, scales) = int8_rows_from_f32(&weights, depth);
    let kinds =
        [Weights::F32(&weights), Weights::Bf16(&halves), Weights::Int8 { values: &bytes, scales: &scales }];
    let layers = kinds.map(|weights| Linear::new(device, weights, [columns, depth], Some(&bias)).unwrap());
    let x = Tensor::from_f32(device, &[rows, depth], &ramp(rows * depth)).unwrap();
    let mut times = [const { Vec::new() }; 3];
    let operations = 2 * rows * depth * columns;
    for _ in 0..(rounds * 30_000_000 / operations).clamp(1, rounds) {
        for (layer, times) in layers.iter().zip(&mut times) {
            let begin = Instant::now();
            drop(black_box(linear(&x, layer, Activation::None).unwrap()));
            times.push(begin.elapsed());
        }
    }
    let cells = times.map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        let seconds = times[times.len() / 2].as_secs_f64();
        format!("{:.0} ({:.0})", seconds * 1e6, operations as f64 / seconds / 1e9)
    });
    println!(
        "{:<20} {:>15} {:>15} {:>15}",
        format!("{rows}, {depth} -> {columns}"),
        cells[0],
        cells[1],
        cells[2]
    );
}
