//! Conversions between storage formats, exact where the target is wider.

/// Rows of `row` numbers as 8-bit integers from −127 to 127, and the scale of each row: its largest magnitude over 127. To
/// the nearest, ties to even. A row with something in it that is not finite has the scale NaN.
#[must_use]
pub fn int8_rows_from_f32(values: &[f32], row: usize) -> (Vec<i8>, Vec<f32>) {
    let mut integers = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len() / row.max(1));
    for row in values.chunks(row.max(1)) {
        let largest = row.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let finite = row.iter().all(|value| value.is_finite());
        let scale = if finite { largest / 127.0 } else { f32::NAN };
        scales.push(scale);
        integers.extend(row.iter().map(|value| {
            if scale > 0.0 { (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8 } else { 0 }
        }));
    }
    (integers, scales)
}

/// The value of an OCP `e4m3fn` byte (OCP 8-bit floating point specification 1.0, table 1): bias 7, subnormals,
/// no infinities, and NaN as `0x7f` and `0xff`.
#[must_use]
pub fn f32_from_f8e4m3(byte: u8) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(byte >> 3 & 0x0f);
    let mantissa = f32::from(byte & 0x07);
    let magnitude = match (exponent, byte & 0x07) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    sign * magnitude
}

/// The nearest `e4m3fn` byte, ties to even; beyond ±448 saturates, NaN stays NaN.
#[must_use]
pub fn f8e4m3_from_f32(value: f32) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    if value.is_nan() {
        return sign | 0x7f;
    }
    let magnitude = value.abs();
    if magnitude >= 448.0 {
        return sign | 0x7e;
    }
    // The spacing of representable values around `magnitude`: 2^(e-3) for normals, 2^-9 below 2^-6.
    let exponent = if magnitude < 2f32.powi(-6) { -6 } else { ((magnitude.to_bits() >> 23) as i32) - 127 };
    let steps = (magnitude * 2f32.powi(3 - exponent)).round_ties_even() as u32;
    // `steps` is 0..=16: eight or more are the implicit bit and mantissa, sixteen carries into the exponent. Adding
    // instead of packing makes the carry right; the encoded subnormal range starts at exponent field 0.
    let field = (exponent + 6) as u32 * 8 + steps;
    sign | field as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_bytes_keep_their_largest_number_and_are_found_again() {
        let values = [1.0, -2.0, 0.5, 0.0, 0.0, 0.0, f32::NAN, 1.0, 2.0, -1e30, 1e30, 3.0];
        let (integers, scales) = int8_rows_from_f32(&values, 3);
        assert_eq!(integers, [64, -127, 32, 0, 0, 0, 0, 0, 0, -127, 127, 0]);
        assert!(scales[0] == 2.0 / 127.0 && scales[1] == 0.0 && scales[2].is_nan() && scales[3] > 7e27);
        let (again, factors): (Vec<i8>, _) = ((-127..=127).collect(), [0.037f32, 1.9e-5, 3.3]);
        for factor in factors {
            let values: Vec<f32> = again.iter().map(|&integer| f32::from(integer) * factor).collect();
            assert_eq!(int8_rows_from_f32(&values, 255).0, again);
        }
    }

    #[test]
    fn every_f8_byte_survives_the_round_trip() {
        for byte in 0..=u8::MAX {
            let value = f32_from_f8e4m3(byte);
            if value.is_nan() {
                assert_eq!(f8e4m3_from_f32(value) & 0x7f, 0x7f);
            } else {
                assert_eq!(f8e4m3_from_f32(value), byte, "{value}");
            }
        }
    }

    #[test]
    fn f8_rounding_goes_to_the_nearest_and_ties_to_even() {
        let finite: Vec<(f32, u8)> = (0..0x7f).map(|byte| (f32_from_f8e4m3(byte), byte)).collect();
        for pair in finite.windows(2) {
            let [(low, low_byte), (high, high_byte)] = [pair[0], pair[1]];
            let middle = (low + high) / 2.0;
            let even = if low_byte % 2 == 0 { low_byte } else { high_byte };
            assert_eq!(f8e4m3_from_f32(middle), even, "between {low} and {high}");
            assert_eq!(f8e4m3_from_f32(low + (high - low) * 0.49), low_byte);
            assert_eq!(f8e4m3_from_f32(low + (high - low) * 0.51), high_byte);
        }
        assert_eq!(f8e4m3_from_f32(1e9), 0x7e);
        assert_eq!(f8e4m3_from_f32(-460.0), 0xfe);
    }
}
