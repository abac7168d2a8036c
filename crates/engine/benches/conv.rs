//! Arithmetic rate of convolutions at the shapes of Scope's autoencoders: `cargo bench --profile release -p
//! scope-engine --bench conv [threads] [part of a name]`; `--exactly NAME` takes one, `--milliseconds N` is how long each
//! runs. `torch_conv.py` measures these shapes and PyTorch's in turn.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    hint::black_box,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use scope_engine::{
    Cpu, Device, Tensor,
    ops::{Activation, Conv, ConvInput, ConvSpec, Enlarge, Linear, Weights, conv, linear},
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let threads = arguments.iter().find_map(|argument| argument.parse::<usize>().ok()).unwrap_or(1);
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let exactly = after("--exactly");
    let part =
        arguments.iter().skip(1).find(|argument| !argument.starts_with('-') && argument.contains(['x', '>']));
    let part = part.cloned();
    let milliseconds = after("--milliseconds").and_then(|number| number.parse().ok()).unwrap_or(600);
    let cpu = Cpu::new(NonZeroUsize::new(threads)).unwrap();
    println!("{cpu:?}");
    let device = Device::from(cpu);
    let time = if quick { Duration::ZERO } else { Duration::from_millis(milliseconds) };
    let bench = Bench { device, time, exactly, part };

    bench.linear(1024, 1536, 1536);
    let square = |size: usize| ConvSpec::square(size);
    for (spec, [height, width], channels) in [
        (square(3), [18, 32], [256, 256]),
        (square(3), [36, 64], [256, 256]),
        (square(3), [36, 64], [512, 256]),
        (square(3), [72, 128], [128, 128]),
        (square(3), [144, 256], [64, 64]),
        (square(3), [288, 512], [64, 64]),
        (square(3), [288, 512], [64, 3]),
        (square(3), [288, 512], [3, 64]),
        (square(3).strided(2), [288, 512], [64, 64]),
        (square(1), [144, 256], [64, 128]),
        (square(3), [144, 256], [24, 24]),
        (square(3), [144, 256], [96, 96]),
        (square(3).enlarged(Enlarge::Nearest2), [144, 256], [64, 64]),
    ] {
        bench.conv(1, [height, width], channels, spec);
    }
    for (frames, size, channels) in
        [(4, [72, 128], [96, 96]), (4, [72, 128], [24, 24]), (1, [18, 32], [384, 384])]
    {
        bench.conv(frames, size, channels, square(3).causal(3));
    }
}

struct Bench {
    device: Device,
    time: Duration,
    exactly: Option<String>,
    part: Option<String>,
}

impl Bench {
    fn conv(&self, frames: usize, [height, width]: [usize; 2], channels: [usize; 2], spec: ConvSpec) {
        let [inputs, outputs] = channels;
        let [_, kernel, _] = spec.kernel;
        let name = format!(
            "{}{kernel}x{kernel}/{} {inputs}->{outputs} at {frames}x{height}x{width}{}",
            if spec.kernel[0] > 1 { "3x" } else { "" },
            spec.stride,
            if spec.enlarge == Enlarge::No { "" } else { " doubled" }
        );
        if self.leaves_out(&name) {
            return;
        }
        let weights = ramp(outputs * inputs * spec.kernel.iter().product::<usize>());
        let layer =
            Conv::new(&self.device, Weights::F32(&weights), channels, spec, Some(&ramp(outputs))).unwrap();
        let picture = |frames: usize| {
            let shape = [frames, height, width, inputs];
            Tensor::from_f32(&self.device, &shape, &ramp(shape.iter().product())).unwrap()
        };
        let (x, past) = (picture(frames), picture(spec.before));
        let input = ConvInput { past: Some(&past), activation: Activation::Relu, ..ConvInput::default() };
        let out = conv(&x, &layer, &input).unwrap();
        let flops = 2 * out.shape().numel() * inputs * spec.kernel.iter().product::<usize>();
        self.report(&name, flops, || drop(black_box(conv(&x, &layer, &input).unwrap())));
    }

    fn linear(&self, rows: usize, depth: usize, columns: usize) {
        let name = format!("linear {rows}x{depth}->{columns}");
        if self.leaves_out(&name) {
            return;
        }
        let layer =
            Linear::new(&self.device, Weights::F32(&ramp(columns * depth)), [columns, depth], None).unwrap();
        let x = Tensor::from_f32(&self.device, &[rows, depth], &ramp(rows * depth)).unwrap();
        self.report(&name, 2 * rows * depth * columns, || {
            drop(black_box(linear(&x, &layer, Activation::None).unwrap()));
        });
    }

    fn leaves_out(&self, name: &str) -> bool {
        self.exactly.as_ref().is_some_and(|exactly| name != exactly)
            || self.part.as_ref().is_some_and(|part| !name.contains(part))
    }

    /// Name, shortest and median time, and the rate at the shortest.
    fn report(&self, name: &str, flops: usize, mut run: impl FnMut()) {
        run();
        let start = Instant::now();
        let mut times = Vec::new();
        loop {
            let begin = Instant::now();
            run();
            times.push(begin.elapsed());
            if start.elapsed() >= self.time {
                break;
            }
        }
        times.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let (least, median) = (milliseconds(times[0]), milliseconds(times[times.len() / 2]));
        let rate = flops as f64 / least / 1e6;
        println!("{name:<40} {least:9.3} ms, median {median:9.3} ms {rate:8.1} GFLOP/s");
    }
}

/// Values without denormal numbers, different at every place.
fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|index| (index % 1009) as f32 / 1009.0 - 0.5).collect()
}
