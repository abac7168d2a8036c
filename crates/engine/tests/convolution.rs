//! Convolutions against their definition.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use proptest::prelude::*;
use scope_engine::{
    Cpu, Device, Tensor,
    ops::{
        Activation, Border, ChannelNorm, Conv, ConvInput, ConvSpec, Enlarge, Weights, channel_norm, conv,
        conv_norm,
    },
};

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn device(threads: usize) -> Device {
    Cpu::new(std::num::NonZero::new(threads)).expect("threads").into()
}

/// A picture in host memory, `[frames, height, width, channels]`.
struct Picture {
    shape: [usize; 4],
    values: Vec<f32>,
}

impl Picture {
    fn noise(shape: [usize; 4], seed: u32) -> Self {
        Self { shape, values: noise(shape.iter().product(), seed) }
    }

    fn at(&self, t: usize, y: usize, x: usize, c: usize) -> f64 {
        let [_, height, width, channels] = self.shape;
        f64::from(self.values[((t * height + y) * width + x) * channels + c])
    }

    fn tensor(&self, device: &Device) -> Tensor {
        Tensor::from_f32(device, &self.shape, &self.values).expect("a picture")
    }

    /// Its pixels doubled.
    fn doubled(&self) -> Self {
        let [frames, height, width, channels] = self.shape;
        let mut values = Vec::new();
        for t in 0..frames {
            for y in 0..2 * height {
                for x in 0..2 * width {
                    values.extend((0..channels).map(|c| self.at(t, y / 2, x / 2, c) as f32));
                }
            }
        }
        Self { shape: [frames, 2 * height, 2 * width, channels], values }
    }

    /// One after the other.
    fn after(&self, first: &Self) -> Self {
        let [frames, height, width, channels] = self.shape;
        let values = [&first.values[..], &self.values].concat();
        Self { shape: [first.shape[0] + frames, height, width, channels], values }
    }
}

fn mirrored(at: isize, size: usize) -> usize {
    let at = at.unsigned_abs();
    if at < size { at } else { 2 * (size - 1) - at }
}

/// The definition of a convolution that does not enlarge, without bias; `x` includes all frames in front.
fn naive(x: &Picture, weights: &[f32], outputs: usize, spec: &ConvSpec) -> (Vec<usize>, Vec<f64>) {
    let [frames, height, width, inputs] = x.shape;
    let [kt, kh, kw] = spec.kernel;
    let [top, bottom, left, right] = spec.padding;
    let out_frames = (frames + 1).saturating_sub(kt).div_ceil(spec.frame_stride);
    let (oh, ow) =
        ((height + top + bottom - kh) / spec.stride + 1, (width + left + right - kw) / spec.stride + 1);
    let group = outputs / spec.frames_out;
    let mut out = Vec::new();
    for t in 0..out_frames * spec.frames_out {
        for y in 0..oh {
            for x_out in 0..ow {
                for c in 0..group {
                    let c = t % spec.frames_out * group + c;
                    let mut sum = 0.0;
                    for (it, dy, dx) in itertools(kt, kh, kw) {
                        let t = t / spec.frames_out * spec.frame_stride + it;
                        let y = (y * spec.stride + dy) as isize - top as isize;
                        let x_in = (x_out * spec.stride + dx) as isize - left as isize;
                        let outside = y < 0 || x_in < 0 || y as usize >= height || x_in as usize >= width;
                        if outside && spec.border == Border::Zeros {
                            continue;
                        }
                        let (y, x_in) = (mirrored(y, height), mirrored(x_in, width));
                        for i in 0..inputs {
                            let weight = weights[(((c * inputs + i) * kt + it) * kh + dy) * kw + dx];
                            sum += f64::from(weight) * x.at(t, y, x_in, i);
                        }
                    }
                    out.push(sum);
                }
            }
        }
    }
    (vec![out_frames * spec.frames_out, oh, ow, group], out)
}

fn itertools(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |x| (0..b).flat_map(move |y| (0..c).map(move |z| (x, y, z))))
}

/// `depth` products go into a result.
fn close(got: &Tensor, shape: &[usize], expected: &[f64], depth: usize) {
    assert_eq!(got.shape()[..], *shape);
    for (index, (got, expected)) in got.to_vec().iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*got) - expected).abs() < 1e-5 + 3e-6 * (depth as f64).sqrt() + 4e-6 * expected.abs(),
            "[{index}]: {got} for {expected}"
        );
    }
}

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..6, Just(16usize), Just(24), Just(35)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_convolution_follows_its_definition(
        size in (1usize..4, 3usize..12, 3usize..40),
        kernel in prop_oneof![
            Just([1usize, 3, 3]), Just([3, 3, 3]), Just([2, 3, 3]), Just([3, 1, 1]), Just([1, 1, 1]), Just([1, 2, 4]),
            Just([1, 7, 7]),
        ],
        (inputs, outputs) in (channels(), channels()),
        (stride, frame_stride) in (1usize..3, 1usize..3),
        padding in prop::array::uniform4(0usize..3),
        past_frames in 0usize..4,
        (reflect, residual, wide) in any::<(bool, bool, bool)>(),
        frames_out in 1usize..3,
        (threads, seed) in (1usize..3, 0u32..1000),
    ) {
        let (frames, height, width) = size;
        prop_assume!(height + padding[0] + padding[1] >= kernel[1] && width + padding[2] + padding[3] >= kernel[2]);
        let device = device(threads);
        let spec = ConvSpec {
            kernel,
            frame_stride,
            stride,
            before: kernel[0] - 1,
            padding,
            border: if reflect { Border::Reflect } else { Border::Zeros },
            enlarge: Enlarge::No,
            frames_out,
        };
        let outputs = outputs * frames_out;
        let weights = noise(outputs * inputs * kernel.iter().product::<usize>(), seed);
        let bias = noise(outputs, seed + 1);
        let x = Picture::noise([frames, height, width, inputs], seed + 2);
        let past = Picture::noise([past_frames, height, width, inputs], seed + 3);
        // What lies in front of the input: zeros, then the last of the past frames.
        let zeros = spec.before.saturating_sub(past_frames);
        let zeros = Picture { shape: [zeros, height, width, inputs], values: vec![0.0; zeros * height * width * inputs] };
        let kept = past_frames.min(spec.before);
        let start = (past_frames - kept) * height * width * inputs;
        let kept = Picture { shape: [kept, height, width, inputs], values: past.values[start..].to_vec() };
        let (shape, mut expected) = naive(&x.after(&kept.after(&zeros)), &weights, outputs, &spec);
        let frame_len = shape[1..].iter().product::<usize>();
        let group = outputs / frames_out;
        let rest = Picture::noise([shape[0], shape[1], shape[2], shape[3]], seed + 4);
        for (index, value) in expected.iter_mut().enumerate() {
            *value += f64::from(bias[index / frame_len % frames_out * group + index % group]);
            if residual {
                *value += f64::from(rest.values[index]);
            }
            *value = value.max(0.0);
        }
        let halves: Vec<_> = weights.iter().map(|&weight| half::bf16::from_f32(weight)).collect();
        let kept_as = if wide { Weights::F32(&weights) } else { Weights::Bf16(&halves) };
        let layer = Conv::new(&device, kept_as, [inputs, outputs], spec, Some(&bias)).expect("a layer");
        let past = past.tensor(&device);
        let rest = rest.tensor(&device);
        let input = ConvInput {
            past: (past_frames > 0).then_some(&past),
            residual: residual.then_some(&rest),
            activation: Activation::Relu,
        };
        let got = conv(&x.tensor(&device), &layer, &input).expect("a result");
        let depth = inputs * kernel.iter().product::<usize>();
        if wide {
            close(&got, &shape, &expected, depth);
        } else {
            prop_assert_eq!(&got.shape()[..], &shape[..]);
            for (got, expected) in got.to_vec().iter().zip(&expected) {
                prop_assert!((f64::from(*got) - expected).abs() < 4e-3 * (depth as f64).sqrt() + 1e-3, "{got} for {expected}");
            }
        }
    }

    #[test]
    fn doubling_pixels_first_is_folded_into_the_kernel(
        (height, width) in (1usize..10, 1usize..20),
        kernel in prop_oneof![Just(1usize), Just(3), Just(5)],
        (inputs, outputs) in (channels(), channels()),
        (threads, seed) in (1usize..3, 0u32..1000),
    ) {
        let device = device(threads);
        let plain = ConvSpec::square(kernel);
        let weights = noise(outputs * inputs * kernel * kernel, seed);
        let x = Picture::noise([2, height, width, inputs], seed + 1);
        let (shape, expected) = naive(&x.doubled(), &weights, outputs, &plain);
        let spec = plain.enlarged(Enlarge::Nearest2);
        let layer = Conv::new(&device, Weights::F32(&weights), [inputs, outputs], spec, None).expect("a layer");
        let got = conv(&x.tensor(&device), &layer, &ConvInput::default()).expect("a result");
        close(&got, &shape, &expected, inputs * kernel * kernel);
    }

    #[test]
    fn a_transposed_convolution_lays_its_kernel_over_the_result(
        (height, width) in (1usize..10, 1usize..20),
        (kernel, padding) in prop_oneof![
            Just((4usize, [1usize, 1, 1, 1])), Just((3, [1, 0, 1, 0])), Just((2, [0, 0, 0, 0])),
        ],
        (inputs, outputs) in (channels(), channels()),
        (threads, seed) in (1usize..3, 0u32..1000),
    ) {
        let device = device(threads);
        let weights = noise(inputs * outputs * kernel * kernel, seed);
        let x = Picture::noise([1, height, width, inputs], seed + 1);
        let mut expected = vec![0.0; 4 * height * width * outputs];
        for (y, x_in, i) in itertools(height, width, inputs) {
            for (ky, kx, o) in itertools(kernel, kernel, outputs) {
                let (Some(y_out), Some(x_out)) =
                    ((2 * y + ky).checked_sub(padding[0]), (2 * x_in + kx).checked_sub(padding[2]))
                else {
                    continue;
                };
                if y_out < 2 * height && x_out < 2 * width {
                    let weight = weights[((i * outputs + o) * kernel + ky) * kernel + kx];
                    expected[(y_out * 2 * width + x_out) * outputs + o] += f64::from(weight) * x.at(0, y, x_in, i);
                }
            }
        }
        let spec = ConvSpec::square(kernel).padded(padding).enlarged(Enlarge::Transposed2);
        let layer = Conv::new(&device, Weights::F32(&weights), [inputs, outputs], spec, None).expect("a layer");
        let got = conv(&x.tensor(&device), &layer, &ConvInput::default()).expect("a result");
        close(&got, &[1, 2 * height, 2 * width, outputs], &expected, inputs * kernel * kernel);
    }

    #[test]
    fn a_stream_convolved_in_parts_is_the_stream(
        parts in prop::collection::vec(1usize..4, 1..4),
        (inputs, outputs) in (channels(), channels()),
        seed in 0u32..1000,
    ) {
        let device = device(1);
        let spec = ConvSpec::square(3).causal(3);
        let weights = noise(outputs * inputs * 27, seed);
        let layer = Conv::new(&device, Weights::F32(&weights), [inputs, outputs], spec, None).expect("a layer");
        let frames = parts.iter().sum();
        let x = Picture::noise([frames, 5, 7, inputs], seed + 1).tensor(&device);
        let whole = conv(&x, &layer, &ConvInput::default()).expect("a result").to_vec();
        let mut streamed = Vec::new();
        let mut start = 0;
        for len in parts {
            let past = x.narrow(0, start).expect("earlier frames");
            let input = ConvInput { past: Some(&past), ..ConvInput::default() };
            let part = conv(&x.narrow(start, len).expect("frames"), &layer, &input).expect("a part");
            streamed.extend(part.to_vec());
            start += len;
        }
        prop_assert_eq!(streamed, whole);
    }
}

/// However rows are shared out and grouped, and however many segments a border makes of a kernel.
#[test]
fn the_number_of_threads_changes_no_bit() {
    for (channels, frames) in [([24, 24], 3), ([24, 3], 1), ([150, 33], 3), ([520, 40], 1)] {
        let [inputs, outputs] = channels;
        let spec = if frames > 1 { ConvSpec::square(3).causal(frames) } else { ConvSpec::square(3) };
        let weights = noise(outputs * inputs * 9 * frames, 3);
        let x = Picture::noise([2, 29, 31, inputs], 4);
        let made = [1, 2, 3, 5].map(|threads| {
            let device = device(threads);
            let layer = Conv::new(&device, Weights::F32(&weights), channels, spec, None).expect("a layer");
            conv(&x.tensor(&device), &layer, &ConvInput::default()).expect("a result").to_vec()
        });
        assert!(made.iter().all(|pixels| *pixels == made[0]), "{channels:?}");
    }
}

#[test]
fn impossible_geometries_are_refused() {
    let device = device(1);
    let layer = |spec: ConvSpec, weights: usize| {
        Conv::new(&device, Weights::F32(&vec![0.0; weights]), [1, 1], spec, None)
    };
    assert!(layer(ConvSpec::square(3), 8).is_err());
    assert!(layer(ConvSpec::square(3).causal(9), 81).is_err());
    assert!(layer(ConvSpec::square(3).strided(0), 9).is_err());
    assert!(layer(ConvSpec::square(3).growing(2), 9).is_err());
    assert!(layer(ConvSpec::square(4).padded([0; 4]).enlarged(Enlarge::Nearest2), 16).is_err());
    assert!(layer(ConvSpec::square(3).enlarged(Enlarge::Transposed2), 9).is_err());

    let picture = |shape: &[usize]| Tensor::zeros(&device, shape).expect("a picture");
    let plain = layer(ConvSpec::square(3), 9).expect("a layer");
    let refusal = |x: &Tensor, layer: &Conv, input: ConvInput<'_>| {
        conv(x, layer, &input).expect_err("inputs that don't fit").to_string()
    };
    let x = picture(&[1, 4, 5, 1]);
    assert!(refusal(&picture(&[1, 4, 5, 2]), &plain, ConvInput::default()).contains("1 channels"));
    let small = picture(&[1, 3, 5, 1]);
    assert!(
        refusal(&x, &plain, ConvInput { past: Some(&small), ..Default::default() }).contains("[1, 3, 5, 1]")
    );
    assert!(
        refusal(&x, &plain, ConvInput { residual: Some(&small), ..Default::default() }).contains("added to")
    );
    let mirror = layer(ConvSpec::square(7).reflecting(), 49).expect("a layer");
    assert!(refusal(&small, &mirror, ConvInput::default()).contains("too small"));
    let narrow = layer(ConvSpec::square(7).padded([0; 4]), 49).expect("a layer");
    assert!(refusal(&x, &narrow, ConvInput::default()).contains("[1, 7, 7]"));
}

#[test]
fn a_convolution_with_norm_is_both_one_after_the_other() {
    let device = device(2);
    let spec = ConvSpec::square(3).causal(3);
    let weights = noise(8 * 4 * 27, 1);
    let layer =
        Conv::new(&device, Weights::F32(&weights), [4, 8], spec, Some(&noise(8, 2))).expect("a layer");
    let x = Picture::noise([2, 5, 7, 4], 3).tensor(&device);
    let past = Picture::noise([1, 5, 7, 4], 4).tensor(&device);
    let residual = Picture::noise([2, 5, 7, 8], 5).tensor(&device);
    let gamma = Tensor::from_f32(&device, &[8, 1, 1, 1], &noise(8, 6)).expect("factors");
    let input = ConvInput { past: Some(&past), residual: Some(&residual), activation: Activation::Relu };
    let plain = conv(&x, &layer, &input).expect("a result");
    for silu in [false, true] {
        let expected = channel_norm(&plain, &gamma, silu).expect("a norm").to_vec();
        let norm = ChannelNorm { gamma: &gamma, silu };
        let (kept, normed) = conv_norm(&x, &layer, &input, &norm, true).expect("both");
        assert_eq!(kept.expect("it was to be kept").to_vec(), plain.to_vec());
        assert_eq!(normed.to_vec(), expected);
        let (kept, normed) = conv_norm(&x, &layer, &input, &norm, false).expect("one");
        assert!(kept.is_none());
        assert_eq!(normed.to_vec(), expected);
    }
    let short = gamma.narrow(0, 7).expect("a part");
    let refused = conv_norm(&x, &layer, &input, &ChannelNorm { gamma: &short, silu: true }, false);
    assert!(refused.is_err(), "seven factors for eight channels");
}
