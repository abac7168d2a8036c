//! Operators in 8 bits, and those that are fused with their neighbours.

use half::bf16;
use scope_engine::{
    Cpu, DType, Device, Tensor,
    convert::f32_from_f8e4m3,
    cuda::Arithmetic,
    ops::{
        self, Activation, AttentionOptions, FixedScale, Gain, JoinedHeads, Keys, LayerNorm, Linear,
        LinearFp8, Modulation, NormRope, PlacedFrame, RopeTable, Scaling, TokenGrid, Weights,
    },
};

use super::{
    BF16_TO_FP8_TOLERANCE, BF16_TOLERANCE, F32_TO_FP8_TOLERANCE, F32_TOLERANCE, Inputs, Results, compare,
    gpu, poison,
};

pub(super) fn run(device: &Device, results: &mut Results) {
    rounding(device, results);
    norms(device, results);
    products(device, results);
    fused(device, results);
    queries_and_keys(device, results);
}

fn rounding(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    for (rows, features) in [(1, 16), (37, 20), (5, 24), (37, 1536), (3, 5120), (2, 8200)] {
        let x = inputs.scaled(&[rows, features], 3.0);
        let scale = FixedScale::for_largest(device, 9.0).unwrap();
        for scaling in [Scaling::Rows, Scaling::All, Scaling::Fixed(&scale)] {
            poison(device);
            let rounded = ops::quantise_fp8(&x, scaling).unwrap().dequantise().unwrap();
            results.push((format!("rounded to 8 bits {rows} {features} {scaling:?}"), rounded.to_vec()));
        }
        results.push((format!("largest {rows} {features}"), vec![ops::largest_magnitude(&x).unwrap()]));
    }
    // An odd place in memory, where packs can't be read.
    let x =
        inputs.tensor(&[7, 24]).reshape(&[168]).unwrap().narrow(3, 120).unwrap().reshape(&[5, 24]).unwrap();
    for scaling in [Scaling::Rows, Scaling::All] {
        let rounded = ops::quantise_fp8(&x, scaling).unwrap().dequantise().unwrap();
        results.push((format!("rounded to 8 bits at an odd place {scaling:?}"), rounded.to_vec()));
    }
}

fn norms(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    for features in [20, 32, 96, 1536, 5120, 8200] {
        let x = inputs.tensor(&[18, features]);
        let [weight, bias] = [inputs.tensor(&[features]), inputs.tensor(&[features])];
        let table = inputs.scaled(&[3, 6, features], 0.3);
        let part = |part| Modulation { table: &table, part };
        let scale = FixedScale::for_largest(device, 12.0).unwrap();
        for norm in [
            LayerNorm::Plain,
            LayerNorm::Affine { weight: &weight, bias: &bias },
            LayerNorm::Modulated { scale: part(1), shift: part(0) },
        ] {
            for scaling in [Scaling::Rows, Scaling::All, Scaling::Fixed(&scale)] {
                poison(device);
                let normed = ops::layer_norm_fp8(&x, norm, 1e-6, scaling).unwrap().dequantise().unwrap();
                results
                    .push((format!("8 bits of a norm {features} {norm:.0?} {scaling:?}"), normed.to_vec()));
            }
        }
        results.push((format!("not changed by its norms {features}"), x.to_vec()));
    }
}

fn products(device: &Device, results: &mut Results) {
    const PRODUCT: &str = "product of 8 bits";
    let mut inputs = Inputs::new(device);
    for (rows, out, depth) in
        [(1, 16, 16), (7, 48, 32), (36, 96, 96), (333, 256, 1536), (130, 1536, 8960), (65, 8960, 1536)]
    {
        for bias in [false, true] {
            let weights: Vec<bf16> = inputs
                .values(out * depth, 1.0 / (depth as f32).sqrt())
                .into_iter()
                .map(bf16::from_f32)
                .collect();
            let bias = bias.then(|| inputs.values(out, 0.5));
            let layer = LinearFp8::new(device, &weights, [out, depth], bias.as_deref()).unwrap();
            let x = inputs.tensor(&[rows, depth]);
            let fixed = FixedScale::for_largest(device, 3.0).unwrap();
            let next = FixedScale::for_largest(device, 4.0).unwrap();
            let residual = inputs.tensor(&[rows, out]);
            let table = inputs.tensor(&[1, 6, out]);
            for (kind, scaling) in [("rows", layer.scaling()), ("fixed", Scaling::Fixed(&fixed))] {
                let x = ops::quantise_fp8(&x, scaling).unwrap();
                let mut keep = |what: &str, name: String, y: Tensor| {
                    let of = format!("{rows} {out} {depth} {kind} {}", bias.is_some());
                    results.push((format!("{what}, {name}, {of}"), y.to_vec()));
                };
                for activation in [Activation::None, Activation::Gelu, Activation::Relu, Activation::Silu] {
                    poison(device);
                    let wide = ops::linear_fp8(&x, &layer, activation).unwrap();
                    keep(PRODUCT, format!("{activation:?}"), wide);
                    poison(device);
                    let narrow = ops::linear_fp8_to_fp8(&x, &layer, activation, &next).unwrap();
                    keep("8 bits of a product", format!("{activation:?}"), narrow.dequantise().unwrap());
                }
                for gain in [
                    Gain::Constant(1.0),
                    Gain::Constant(-0.3),
                    Gain::PerFrame(Modulation { table: &table, part: 2 }),
                ] {
                    let sum = ops::linear_fp8_add(residual.clone(), &x, &layer, gain).unwrap();
                    keep(PRODUCT, format!("residual {gain:.0?}"), sum);
                }
                keep(PRODUCT, "the residual itself".into(), residual.clone());
            }
        }
    }
}

fn fused(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    // Few rows, and more than there are blocks on a card at once.
    for (rows, features) in [(18, 20), (18, 32), (18, 96), (18, 1536), (18, 5120), (2004, 768), (1701, 1536)]
    {
        let layer = inputs.linear(features, 48, true);
        let x = inputs.tensor(&[rows, 48]);
        let residual = inputs.tensor(&[rows, features]);
        let fixed = FixedScale::for_largest(device, 12.0).unwrap();
        let [weight, bias] = [inputs.tensor(&[features]), inputs.tensor(&[features])];
        let table = inputs.scaled(&[3, 6, features], 0.3);
        let part = |part| Modulation { table: &table, part };
        for norm in [
            LayerNorm::Plain,
            LayerNorm::Affine { weight: &weight, bias: &bias },
            LayerNorm::Modulated { scale: part(1), shift: part(0) },
        ] {
            let name = format!("{rows} {features} {norm:.0?}");
            poison(device);
            let (sum, normed) =
                ops::linear_add_norm(residual.clone(), &x, &layer, part(2), norm, 1e-6).unwrap();
            results.push((format!("sum before a norm {name}"), sum.to_vec()));
            results.push((format!("norm of a sum {name}"), normed.to_vec()));
            // Nobody else holds this one: it is written over.
            let (again, _) = ops::linear_add_norm(sum, &x, &layer, part(5), norm, 1e-6).unwrap();
            results.push((format!("sum over itself {name}"), again.to_vec()));
            for scaling in [Scaling::Rows, Scaling::All, Scaling::Fixed(&fixed)] {
                poison(device);
                let (sum, normed) =
                    ops::linear_add_norm_fp8(residual.clone(), &x, &layer, part(2), (norm, 1e-6), scaling)
                        .unwrap();
                results.push((format!("sum before a norm to 8 bits {name}"), sum.to_vec()));
                results.push((
                    format!("8 bits of a norm of a sum {name} {scaling:?}"),
                    normed.dequantise().unwrap().to_vec(),
                ));
            }
        }
        results.push((format!("residual of fused operators {rows} {features}"), residual.to_vec()));
    }
}

fn queries_and_keys(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    // Heads that packs divide and one that they don't, sizes of both models, and rows too long for one block.
    for (heads, head) in [(1, 8), (3, 24), (2, 20), (12, 128), (40, 128), (65, 128)] {
        let table = RopeTable::new(head, 64, 10_000.0).unwrap();
        let grid = TokenGrid { start: 5, frames: 3, height: 3, width: 5 };
        let weight = inputs.tensor(&[heads * head]);
        let x = inputs.tensor(&[45, heads, head]);
        for rope in [None, Some((&table, grid))] {
            let rows = NormRope { x: &x, weight: &weight, eps: 1e-6, rope, fp8_scale: None };
            let name = format!("{heads} {head} {}", rope.is_some());
            poison(device);
            let normed = ops::rms_norm_rope(&rows).unwrap();
            results.push((format!("norm and rotation {name}"), normed.to_vec()));
            let mut memory = inputs.tensor(&[75, heads, head]);
            let before = memory.clone();
            for places in [[Some(4), Some(0), None], [Some(1), Some(2), Some(3)]] {
                ops::rms_norm_rope_into(&mut memory, &places, &rows).unwrap();
                results.push((format!("norm and rotation to {places:?} {name}"), memory.to_vec()));
            }
            results.push((format!("what was there before {name}"), before.to_vec()));
        }
        results.push((format!("queries of fused operators {heads} {head}"), x.to_vec()));
        let x = inputs.tensor(&[45, 3 * heads * head]);
        let rows = JoinedHeads {
            x: &x,
            heads,
            weights: [&weight, &inputs.tensor(&[heads, head])],
            eps: 1e-6,
            ropes: [Some((&table, grid)), None],
            fp8_scales: [None; 2],
        };
        let (mut keys, mut values) = (inputs.tensor(&[75, heads, head]), inputs.tensor(&[75, heads, head]));
        poison(device);
        let places = [Some(4), Some(0), None];
        let queries = ops::rms_norm_rope_joined(&rows, &mut keys, &mut values, &places).unwrap();
        for (what, x) in [("queries", queries), ("keys", keys), ("values", values)] {
            results.push((format!("{what} of one projection {heads} {head}"), x.to_vec()));
        }
    }
    for head in [20, 24, 128] {
        let memory = inputs.tensor(&[60, 3, head]);
        let table = RopeTable::new(head, 64, 10_000.0).unwrap();
        let frames = [(3, 0), (0, 7), (2, 1)].map(|(slot, position)| PlacedFrame { slot, position });
        poison(device);
        let rotated = ops::rope_frames(&memory, &table, &frames, [3, 5]).unwrap();
        results.push((format!("frames rotated {head}"), rotated.to_vec()));
    }
    // More frames than a kernel's parameters hold.
    let x = inputs.tensor(&[66, 2, 24]);
    let weight = inputs.tensor(&[48]);
    let table = RopeTable::new(24, 64, 10_000.0).unwrap();
    let rope = Some((&table, TokenGrid { start: 0, frames: 33, height: 1, width: 2 }));
    let places: Vec<_> = (0..33).rev().map(Some).collect();
    let mut memory = inputs.tensor(&[66, 2, 24]);
    ops::rms_norm_rope_into(
        &mut memory,
        &places,
        &NormRope { x: &x, weight: &weight, eps: 1e-6, rope, fp8_scale: None },
    )
    .unwrap();
    results.push(("norm and rotation of many frames".into(), memory.to_vec()));
}

/// Not one of those that `run` has: it takes as long as all of them.
fn attention(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let narrow = |x: &Tensor| x.to_dtype(DType::F8E4M3).unwrap();
    // Heads of 128 features are multiplied as they are by Hopper; tiles of queries and blocks of keys that are full, that
    // are not, that are cut along their keys, and that are not. The last is a block of three latent frames in 480p.
    for (queries, heads, dim, counts) in [
        (1, 1, 128, &[1][..]),
        (77, 3, 128, &[130]),
        (77, 3, 128, &[1000, 333]),
        (300, 12, 128, &[65, 7, 2200]),
        (256, 2, 128, &[5280, 176]),
        (4500, 4, 128, &[700]),
        (4680, 1, 128, &[18_720]),
        (129, 2, 64, &[65, 7, 200]),
        (70, 3, 24, &[130, 4]),
    ] {
        let q = narrow(&inputs.scaled(&[queries, heads, dim], 2.0));
        let parts: Vec<_> = counts
            .iter()
            .enumerate()
            .map(|(run, &count)| {
                let shape = [count, heads, dim];
                (narrow(&inputs.scaled(&shape, 2.0)), inputs.tensor(&shape), run as f32 * -0.7)
            })
            .collect();
        let keys: Vec<_> = parts.iter().map(|(k, v, bias)| Keys { k, v, bias: *bias }).collect();
        let name = format!("{queries} {heads} {dim} {counts:?}");
        let total: usize = counts.iter().sum();
        for zero_keys in [0, 88] {
            let options = AttentionOptions { scale: Some(0.05), zero_keys, ..Default::default() };
            poison(device);
            let out = ops::attention(&q, &keys, &options).unwrap();
            results.push((format!("attention with 8 bits {name} {zero_keys}"), out.to_vec()));
            // To 8 bits, too, of which the largest saturate.
            let scale = FixedScale::for_largest(device, 0.05).unwrap();
            poison(device);
            let out = ops::attention_fp8(&q, &keys, &options, &scale).unwrap().dequantise().unwrap();
            results.push((format!("8 bits of attention {name} {zero_keys}"), out.to_vec()));
            if total > 10_000 {
                break;
            }
        }
        if queries > 300 {
            continue;
        }
        let relative = inputs.tensor(&[heads, queries + total - 1]);
        let options = AttentionOptions { scale: Some(0.05), relative_bias: Some(&relative), zero_keys: 0 };
        let out = ops::attention(&q, &keys, &options).unwrap();
        results.push((format!("relative attention with 8 bits {name}"), out.to_vec()));
        // Some in 8 bits and some not.
        let options = AttentionOptions { scale: Some(0.05), ..Default::default() };
        let wide = inputs.scaled(&[queries, heads, dim], 2.0);
        let out = ops::attention(&wide, &keys, &options).unwrap();
        results.push((format!("attention with keys of 8 bits {name}"), out.to_vec()));
        let scale = FixedScale::for_largest(device, 1.0).unwrap();
        let out = ops::attention_fp8(&wide, &keys, &options, &scale).unwrap().dequantise().unwrap();
        results.push((format!("8 bits of attention with queries in full {name}"), out.to_vec()));
        let more = inputs.scaled(&[33, heads, dim], 2.0);
        let mixed: Vec<_> = keys.iter().copied().chain([Keys::new(&more, &more)]).collect();
        let out = ops::attention(&q, &mixed, &options).unwrap();
        results.push((format!("attention with some keys of 8 bits {name}"), out.to_vec()));
    }
}

/// What is compared with the GPU is there without one, too.
#[test]
fn the_cpu_makes_numbers_of_all_of_them() {
    let mut results = Results::new();
    let cpu = Cpu::new(None).unwrap().into();
    run(&cpu, &mut results);
    attention(&cpu, &mut results);
    for (name, values) in &results {
        assert!(!values.is_empty() && values.iter().all(|value| value.is_finite()), "{name}");
    }
}

/// Rounding is defined to the last bit: division by multiplying with the reciprocal of the scale, to the nearest, ties to even.
#[test]
fn rounded_numbers_are_those_of_the_cpu_to_the_last_bit() {
    let Some(device) = gpu(Arithmetic::F32) else { return };
    let rounded = |device: &Device| {
        let mut inputs = Inputs::new(device);
        let x = inputs.scaled(&[333, 1536], 2.0);
        let fixed = FixedScale::for_largest(device, 1.5).unwrap();
        let all = [Scaling::Rows, Scaling::All, Scaling::Fixed(&fixed)];
        all.map(|scaling| ops::quantise_fp8(&x, scaling).unwrap().dequantise().unwrap().to_vec())
    };
    assert_eq!(rounded(&device), rounded(&Cpu::new(None).unwrap().into()));
}

#[test]
fn attention_with_8_bits_gives_what_the_cpu_gives() {
    compare(attention, Arithmetic::F32, F32_TOLERANCE, F32_TO_FP8_TOLERANCE);
    compare(attention, Arithmetic::Bf16, BF16_TOLERANCE, BF16_TO_FP8_TOLERANCE);
}

#[test]
fn products_in_8_bits_give_the_same_bytes_every_time() {
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    let mut inputs = Inputs::new(&device);
    let weights: Vec<bf16> = inputs.values(1536 * 1536, 0.02).into_iter().map(bf16::from_f32).collect();
    let layer = LinearFp8::new(&device, &weights, [1536, 1536], None).unwrap();
    let x = inputs.tensor(&[4680, 1536]);
    let once = || {
        let x = ops::layer_norm_fp8(&x, LayerNorm::Plain, 1e-6, layer.scaling()).unwrap();
        ops::linear_fp8(&x, &layer, Activation::Gelu).unwrap().to_vec()
    };
    let first = once();
    assert!((0..3).all(|_| once() == first));
}

#[test]
fn what_this_card_does_in_8_bits() {
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    let weights = vec![bf16::ONE; 32 * 32];
    let layer = LinearFp8::new(&device, &weights, [32, 32], None).unwrap();
    println!("8-bit products: {}, inputs scaled by {:?}", LinearFp8::is_native(&device), layer.scaling());
}

/// All bytes but NaN, over and over, as weights of a layer and of a table, in e4m3 and in bf16.
fn kept_in_e4m3(device: &Device) -> [Vec<f32>; 2] {
    let (out, depth) = (96, 320);
    let bytes: Vec<u8> = (0..out * depth).map(|at| (at * 37 % 251) as u8 & 0xfb).collect();
    let wide: Vec<bf16> = bytes.iter().map(|&byte| bf16::from_f32(f32_from_f8e4m3(byte))).collect();
    let all = |weights: Weights<'_>| {
        let mut inputs = Inputs::new(device);
        let bias = inputs.values(out, 0.5);
        let layer = Linear::new(device, weights, [out, depth], Some(&bias)).unwrap();
        let table = ops::Embedding::new(device, weights, [out, depth]).unwrap();
        let (x, residual) = (inputs.tensor(&[33, depth]), inputs.tensor(&[33, out]));
        poison(device);
        let mut values = ops::linear(&x, &layer, Activation::Gelu).unwrap().to_vec();
        let rows = ops::embedding(&table, &[95, 0, 7]).unwrap();
        values.extend(rows.to_vec());
        values.extend(ops::linear_add(residual, &x, &layer, Gain::Constant(1.0)).unwrap().to_vec());
        values
    };
    [all(Weights::F8E4M3(&bytes)), all(Weights::Bf16(&wide))]
}

#[test]
fn weights_kept_in_e4m3_give_the_bits_of_the_same_in_bf16() {
    let gpus = [gpu(Arithmetic::Bf16), gpu(Arithmetic::F32)];
    for device in gpus.into_iter().flatten().chain([Cpu::new(None).unwrap().into()]) {
        let [narrow, wide] = kept_in_e4m3(&device);
        assert!(narrow.iter().all(|value| value.is_finite()), "{device:?}");
        assert_eq!(narrow, wide, "{device:?}");
    }
}

#[test]
fn weights_kept_in_e4m3_take_a_byte_each() {
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    let Device::Cuda(cuda) = &device else { unreachable!("asked for a GPU") };
    let before = cuda.memory_use().bytes;
    let layer = Linear::new(&device, Weights::F8E4M3(&[0x38; 512 * 256]), [512, 256], None).unwrap();
    assert_eq!((layer.bytes() as u64, cuda.memory_use().bytes - before), (512 * 256, 512 * 256));
    let x = Tensor::zeros(&device, &[4, 256]).unwrap();
    let with_input = cuda.memory_use().bytes;
    drop(ops::linear(&x, &layer, Activation::None).unwrap());
    assert_eq!(cuda.memory_use().bytes, with_input, "the wide copy is free again");
}
