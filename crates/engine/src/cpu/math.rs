//! Transcendental functions without branches or calls, so that loops over them vectorise once inlined into a function
//! compiled for the machine's instruction set.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use pulp::Simd;

/// Added and subtracted, rounds to the nearest integer: 1.5 · 2^23.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts, the first exact in few bits, so that the reduced argument keeps its precision (Cody & Waite).
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^r` on `[-ln 2 / 2, ln 2 / 2]`: the Taylor polynomial of degree 7, highest power first, error below 2^-27.
const EXP_COEFFICIENTS: [f32; 8] =
    [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// `tanh(x) / x` near zero, by powers of `x²`, highest first.
const TANH_COEFFICIENTS: [f32; 4] = [-17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0, 1.0];

/// Of GELU: `0.5 (1 + tanh(y))` is `sigmoid(2y)`.
const TWO_SQRT_2_OVER_PI: f32 = 1.595_769_2;
const GELU_CUBIC: f32 = 0.044_715;

/// Of the error function (Abramowitz & Stegun 1964, 7.1.26; error below 1.5e-7): `1 - erf(y)` is a polynomial of
/// `1 / (1 + SLOPE · y)` without a constant, highest power first, times `e^(-y²)`, for `y` of 0 or more.
const ERF_SLOPE: f32 = 0.327_591_1;
const ERF_COEFFICIENTS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];

/// `e^x`, within 2 units in the last place; below −87 it is 0 or tiny, above 88 it is about `f32::MAX`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = min(max(x, -87.3), 88.3);
    let rounded = x.mul_add(LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut p = EXP_COEFFICIENTS[0];
    for coefficient in &EXP_COEFFICIENTS[1..] {
        p = r.mul_add(p, *coefficient);
    }
    // The low bits of `rounded` hold n; shifted into the exponent field they multiply by 2^n.
    let scale = f32::from_bits(rounded.to_bits().wrapping_add(127).wrapping_shl(23));
    p * scale
}

/// [`exp`] of every lane.
#[inline(always)]
pub(crate) fn exp_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |value: f32| simd.splat_f32s(value);
    let x = simd.min_f32s(simd.max_f32s(x, constant(-87.3)), constant(88.3));
    let rounded = simd.mul_add_f32s(x, constant(LOG2_E), constant(ROUND));
    let n = simd.sub_f32s(rounded, constant(ROUND));
    let r = simd.mul_add_f32s(n, constant(-LN_2_LOW), simd.mul_add_f32s(n, constant(-LN_2_HIGH), x));
    let mut p = constant(EXP_COEFFICIENTS[0]);
    for &coefficient in &EXP_COEFFICIENTS[1..] {
        p = simd.mul_add_f32s(r, p, constant(coefficient));
    }
    let exponent = simd.add_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(127));
    let scale = simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(scale))
}

/// [`sigmoid`] of every lane.
#[inline(always)]
pub(crate) fn sigmoid_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp_lanes(simd, simd.neg_f32s(x))))
}

/// [`silu`] of every lane.
#[inline(always)]
pub(crate) fn silu_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.mul_f32s(x, sigmoid_lanes(simd, x))
}

/// [`tanh`] of every lane.
#[inline(always)]
pub(crate) fn tanh_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |value: f32| simd.splat_f32s(value);
    let one = constant(1.0);
    let bounded = simd.min_f32s(simd.max_f32s(x, constant(-10.0)), constant(10.0));
    let e = exp_lanes(simd, simd.add_f32s(bounded, bounded));
    let wide = simd.div_f32s(simd.sub_f32s(e, one), simd.add_f32s(e, one));
    let square = simd.mul_f32s(x, x);
    let mut series = constant(TANH_COEFFICIENTS[0]);
    for &coefficient in &TANH_COEFFICIENTS[1..] {
        series = simd.mul_add_f32s(square, series, constant(coefficient));
    }
    simd.select_f32s(simd.less_than_f32s(square, constant(0.01)), simd.mul_f32s(series, x), wide)
}

/// [`gelu_tanh`] of every lane.
#[inline(always)]
pub(crate) fn gelu_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let cubic = simd.mul_f32s(simd.mul_f32s(simd.splat_f32s(GELU_CUBIC), x), x);
    let y = simd.mul_f32s(simd.splat_f32s(TWO_SQRT_2_OVER_PI), simd.mul_add_f32s(cubic, x, x));
    simd.mul_f32s(x, sigmoid_lanes(simd, y))
}

/// [`gelu_erf`] of every lane.
#[inline(always)]
pub(crate) fn gelu_erf_lanes<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |value: f32| simd.splat_f32s(value);
    let (zero, one) = (constant(0.0), constant(1.0));
    let y = simd.mul_f32s(simd.abs_f32s(x), constant(FRAC_1_SQRT_2));
    let t = simd.div_f32s(one, simd.mul_add_f32s(constant(ERF_SLOPE), y, one));
    let mut p = constant(ERF_COEFFICIENTS[0]);
    for &coefficient in &ERF_COEFFICIENTS[1..] {
        p = simd.mul_add_f32s(t, p, constant(coefficient));
    }
    let decay = exp_lanes(simd, simd.mul_f32s(simd.neg_f32s(y), y));
    let tail = simd.mul_f32s(simd.mul_f32s(constant(0.5), simd.mul_f32s(t, p)), decay);
    simd.mul_f32s(x, simd.select_f32s(simd.less_than_f32s(x, zero), tail, simd.sub_f32s(one, tail)))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x · sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// Hyperbolic tangent: by its odd series near zero, where the quotient would lose digits.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp(2.0 * min(max(x, -10.0), 10.0));
    let wide = (e - 1.0) / (e + 1.0);
    let square = x * x;
    let mut series = TANH_COEFFICIENTS[0];
    for &coefficient in &TANH_COEFFICIENTS[1..] {
        series = square.mul_add(series, coefficient);
    }
    if square < 0.01 { series * x } else { wide }
}

/// The tanh approximation of GELU (Hendrycks & Gimpel 2016, equation 2).
#[inline(always)]
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    let y = TWO_SQRT_2_OVER_PI * (GELU_CUBIC * x * x).mul_add(x, x);
    x * sigmoid(y)
}

/// GELU (Hendrycks & Gimpel 2016): `x (1 + erf(x / √2)) / 2`.
#[inline(always)]
pub(crate) fn gelu_erf(x: f32) -> f32 {
    let y = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / ERF_SLOPE.mul_add(y, 1.0);
    let mut p = ERF_COEFFICIENTS[0];
    for coefficient in &ERF_COEFFICIENTS[1..] {
        p = t.mul_add(p, *coefficient);
    }
    let tail = 0.5 * (t * p) * exp(-y * y);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// The larger, by one instruction: unlike `f32::max` it need not care for NaN.
#[inline(always)]
pub(crate) fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller.
#[inline(always)]
pub(crate) fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Independent partial sums: as many as the widest registers hold, so that a reduction vectorises.
const LANES: usize = 16;

/// The sum of `f` over the elements.
#[inline(always)]
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f(value);
    }
    lanes.iter().sum()
}

/// The sum of the products of the elements.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = a.mul_add(b, *lane);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = a.mul_add(b, *lane);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=100_000).map(move |i| from + (to - from) * i as f32 / 100_000.0)
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for x in range(-87.0, 88.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}): {error:e}");
        }
        assert!(exp(-1e30) < 1e-37);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn lanes_hold_the_same_functions() {
        struct Lanes<'a>(&'a [f32], &'a mut [f32], usize);
        impl pulp::WithSimd for Lanes<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let (x, y) = (S::as_simd_f32s(self.0).0, S::as_mut_simd_f32s(self.1).0);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = match self.2 {
                        0 => exp_lanes(simd, x),
                        1 => sigmoid_lanes(simd, x),
                        2 => silu_lanes(simd, x),
                        3 => tanh_lanes(simd, x),
                        4 => gelu_lanes(simd, x),
                        _ => gelu_erf_lanes(simd, x),
                    };
                }
            }
        }
        let functions = [exp, sigmoid, silu, tanh, gelu_tanh, gelu_erf];
        let x: Vec<f32> = range(-100.0, 100.0).take(100_000).collect();
        for (index, function) in functions.into_iter().enumerate() {
            let mut y = vec![0.0; x.len()];
            pulp::Arch::new().dispatch(Lanes(&x, &mut y, index));
            for (&x, &y) in x.iter().zip(&y) {
                assert_eq!(y, function(x), "function {index} at {x}");
            }
        }
    }

    #[test]
    fn activations_follow_their_definitions() {
        for x in range(-12.0, 12.0) {
            let wide = f64::from(x);
            let tanh_y = (0.797_884_560_802_865_4 * (wide + 0.044715 * wide.powi(3))).tanh();
            let close = |got: f32, exact: f64| {
                assert!(
                    (f64::from(got) - exact).abs() <= 1e-6 * exact.abs().max(0.1),
                    "{x}: {got} for {exact}"
                );
            };
            close(tanh(x), wide.tanh());
            close(sigmoid(x), 1.0 / (1.0 + (-wide).exp()));
            close(silu(x), wide / (1.0 + (-wide).exp()));
            close(gelu_tanh(x), 0.5 * wide * (1.0 + tanh_y));
        }
    }

    #[test]
    fn gelu_is_x_times_the_normal_distribution() {
        // Its density, integrated from 0 by Simpson's rule in steps that end at every value.
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let (steps, width) = (6000, 1e-3);
        let mut below = 0.5;
        for step in 0..steps {
            let x = f64::from(step) * width;
            let close = |x: f64, share: f64| {
                let got = f64::from(gelu_erf(x as f32));
                assert!(
                    (got - x * share).abs() < 2e-7 * x.abs().max(1.0) + 1e-7,
                    "{x}: {got} for {}",
                    x * share
                );
            };
            close(x, below);
            close(-x, 1.0 - below);
            below += width / 6.0 * (density(x) + 4.0 * density(x + width / 2.0) + density(x + width));
        }
        assert_eq!(gelu_erf(100.0), 100.0);
        assert!(gelu_erf(-100.0).abs() < 1e-30);
    }

    #[test]
    fn dot_products_count_every_element_once() {
        for len in 0..70u16 {
            let values: Vec<f32> = (0..len).map(f32::from).collect();
            let expected: u32 = (0..u32::from(len)).map(|v| v * v).sum();
            assert_eq!(dot(&values, &values), expected as f32);
        }
    }

    #[test]
    fn sums_count_every_element_once() {
        for len in 0..70 {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(sum(&values, |v| v), (0..len).sum::<i32>() as f32);
        }
    }
}
