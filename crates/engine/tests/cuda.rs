//! Every operator on the GPU beside the same on the CPU, in both arithmetics.
//!
//! Where there is no GPU this says so and passes; with `SCOPE_REQUIRE_GPU` set it fails instead.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

#[path = "cuda/conv_norm.rs"]
mod conv_norm;
#[path = "cuda/costs.rs"]
mod costs;
#[path = "cuda/fp8.rs"]
mod fp8;

use half::bf16;
use scope_engine::{
    Cpu, Cuda, DType, Device, Tensor,
    cuda::{Arithmetic, CudaOptions},
    ops::{
        self, Activation, Border, Conv, ConvInput, ConvSpec, Enlarge, Gain, Keys, Linear, Modulation, Weights,
    },
};

/// Largest relative difference: `‖gpu − cpu‖ / ‖cpu‖`.
const F32_TOLERANCE: f64 = 1e-5;
const BF16_TOLERANCE: f64 = 2e-2;

/// For results whose last step, after others, rounds them to 8 bits; their names begin with "8 bits". A number between two of
/// the format, a sixteenth apart, may go either way. That happens to few of those that differ by what `f32` leaves open, and
/// to one in twenty of those that differ by bf16's.
const F32_TO_FP8_TOLERANCE: f64 = 3e-3;
const BF16_TO_FP8_TOLERANCE: f64 = 4e-2;

/// Inputs of one device, the same on each: rounded to bf16, so that rounding of inputs is not what is compared.
struct Inputs {
    device: Device,
    state: u64,
}

impl Inputs {
    fn new(device: &Device) -> Self {
        Self { device: device.clone(), state: 0x9e37_79b9_7f4a_7c15 }
    }

    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let mut next = || {
            self.state =
                self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..count).map(|_| bf16::from_f32((next() + next() + next()) * scale).to_f32()).collect()
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        self.scaled(shape, 1.0)
    }

    fn scaled(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let values = self.values(shape.iter().product(), scale);
        Tensor::from_f32(&self.device, shape, &values).expect("a tensor")
    }

    fn linear(&mut self, out: usize, depth: usize, bias: bool) -> Linear {
        let weights = self.values(out * depth, 1.0 / (depth as f32).sqrt());
        let bias = bias.then(|| self.values(out, 0.5));
        Linear::new(&self.device, Weights::F32(&weights), [out, depth], bias.as_deref()).expect("a layer")
    }

    fn conv(&mut self, channels: [usize; 2], spec: ConvSpec) -> Conv {
        let depth: usize = spec.kernel.iter().product::<usize>() * channels[0];
        let weights = self.values(depth * channels[1], 1.0 / (depth as f32).sqrt());
        let bias = self.values(channels[1], 0.5);
        Conv::new(&self.device, Weights::F32(&weights), channels, spec, Some(&bias)).expect("a layer")
    }
}

type Results = Vec<(String, Vec<f32>)>;

/// Runs every operator; the names and results come in the same order on every device.
fn run_all(device: &Device, results: &mut Results) {
    elementwise(device, results);
    movement(device, results);
    norms(device, results);
    products(device, results);
    attention(device, results);
    convolutions(device, results);
    pictures(device, results);
    fp8::run(device, results);
}

fn elementwise(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let mut keep = |name: &str, x: Tensor| results.push((name.to_owned(), x.to_vec()));
    let x = inputs.tensor(&[37, 5, 24]);
    let y = inputs.tensor(&[5, 24]);
    for activation in [
        Activation::Gelu,
        Activation::GeluErf,
        Activation::Silu,
        Activation::Relu,
        Activation::LeakyRelu(0.2),
        Activation::Sigmoid,
        Activation::Tanh,
    ] {
        keep(&format!("{activation:?}"), ops::activate(x.clone(), activation).unwrap());
    }
    keep("add", ops::add(x.clone(), &y).unwrap());
    keep("mix", ops::mix(x.clone(), 0.3, &x, -1.7).unwrap());
    keep(
        "mix in place",
        ops::mix(inputs.tensor(&[999]), 0.3, &y.reshape(&[120]).unwrap().narrow(0, 37).unwrap(), 2.0)
            .unwrap(),
    );
    keep("multiply", ops::multiply(x.clone(), &y).unwrap());
    keep("scale", ops::scale(x.clone(), -0.37).unwrap());
    keep("unchanged by all of these", x.clone());
    keep("affine", ops::affine_clamped(x.clone(), 2.0, 0.25, [-1.0, 1.5]).unwrap());
    keep("bf16", x.to_dtype(DType::Bf16).unwrap().to_dtype(DType::F32).unwrap());
    keep("f16", x.to_dtype(DType::F16).unwrap());
    keep(
        "f8",
        ops::scale(x.clone(), 60.0).unwrap().to_dtype(DType::F32).unwrap().to_dtype(DType::F8E4M3).unwrap(),
    );
    keep("integers", ops::scale(x.clone(), 60.0).unwrap().to_dtype(DType::I32).unwrap());
    let share = inputs.tensor(&[37, 5, 1]);
    keep("blend", ops::blend(&x, &inputs.tensor(&[37, 5, 24]), &share).unwrap());
    keep("white", ops::masked(x.clone(), &share, true).unwrap());
    keep("black", ops::masked(x.clone(), &share, false).unwrap());
    let bytes = ops::to_bytes(&x, 100.0, 100.0).unwrap();
    results.push(("bytes".into(), bytes.into_vec().unwrap().into_iter().map(f32::from).collect()));
    let other = inputs.tensor(&[37, 5, 24]);
    results.push(("mean square difference".into(), ops::mean_square_difference(&x, &other).unwrap()));
    let mut generator = ops::Generator::new(42);
    ops::randn(device, &[7], &mut generator).unwrap();
    results
        .push(("normal numbers".into(), ops::randn(device, &[3, 12_345], &mut generator).unwrap().to_vec()));
}

fn movement(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let mut keep = |name: &str, x: Tensor| results.push((name.to_owned(), x.to_vec()));
    for channels in [3, 16, 24] {
        let x = inputs.tensor(&[3, 8, 12, channels]);
        let tokens = ops::patchify(&x, 2).unwrap();
        keep("patches", tokens.clone());
        keep("pixels", ops::unpatchify(&tokens, 2, [3, 8, 12, channels]).unwrap());
        keep("crop", ops::crop(&x, [1, 3], [5, 7]).unwrap());
        keep("pad", ops::pad(&x, [11, 13]).unwrap());
        keep("frames", x.narrow(1, 2).unwrap());
        keep("joined", Tensor::concat(&[&x.narrow(2, 1).unwrap(), &x]).unwrap());
        let y = inputs.tensor(&[3, 8, 12, 5]);
        keep("side by side", ops::concat_channels(&[&x, &y, &x]).unwrap());
        keep("chosen", ops::take_channels(&x, 1, 2).unwrap());
        let mut written = x.clone();
        written.write(1, &inputs.tensor(&[1, 8, 12, channels])).unwrap();
        keep("written", written);
        keep("not written", x);
    }
    keep("zeros", Tensor::zeros(device, &[5]).unwrap());
    keep(
        "filled",
        Tensor::from_fn(device, &[5], |values| values.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0])).unwrap(),
    );
    keep("bytes", Tensor::from_u8(device, &[3], &[1, 2, 255]).unwrap());
    let table = inputs.values(40 * 24, 1.0);
    let table = ops::Embedding::new(device, Weights::F32(&table), [40, 24]).unwrap();
    keep("rows", ops::embedding(&table, &[3, 39, 0, 3]).unwrap());
}

fn norms(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let mut keep = |name: String, x: Tensor| results.push((name, x.to_vec()));
    for features in [20, 24, 96, 192, 384, 1536, 5120, 8200] {
        let x = inputs.tensor(&[18, features]);
        let [weight, bias] = [inputs.tensor(&[features]), inputs.tensor(&[features])];
        let table = inputs.scaled(&[3, 6, features], 0.3);
        let part = |part| Modulation { table: &table, part };
        keep(format!("layer norm {features}"), ops::layer_norm(&x, None, 1e-6).unwrap());
        keep(format!("affine norm {features}"), ops::layer_norm(&x, Some((&weight, &bias)), 1e-6).unwrap());
        keep(
            format!("modulated norm {features}"),
            ops::modulated_layer_norm(&x, 1e-6, part(1), part(0)).unwrap(),
        );
        keep(format!("RMS norm {features}"), ops::rms_norm(&x, &weight, 1e-6).unwrap());
        keep(format!("channel norm {features}"), ops::channel_norm(&x, &weight, true).unwrap());
        keep(format!("plain channel norm {features}"), ops::channel_norm(&x, &weight, false).unwrap());
    }
    let x = inputs.tensor(&[2, 45, 40, 24]);
    let [weight, bias] = [inputs.tensor(&[24]), inputs.tensor(&[24])];
    keep("instance norm".into(), ops::instance_norm(&x, 1e-5, Activation::Relu).unwrap());
    keep("group norm".into(), ops::group_norm(&x, 4, &weight, &bias, 1e-5).unwrap());
    for head in [24, 64, 128] {
        let table = ops::RopeTable::new(head, 64, 10_000.0).unwrap();
        let grid = ops::TokenGrid { start: 5, frames: 2, height: 3, width: 4 };
        let x = inputs.tensor(&[24, 3, head]);
        keep(format!("rope {head}"), ops::rope(x.clone(), &table, grid).unwrap());
        keep(format!("rope over itself {head}"), ops::rope(x, &table, grid).unwrap());
    }
}

fn products(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let mut keep = |name: String, x: Tensor| results.push((name, x.to_vec()));
    for (rows, out, depth) in [(1, 24, 20), (7, 3, 5), (36, 96, 96), (333, 256, 1536), (130, 20, 24)] {
        for bias in [false, true] {
            let layer = inputs.linear(out, depth, bias);
            let x = inputs.tensor(&[rows, depth]);
            for activation in [Activation::None, Activation::Gelu, Activation::Silu, Activation::Relu] {
                keep(
                    format!("linear {rows} {out} {depth} {activation:?}"),
                    ops::linear(&x, &layer, activation).unwrap(),
                );
            }
            let residual = inputs.tensor(&[rows, out]);
            let table = inputs.tensor(&[1, 6, out]);
            for gain in [
                Gain::Constant(1.0),
                Gain::Constant(-0.3),
                Gain::PerFrame(Modulation { table: &table, part: 2 }),
            ] {
                let sum = ops::linear_add(residual.clone(), &x, &layer, gain).unwrap();
                keep(format!("linear with residual {rows} {out} {depth} {gain:.0?}"), sum);
            }
            keep("residual".into(), residual);
        }
    }
    let table = inputs.tensor(&[3, 6, 96]);
    let layer = inputs.linear(96, 48, true);
    let (residual, x) = (inputs.tensor(&[36, 96]), inputs.tensor(&[36, 48]));
    let gain = Gain::PerFrame(Modulation { table: &table, part: 5 });
    keep("gates of frames".into(), ops::linear_add(residual, &x, &layer, gain).unwrap());
}

fn attention(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    for (queries, heads, dim) in [(1, 1, 8), (70, 3, 24), (129, 2, 64), (200, 3, 128), (64, 1, 384)] {
        for counts in [&[1][..], &[130], &[65, 7, 200]] {
            let q = inputs.tensor(&[queries, heads, dim]);
            let parts: Vec<_> = counts
                .iter()
                .enumerate()
                .map(|(run, &count)| {
                    let shape = [count, heads, dim];
                    (inputs.tensor(&shape), inputs.tensor(&shape), run as f32 * -0.7)
                })
                .collect();
            let keys: Vec<_> = parts.iter().map(|(k, v, bias)| Keys { k, v, bias: *bias }).collect();
            let total: usize = counts.iter().sum();
            for zero_keys in [0, 88] {
                let options = ops::AttentionOptions { zero_keys, ..Default::default() };
                let name = format!("attention {queries} {heads} {dim} {counts:?} {zero_keys}");
                results.push((name, ops::attention(&q, &keys, &options).unwrap().to_vec()));
            }
            let relative = inputs.tensor(&[heads, queries + total - 1]);
            let options =
                ops::AttentionOptions { scale: Some(0.2), relative_bias: Some(&relative), zero_keys: 0 };
            let name = format!("relative attention {queries} {heads} {dim} {counts:?}");
            results.push((name, ops::attention(&q, &keys, &options).unwrap().to_vec()));
        }
    }
    let q = inputs.tensor(&[33, 4, 40]);
    let states: Vec<_> = (0..5).map(|_| inputs.tensor(&[33, 40])).collect();
    let places = inputs.tensor(&[6, 40]);
    let states: Vec<_> = states.iter().collect();
    results.push(("over time".into(), ops::attention_over_time(&q, &states, &places).unwrap().to_vec()));
}

fn convolutions(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let square = ConvSpec::square;
    let specs = [
        ("3x3", square(3)),
        ("1x1", ConvSpec::pointwise()),
        ("causal 3x3x3", square(3).causal(3)),
        ("time alone", ConvSpec::pointwise().causal(3)),
        ("halving", square(3).strided(2).padded([0, 1, 0, 1])),
        ("halving time", ConvSpec { frame_stride: 2, ..ConvSpec::pointwise().causal(3) }),
        ("pooling", ConvSpec::pointwise().pooling(2)),
        ("mirrored", square(7).reflecting()),
        ("doubled", square(3).enlarged(Enlarge::Nearest2)),
        ("transposed", square(4).padded([1; 4]).enlarged(Enlarge::Transposed2)),
        ("growing", square(3).growing(2)),
        ("doubled and growing", square(3).enlarged(Enlarge::Nearest2).growing(2)),
    ];
    for channels in [[3, 8], [16, 32], [12, 6], [64, 96], [96, 192], [96, 3 * 2]] {
        for (name, spec) in specs {
            assert!(spec.border == Border::Zeros || name == "mirrored");
            let layer = inputs.conv(channels, spec);
            let x = inputs.tensor(&[4, 10, 9, channels[0]]);
            let name = format!("{name} {channels:?}");
            let plain = ops::conv(&x, &layer, &ConvInput::default()).unwrap();
            results.push((name.clone(), plain.to_vec()));
            let shape = plain.shape();
            let past = inputs.tensor(&[1, 10, 9, channels[0]]);
            let residual = inputs.tensor(&shape);
            for activation in [Activation::None, Activation::Silu, Activation::LeakyRelu(0.1)] {
                let input = ConvInput { past: Some(&past), residual: Some(&residual), activation };
                let sum = ops::conv(&x, &layer, &input).unwrap();
                results.push((format!("{name}, past, residual, {activation:?}"), sum.to_vec()));
            }
        }
    }
}

fn pictures(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let mut keep = |name: &str, x: Tensor| results.push((name.to_owned(), x.to_vec()));
    let x = inputs.tensor(&[2, 14, 18, 3]);
    for size in [[7, 9], [20, 31], [1, 1], [14, 18]] {
        keep("bilinear", ops::resize_bilinear(&x, size).unwrap());
        keep("between corners", ops::resize_between_corners(&x, size).unwrap());
        keep("bicubic", ops::resize_bicubic(&x, size, None).unwrap());
    }
    keep("bicubic by a step", ops::resize_bicubic(&x, [15, 19], Some([14.0 / 15.1, 18.0 / 19.1])).unwrap());
    let bytes: Vec<u8> = (0..2 * 14 * 18 * 3).map(|index| (index * 7919 % 256) as u8).collect();
    let bytes = Tensor::from_u8(device, &[2, 14, 18, 3], &bytes).unwrap();
    keep("resized bytes", ops::resize_bytes(&bytes, [9, 40], [-1.0, 1.0]).unwrap());
    keep("bytes as numbers", ops::resize_bytes(&bytes, [14, 18], [0.0, 1.0]).unwrap());
    let flow = inputs.scaled(&[2, 14, 18, 4], 3.0);
    keep("warp", ops::warp(&x, &flow, 1).unwrap());
    keep("half", ops::halve(&x).unwrap());
    let [a, b] = [inputs.tensor(&[1, 8, 10, 32]), inputs.tensor(&[1, 8, 10, 32])];
    let all = ops::correlation(&a, &b).unwrap();
    keep("correlation", all.clone());
    let half = ops::halve(&all.reshape(&[80, 8, 10, 1]).unwrap()).unwrap().reshape(&[80, 4, 5]).unwrap();
    let flow = inputs.scaled(&[1, 8, 10, 2], 2.0);
    keep("surroundings", ops::surroundings(&[all, half], &flow, 3).unwrap());
    let mask = inputs.tensor(&[1, 8, 10, 9 * 64]);
    keep("finer flow", ops::enlarge_flow(&flow, &mask, 8).unwrap());
}

/// Leaves NaN behind in the memory that the next operators take: what they don't write shows.
fn poison(device: &Device) {
    let numbers = vec![f32::NAN; 1 << 18];
    let held: Vec<_> =
        (0..4).map(|_| Tensor::from_f32(device, &[numbers.len()], &numbers).expect("memory")).collect();
    drop(held);
}

fn relative(got: &[f32], expected: &[f32]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(expected).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let size = norm(&mut expected.iter().map(|&value| f64::from(value)));
    // NaN must not pass as a small difference.
    if difference.is_nan() { f64::INFINITY } else { difference / size.max(1e-30) }
}

fn gpu(arithmetic: Arithmetic) -> Option<Device> {
    gpu_with(&CudaOptions { arithmetic, ..Default::default() })
}

fn gpu_with(options: &CudaOptions) -> Option<Device> {
    match Cuda::new(options) {
        Ok(cuda) => Some(cuda.into()),
        Err(error) if std::env::var_os("SCOPE_REQUIRE_GPU").is_none() => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// What these operators give on the GPU beside what they give on the CPU.
fn compare(run: fn(&Device, &mut Results), arithmetic: Arithmetic, tolerance: f64, fp8_tolerance: f64) {
    compare_with(run, &CudaOptions { arithmetic, ..Default::default() }, tolerance, fp8_tolerance);
}

fn compare_with(run: fn(&Device, &mut Results), options: &CudaOptions, tolerance: f64, fp8_tolerance: f64) {
    let Some(device) = gpu_with(options) else { return };
    let [mut expected, mut found] = [Results::new(), Results::new()];
    run(&Cpu::new(None).unwrap().into(), &mut expected);
    run(&device, &mut found);
    assert_eq!(expected.len(), found.len());
    let mut wrong = Vec::new();
    let mut worst = (0.0, "");
    for ((name, expected), (_, got)) in expected.iter().zip(&found) {
        let error = relative(got, expected);
        let tolerance = if name.starts_with("8 bits") { fp8_tolerance } else { tolerance };
        if error / tolerance > worst.0 {
            worst = (error / tolerance, name);
        }
        if error > tolerance {
            wrong.push(format!("{name}: off by {error:.2e}"));
        }
    }
    println!(
        "{:?}: {} results, the worst is {}, at {:.2} of its tolerance",
        options.arithmetic,
        found.len(),
        worst.1,
        worst.0
    );
    assert!(wrong.is_empty(), "{} of {} results differ:\n{}", wrong.len(), found.len(), wrong.join("\n"));
}

#[test]
fn operators_give_what_the_cpu_gives() {
    compare(run_all, Arithmetic::F32, F32_TOLERANCE, F32_TO_FP8_TOLERANCE);
}

#[test]
fn operators_in_bf16_give_nearly_what_the_cpu_gives() {
    compare(run_all, Arithmetic::Bf16, BF16_TOLERANCE, BF16_TO_FP8_TOLERANCE);
}

#[test]
fn convolutions_with_norm_give_what_the_cpu_gives() {
    compare(conv_norm::run, Arithmetic::F32, F32_TOLERANCE, F32_TO_FP8_TOLERANCE);
    compare(conv_norm::run, Arithmetic::Bf16, BF16_TOLERANCE, BF16_TO_FP8_TOLERANCE);
}

/// Ampere's and Ada's kernels, of which the latter have less shared memory; on a card that has others of its own, too.
#[test]
fn kernels_of_other_cards_give_nearly_what_the_cpu_gives() {
    fn run(device: &Device, results: &mut Results) {
        attention(device, results);
        convolutions(device, results);
        conv_norm::run(device, results);
    }
    for capability in [[8, 0], [8, 6]] {
        let options =
            CudaOptions { arithmetic: Arithmetic::Bf16, kernels_of: Some(capability), ..Default::default() };
        compare_with(run, &options, BF16_TOLERANCE, BF16_TO_FP8_TOLERANCE);
    }
}

#[test]
fn normal_numbers_are_those_of_the_cpu_to_the_last_bit() {
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    let draw = |device: &Device| {
        let mut generator = ops::Generator::new(7);
        ops::randn(device, &[1_000_003], &mut generator).unwrap().to_vec()
    };
    assert_eq!(draw(&device), draw(&Cpu::new(None).unwrap().into()));
}

#[test]
fn pictures_as_i420_and_back_are_those_of_the_cpu_to_the_last_bit() {
    let convert = |device: &Device, dtype: DType| {
        let mut inputs = Inputs::new(device);
        let mut results: Vec<([usize; 2], Vec<u8>, Vec<f32>)> = Vec::new();
        for size in [[1, 1], [1, 6], [5, 1], [2, 2], [3, 7], [14, 18], [37, 64], [480, 833]] {
            let mut values = inputs.values(2 * size[0] * size[1] * 3, 0.6);
            // Beyond what a byte holds, and no number at all.
            let edges = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 1.0, 1e30];
            values.iter_mut().rev().zip(edges).for_each(|(value, edge)| *value = edge);
            let x = Tensor::from_f32(device, &[2, size[0], size[1], 3], &values).unwrap();
            let x = x.to_dtype(dtype).unwrap().narrow(1, 1).unwrap();
            poison(device);
            let planar = ops::to_i420(&x, 127.5, 128.0).unwrap().into_vec().unwrap();
            // Also what no picture in RGB becomes.
            let any = planar.iter().enumerate().map(|(index, byte)| byte ^ (index * 7919 % 256) as u8);
            let both: Vec<u8> = planar.iter().copied().chain(any).collect();
            let both = Tensor::from_u8(device, &[2, planar.len()], &both).unwrap();
            poison(device);
            results.push((size, planar, ops::rgb_from_i420(&both, size).unwrap().to_vec()));
        }
        results
    };
    let expected = convert(&Cpu::new(None).unwrap().into(), DType::F32);
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    for dtype in [DType::F32, DType::Bf16] {
        for (expected, found) in expected.iter().zip(convert(&device, dtype)) {
            assert!(*expected == found, "{:?} from {dtype:?}", found.0);
        }
    }
}

#[test]
fn memory_is_counted_and_comes_back() {
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    let Device::Cuda(cuda) = &device else { unreachable!("asked for a GPU") };
    let before = cuda.memory_use().bytes;
    let x = Tensor::zeros(&device, &[1 << 20]).unwrap();
    assert_eq!(cuda.memory_use().bytes - before, 2 << 20);
    let y = x.narrow(5, 10).unwrap();
    drop(x);
    assert_eq!(cuda.memory_use().bytes - before, 2 << 20, "a part keeps the whole");
    drop(y);
    assert_eq!(cuda.memory_use().bytes, before);
    let huge = Tensor::zeros(&device, &[1 << 40]);
    assert!(matches!(huge, Err(scope_engine::Error::OutOfMemory { .. })), "{huge:?}");
    // And the next one is had.
    assert_eq!(Tensor::zeros(&device, &[8]).unwrap().to_vec(), [0.0; 8]);
}

#[test]
fn tensors_of_two_devices_do_not_mix() {
    let Some(device) = gpu(Arithmetic::F32) else { return };
    let cpu = Device::from(Cpu::new(None).unwrap());
    let here = Tensor::zeros(&cpu, &[4]).unwrap();
    let there = Tensor::zeros(&device, &[4]).unwrap();
    assert!(matches!(ops::add(here.clone(), &there), Err(scope_engine::Error::Elsewhere { .. })));
    assert!(matches!(ops::add(there, &here), Err(scope_engine::Error::Elsewhere { .. })));
}

#[test]
fn tensors_arrive_beside_complete_while_both_sides_go_on() {
    let Some(device) = gpu(Arithmetic::F32) else { return };
    let beside = device.beside().unwrap();
    assert!(!device.same(&beside));
    let shape = [1 << 10, 1 << 12];
    let filled =
        |device: &Device, value: f32| Tensor::from_fn(device, &shape, |values| values.fill(value)).unwrap();
    let [one, other_one] = [&device, &beside].map(|device| filled(device, 1.0));
    assert!(matches!(ops::add(one.clone(), &other_one), Err(scope_engine::Error::Elsewhere { .. })));
    let count = |mut x: Tensor, one: &Tensor| {
        for _ in 0..100 {
            x = ops::add(x, one).unwrap();
        }
        x
    };
    let mut x = one.clone();
    for round in 0..4 {
        // Much is under way here when it goes over, and its memory is used for something else at once.
        let there = count(x, &one).to_device(&beside).unwrap();
        let scribbled = count(filled(&device, 0.5), &one);
        let there = count(there, &other_one);
        x = there.to_device(&device).unwrap();
        drop((there, scribbled));
        let scribbled = count(filled(&beside, 0.5), &other_one);
        let expected = 1.0 + 200.0 * (round + 1) as f32;
        assert!(x.to_vec().iter().all(|&value| value == expected), "round {round}");
        drop(scribbled);
    }
    let own = Tensor::zeros(&Cpu::new(None).unwrap().into(), &[4]).unwrap();
    assert!(matches!(own.to_device(&device), Err(scope_engine::Error::Elsewhere { .. })));
    assert!(matches!(x.to_device(&own.device()), Err(scope_engine::Error::Elsewhere { .. })));
}
