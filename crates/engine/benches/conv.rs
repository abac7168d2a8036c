//! Arithmetic rate of convolutions at the shapes of Scope's autoencoders: `cargo bench --profile release -p
//! scope-engine --bench conv [threads] [part of a name]`. `torch_conv.py` measures the same shapes on PyTorch.
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
    let only = arguments.iter().skip(1).find(|argument| argument.contains(['x', '>'])).cloned();
    let cpu = Cpu::new(NonZeroUsize::new(threads)).unwrap();
    println!("{cpu:?}");
    let device = Device::from(cpu);
    let time = if quick { Duration::ZERO } else { Duration::from_millis(600) };
    let bench = Bench { device, time, only };

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
    only: Option<String>,
}

impl Bench {
    fn conv(&self, frames: usize, [height, width]: [usize; 2], channels: [usize; 2], spec: ConvSpec) {
        let [inputs, outputs] = channels;
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
        let [_, kernel, _] = spec.kernel;
        let name = format!(
            "{}{kernel}x{kernel}/{} {inputs}->{outputs} at {frames}x{height}x{width}{}",
            if spec.kernel[0] > 1 { "3x" } else { "" },
            spec.stride,
            if spec.enlarge == Enlarge::No { "" } else { " doubled" }
        );
        self.report(&name, flops, || drop(black_box(conv(&x, &layer, &input).unwrap())));
    }

    fn linear(&self, rows: usize, depth: usize, columns: usize) {
        let layer =
            Linear::new(&self.device, Weights::F32(&ramp(columns * depth)), [columns, depth], None).unwrap();
        let x = Tensor::from_f32(&self.device, &[rows, depth], &ramp(rows * depth)).unwrap();
        self.report(&format!("linear {rows}x{depth}->{columns}"), 2 * rows * depth * columns, || {
            drop(black_box(linear(&x, &layer, Activation::None).unwrap()));
        });
    }

    fn report(&self, name: &str, flops: usize, mut run: impl FnMut()) {
        if self.only.as_ref().is_some_and(|only| !name.contains(only)) {
            return;
        }
        run();
        let start = Instant::now();
        let mut least = Duration::MAX;
        loop {
            let begin = Instant::now();
            run();
            least = least.min(begin.elapsed());
            if start.elapsed() >= self.time {
                break;
            }
        }
        let rate = flops as f64 / least.as_secs_f64() / 1e9;
        println!("{name:<40} {:9.3} ms {rate:8.1} GFLOP/s", least.as_secs_f64() * 1e3);
    }
}

/// Values without denormal numbers, different at every place.
fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|index| (index % 1009) as f32 / 1009.0 - 0.5).collect()
}
