use super::*;
use crate::{Cpu, ops::Modulation};

fn device() -> Device {
    Cpu::new(std::num::NonZero::new(1)).expect("threads").into()
}

fn wave(device: &Device, shape: &[usize], scale: f32) -> Tensor {
    Tensor::from_fn(device, shape, |values| {
        for (index, value) in values.iter_mut().enumerate() {
            *value = (index as f32 * 0.731).sin() * (1.0 + (index % 7) as f32) * scale;
        }
    })
    .expect("a tensor")
}

/// `‖a − b‖ / ‖b‖`.
fn relative(a: &Tensor, b: &Tensor) -> f32 {
    let (a, b) = (a.to_vec(), b.to_vec());
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    (square(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / square(&mut b.iter().copied())).sqrt()
}

#[test]
fn numbers_of_the_format_pass_unchanged_under_every_scaling() {
    let device = device();
    let x = Tensor::from_f32(&device, &[2, 3], &[448.0, -1.0, 0.5, 448.0, 0.25, 0.0]).expect("x");
    let scale = FixedScale::for_largest(&device, 56.0).expect("a scale");
    assert_eq!(scale.value(), 1.0);
    for scaling in [Scaling::Rows, Scaling::All, Scaling::Fixed(&scale)] {
        assert_eq!(quantise_fp8(&x, scaling).expect("bytes").dequantise().expect("x").to_vec(), x.to_vec());
    }
}

#[test]
fn rows_of_very_different_size_keep_their_digits_only_under_scales_of_their_own() {
    let device = device();
    let mut values = wave(&device, &[1, 64], 1.0).to_vec();
    values.extend(wave(&device, &[1, 64], 1e-6).to_vec());
    let x = Tensor::from_f32(&device, &[2, 64], &values).expect("x");
    let rounded = |scaling| {
        quantise_fp8(&x, scaling).expect("bytes").dequantise().expect("x").narrow(1, 1).expect("a row")
    };
    let small = x.narrow(1, 1).expect("a row");
    assert!(relative(&rounded(Scaling::Rows), &small) < 0.04);
    assert!(relative(&rounded(Scaling::All), &small) > 0.9, "below the format's smallest number");
}

#[test]
fn a_scale_for_each_row_is_no_worse_than_one_for_all() {
    let device = device();
    for seed in 0..20 {
        let x = wave(&device, &[37, 48], 0.01 + seed as f32);
        let error =
            |scaling| relative(&quantise_fp8(&x, scaling).expect("bytes").dequantise().expect("x"), &x);
        let (rows, all) = (error(Scaling::Rows), error(Scaling::All));
        assert!(rows < 0.04 && rows <= all * 1.1, "{rows} and {all}");
    }
}

#[test]
fn zeros_and_what_is_no_number_come_through() {
    let device = device();
    let x = Tensor::from_f32(&device, &[3, 2], &[0.0, 0.0, f32::NAN, 1.0, 1e-35, -1e-35]).expect("x");
    let rows = quantise_fp8(&x, Scaling::Rows).expect("bytes").dequantise().expect("x").to_vec();
    assert_eq!(rows[..2], [0.0, 0.0]);
    assert!(rows[2].is_nan() && rows[3] == 1.0);
    assert_eq!(rows[4..], [0.0, 0.0]);
    assert!(quantise_fp8(&Tensor::zeros(&device, &[0, 16]).expect("x"), Scaling::Rows).is_ok());
    assert!(quantise_fp8(&Tensor::zeros(&device, &[3, 0]).expect("x"), Scaling::Rows).is_err());
}

#[test]
fn a_scale_that_is_known_before_is_a_power_of_two_with_room() {
    let device = device();
    for largest in [0.03, 1.0, 55.9, 56.0, 57.0, 3e4] {
        let scale = FixedScale::for_largest(&device, largest).expect("a scale").value();
        assert_eq!(scale.to_bits() & 0x007f_ffff, 0, "{scale} is a power of two");
        let top = largest / scale;
        assert!((28.0..=56.0).contains(&top), "{largest} becomes {top}");
    }
    for nothing in [0.0, f32::NAN, f32::INFINITY] {
        assert_eq!(FixedScale::for_largest(&device, nothing).expect("a scale").value(), 1.0);
    }
    let x = Tensor::from_f32(&device, &[1, 2], &[1e9, -1e9]).expect("x");
    let scale = FixedScale::for_largest(&device, 1.0).expect("a scale");
    let rounded = quantise_fp8(&x, Scaling::Fixed(&scale)).expect("bytes").dequantise().expect("x");
    assert_eq!(rounded.to_vec(), [448.0 * scale.value(), -448.0 * scale.value()]);
}

#[test]
fn layers_give_what_layers_of_the_rounded_numbers_give() {
    let device = device();
    let weights: Vec<bf16> =
        wave(&device, &[32, 48], 0.05).to_vec().into_iter().map(bf16::from_f32).collect();
    let bias: Vec<f32> = (0..32).map(|i| i as f32 * 0.1 - 1.0).collect();
    let layer = LinearFp8::new(&device, &weights, [32, 48], Some(&bias)).expect("a layer");
    assert_eq!((layer.in_features(), layer.out_features()), (48, 32));
    let exact = Linear::new(&device, Weights::Bf16(&weights), [32, 48], Some(&bias)).expect("a layer");
    let x = wave(&device, &[5, 48], 0.3);
    let rounded = quantise_fp8(&x, layer.scaling()).expect("bytes");
    for activation in [Activation::None, Activation::Gelu, Activation::Silu] {
        let found = linear_fp8(&rounded, &layer, activation).expect("8 bits");
        assert!(relative(&found, &linear(&x, &exact, activation).expect("exact")) < 0.05);
        let scale =
            FixedScale::for_largest(&device, largest_magnitude(&found).expect("a number")).expect("a scale");
        let narrow = linear_fp8_to_fp8(&rounded, &layer, activation, &scale).expect("8 bits");
        assert_eq!(
            narrow.dequantise().expect("y").to_vec(),
            quantise_fp8(&found, Scaling::Fixed(&scale)).expect("bytes").dequantise().expect("y").to_vec()
        );
    }
    let residual = wave(&device, &[5, 32], 1.0);
    let table = wave(&device, &[1, 6, 32], 0.2);
    for gain in [Gain::Constant(0.5), Gain::PerFrame(Modulation { table: &table, part: 2 })] {
        let found = linear_fp8_add(residual.clone(), &rounded, &layer, gain).expect("8 bits");
        let expected = linear_add(residual.clone(), &x, &exact, gain).expect("exact");
        assert!(relative(&found, &expected) < 0.05);
    }
}

#[test]
fn a_norm_to_8_bits_is_the_norm_and_then_the_rounding() {
    let device = device();
    let x = wave(&device, &[6, 32], 2.0);
    let table = wave(&device, &[3, 6, 32], 0.2);
    let (weight, bias) = (wave(&device, &[32], 0.3), wave(&device, &[32], 0.1));
    let part = |part| Modulation { table: &table, part };
    for norm in [
        LayerNorm::Plain,
        LayerNorm::Affine { weight: &weight, bias: &bias },
        LayerNorm::Modulated { scale: part(1), shift: part(0) },
    ] {
        let fused = layer_norm_fp8(&x, norm, 1e-6, Scaling::Rows).expect("8 bits");
        let steps = quantise_fp8(&norm.apply(&x, 1e-6).expect("a norm"), Scaling::Rows).expect("8 bits");
        assert_eq!(fused.dequantise().expect("x").to_vec(), steps.dequantise().expect("x").to_vec());
    }
    let short = wave(&device, &[31], 1.0);
    let wrong = LayerNorm::Affine { weight: &short, bias: &short };
    assert!(layer_norm_fp8(&x, wrong, 1e-6, Scaling::Rows).is_err());
}

#[test]
fn sizes_that_hardware_does_not_take_are_refused() {
    let device = device();
    let weights = vec![bf16::ONE; 48 * 40];
    assert!(LinearFp8::new(&device, &weights, [48, 40], None).is_err());
    assert!(LinearFp8::new(&device, &weights[..48 * 32], [48, 16], None).is_err());
    assert!(LinearFp8::new(&device, &weights[..48 * 16], [48, 16], Some(&[0.0])).is_err());
    let layer = LinearFp8::new(&device, &weights[..48 * 16], [48, 16], None).expect("a layer");
    let x = quantise_fp8(&Tensor::zeros(&device, &[2, 32]).expect("x"), Scaling::Rows).expect("bytes");
    assert!(linear_fp8(&x, &layer, Activation::None).is_err());
}
