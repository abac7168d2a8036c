//! Little-endian element bytes to numbers. Bytes may start at any address.

use super::FileDType;
use crate::parallel;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};
use scope_engine::convert::f32_from_f8e4m3;

/// The numbers as `f32`. Exact except for integers beyond 2^24 and `f64`, which go to the nearest, ties to even.
pub(super) fn to_f32(dtype: FileDType, bytes: &[u8]) -> Vec<f32> {
    in_shares(dtype, bytes, |bytes, target| fill_f32(dtype, bytes, target))
}

/// The numbers as `bf16`, to the nearest, ties to even, rounded once. 64-bit integers pass through `f64` first.
pub(super) fn to_bf16(dtype: FileDType, bytes: &[u8]) -> Vec<bf16> {
    in_shares(dtype, bytes, |bytes, target| fill_bf16(dtype, bytes, target)).reinterpret_into()
}

/// e4m3 numbers as bf16 ones.
pub(crate) fn widen_e4m3(bytes: &[u8]) -> Vec<bf16> {
    to_bf16(FileDType::F8E4M3, bytes)
}

/// The numbers as bf16, to the nearest, ties to even.
pub(crate) fn narrow_to_bf16(values: &[f32]) -> Vec<bf16> {
    let mut bits = vec![0; values.len()];
    let shares = bits.chunks_mut(SHARE_ELEMENTS).zip(values.chunks(SHARE_ELEMENTS));
    parallel::for_each(shares, |(target, values)| {
        for (target, &value) in target.iter_mut().zip(values) {
            *target = bf16_bits(value);
        }
    });
    bits.reinterpret_into()
}

/// The numbers that `decode` makes of the elements' bytes, a large tensor's on all cores.
fn in_shares<T: Copy + Default + Send>(
    dtype: FileDType,
    bytes: &[u8],
    decode: impl Fn(&[u8], &mut [T]) + Sync,
) -> Vec<T> {
    let size = dtype.size_bytes();
    let mut values = vec![T::default(); bytes.len() / size];
    let shares = values.chunks_mut(SHARE_ELEMENTS).zip(bytes.chunks(SHARE_ELEMENTS * size));
    parallel::for_each(shares, |(target, bytes)| decode(bytes, target));
    values
}

fn fill_f32(dtype: FileDType, bytes: &[u8], target: &mut [f32]) {
    match dtype {
        FileDType::F32 => fill(bytes, target, f32::from_le_bytes),
        FileDType::Bf16 => fill(bytes, target, |le| f32::from_bits(u32::from(u16::from_le_bytes(le)) << 16)),
        FileDType::F16 => f16_to_f32(bytes, target),
        FileDType::F8E4M3 => {
            let table: [f32; 256] = std::array::from_fn(|byte| f32_from_f8e4m3(byte as u8));
            fill(bytes, target, |[byte]| table[usize::from(byte)]);
        }
        // An e5m2 number is the upper byte of the f16 with the same value.
        FileDType::F8E5M2 => fill(bytes, target, |[byte]| f16::from_bits(u16::from(byte) << 8).to_f32()),
        FileDType::F64 => fill(bytes, target, |le| f64::from_le_bytes(le) as f32),
        FileDType::Bool => fill(bytes, target, |[byte]| f32::from(byte != 0)),
        FileDType::U8 => fill(bytes, target, |[byte]| f32::from(byte)),
        FileDType::I8 => fill(bytes, target, |le| f32::from(i8::from_le_bytes(le))),
        FileDType::I16 => fill(bytes, target, |le| f32::from(i16::from_le_bytes(le))),
        FileDType::U16 => fill(bytes, target, |le| f32::from(u16::from_le_bytes(le))),
        FileDType::I32 => fill(bytes, target, |le| i32::from_le_bytes(le) as f32),
        FileDType::U32 => fill(bytes, target, |le| u32::from_le_bytes(le) as f32),
        FileDType::I64 => fill(bytes, target, |le| i64::from_le_bytes(le) as f32),
        FileDType::U64 => fill(bytes, target, |le| u64::from_le_bytes(le) as f32),
    }
}

/// As [`fill_f32`], with the bits of bf16 numbers.
fn fill_bf16(dtype: FileDType, bytes: &[u8], target: &mut [u16]) {
    match dtype {
        FileDType::Bf16 => fill(bytes, target, u16::from_le_bytes),
        FileDType::F32 => fill(bytes, target, |le| bf16_bits(f32::from_le_bytes(le))),
        FileDType::F8E4M3 => {
            let wide = |byte| bf16::from_f32(f32_from_f8e4m3(byte as u8)).to_bits();
            let table: [u16; 256] = std::array::from_fn(wide);
            fill(bytes, target, |[byte]| table[usize::from(byte)]);
        }
        FileDType::F64 => fill(bytes, target, |le| bf16_from_f64(f64::from_le_bytes(le)).to_bits()),
        FileDType::I32 => {
            fill(bytes, target, |le| bf16_from_f64(f64::from(i32::from_le_bytes(le))).to_bits());
        }
        FileDType::U32 => {
            fill(bytes, target, |le| bf16_from_f64(f64::from(u32::from_le_bytes(le))).to_bits());
        }
        FileDType::I64 => fill(bytes, target, |le| bf16_from_f64(i64::from_le_bytes(le) as f64).to_bits()),
        FileDType::U64 => fill(bytes, target, |le| bf16_from_f64(u64::from_le_bytes(le) as f64).to_bits()),
        // Every other type is exact in f32. In pieces, so that the wide copy stays small.
        _ => {
            let mut wide = [0.0; PIECE_ELEMENTS];
            let pieces = bytes.chunks(PIECE_ELEMENTS * dtype.size_bytes());
            for (target, bytes) in target.chunks_mut(PIECE_ELEMENTS).zip(pieces) {
                let wide = &mut wide[..target.len()];
                fill_f32(dtype, bytes, wide);
                for (target, wide) in target.iter_mut().zip(wide) {
                    *target = bf16_bits(*wide);
                }
            }
        }
    }
}

/// The numbers as `i32`, or nothing if the type holds no whole numbers or one is too large.
pub(super) fn to_i32(dtype: FileDType, bytes: &[u8]) -> Option<Vec<i32>> {
    match dtype {
        FileDType::I32 => Some(map(bytes, i32::from_le_bytes)),
        FileDType::Bool => Some(bytes.iter().map(|&byte| i32::from(byte != 0)).collect()),
        FileDType::U8 => Some(bytes.iter().map(|&byte| i32::from(byte)).collect()),
        FileDType::I8 => Some(map(bytes, |le| i32::from(i8::from_le_bytes(le)))),
        FileDType::I16 => Some(map(bytes, |le| i32::from(i16::from_le_bytes(le)))),
        FileDType::U16 => Some(map(bytes, |le| i32::from(u16::from_le_bytes(le)))),
        FileDType::U32 => try_map(bytes, |le| u32::from_le_bytes(le).try_into().ok()),
        FileDType::I64 => try_map(bytes, |le| i64::from_le_bytes(le).try_into().ok()),
        FileDType::U64 => try_map(bytes, |le| u64::from_le_bytes(le).try_into().ok()),
        FileDType::F8E4M3
        | FileDType::F8E5M2
        | FileDType::F16
        | FileDType::Bf16
        | FileDType::F32
        | FileDType::F64 => None,
    }
}

/// What fits into the fastest memory of a core.
const PIECE_ELEMENTS: usize = 4096;
/// What is worth a thread.
const SHARE_ELEMENTS: usize = 1 << 20;

fn fill<const N: usize, T>(bytes: &[u8], target: &mut [T], decode: impl Fn([u8; N]) -> T) {
    for (target, &element) in target.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *target = decode(element);
    }
}

fn map<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&element| decode(element)).collect()
}

fn try_map<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> Option<i32>) -> Option<Vec<i32>> {
    bytes.as_chunks::<N>().0.iter().map(|&element| decode(element)).collect()
}

/// In pieces: the conversion of a whole slice uses the processor's instruction, but wants aligned input.
fn f16_to_f32(bytes: &[u8], target: &mut [f32]) {
    let elements = bytes.as_chunks::<2>().0;
    let mut aligned = [f16::ZERO; PIECE_ELEMENTS];
    for (source, target) in elements.chunks(PIECE_ELEMENTS).zip(target.chunks_mut(PIECE_ELEMENTS)) {
        let aligned = &mut aligned[..source.len()];
        for (value, &le) in aligned.iter_mut().zip(source) {
            *value = f16::from_le_bytes(le);
        }
        aligned.convert_to_f32_slice(target);
    }
}

/// As [`bf16::from_f32`], without a branch, so that many are rounded at once.
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    // Up where the lower half is above the middle, or on it and the upper half is odd.
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if value.is_nan() { bits >> 16 | 0x40 } else { nearest }) as u16
}

/// Rounds once. Going through `f32` to the nearest could round a second time away from the nearest `bf16`; with an odd
/// last bit in every inexact `f32` no tie can arise (Boldo and Melquiond, "Emulation of FMA and correctly rounded
/// sums: proved algorithms using rounding to odd", 2008).
fn bf16_from_f64(value: f64) -> bf16 {
    let nearest = value as f32;
    if value.is_nan() || f64::from(nearest) == value {
        return bf16::from_f32(nearest);
    }
    let magnitude = nearest.to_bits() & 0x7fff_ffff;
    let toward_zero = if f64::from(nearest).abs() > value.abs() { magnitude - 1 } else { magnitude };
    bf16::from_f32(f32::from_bits(toward_zero | 1).copysign(nearest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_at_odd_addresses_decode_alike() {
        let mut bytes = vec![0xff];
        for value in [1.0f32, -2.5, f32::MIN_POSITIVE] {
            bytes.extend(value.to_le_bytes());
        }
        assert_eq!(to_f32(FileDType::F32, &bytes[1..]), [1.0, -2.5, f32::MIN_POSITIVE]);
        let mut bytes = vec![0xff];
        for value in 0..10_000u16 {
            bytes.extend(value.to_le_bytes());
        }
        let want: Vec<f32> = (0..10_000).map(|bits| f16::from_bits(bits).to_f32()).collect();
        assert_eq!(to_f32(FileDType::F16, &bytes[1..]), want);
    }

    #[test]
    fn small_types_widen_exactly() {
        assert_eq!(to_f32(FileDType::Bf16, &[0x80, 0x3f, 0x20, 0xc0]), [1.0, -2.5]);
        assert_eq!(to_f32(FileDType::F8E4M3, &[0x38, 0xfe, 0x01]), [1.0, -448.0, 0.001_953_125]);
        assert_eq!(to_f32(FileDType::F8E5M2, &[0x3c, 0xfb, 0x7c]), [1.0, -57344.0, f32::INFINITY]);
        assert_eq!(to_f32(FileDType::Bool, &[0, 1, 7]), [0.0, 1.0, 1.0]);
        assert_eq!(to_f32(FileDType::I8, &[0xff]), [-1.0]);
        assert_eq!(to_f32(FileDType::I64, &(-3i64).to_le_bytes()), [-3.0]);
        let bytes: Vec<u8> = (0..=255).collect();
        for (wide, narrow) in to_f32(FileDType::F8E4M3, &bytes).iter().zip(to_bf16(FileDType::F8E4M3, &bytes))
        {
            assert!(wide.is_nan() && narrow.is_nan() || *wide == narrow.to_f32());
        }
    }

    #[test]
    fn narrowing_rounds_to_the_nearest_and_ties_to_even() {
        let bf16_of = |value: f32| to_bf16(FileDType::F32, &value.to_le_bytes())[0].to_f32();
        // Neighbours of 1 in bf16 are 2^-7 apart above it.
        assert_eq!(bf16_of(1.0 + 2f32.powi(-8)), 1.0);
        assert_eq!(bf16_of(1.0 + 3.0 * 2f32.powi(-8)), 1.0 + 2f32.powi(-6));
        assert_eq!(bf16_of(f32::MAX), f32::INFINITY);
        assert!(bf16_of(f32::NAN).is_nan());
    }

    #[test]
    fn rounding_many_at_once_is_rounding_each() {
        // Every upper half, with lower halves below, on and above the middle.
        for bits in (0..=u32::MAX >> 16)
            .flat_map(|upper| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|lower| upper << 16 | lower))
        {
            let value = f32::from_bits(bits);
            assert_eq!(bf16_bits(value), bf16::from_f32(value).to_bits(), "{bits:x}");
        }
    }

    #[test]
    fn an_f64_is_rounded_only_once() {
        // Just above the middle of two bf16: rounding to f32 first would land on the middle and then go to even.
        let above = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        for sign in [1.0, -1.0] {
            let got = to_bf16(FileDType::F64, &(sign * above).to_le_bytes())[0].to_f64();
            assert_eq!(got, sign * (1.0 + 2f64.powi(-7)));
            let below = sign * (1.0 + 2f64.powi(-8) - 2f64.powi(-40));
            assert_eq!(to_bf16(FileDType::F64, &below.to_le_bytes())[0].to_f64(), sign);
        }
        for (value, want) in [(1e300, f64::INFINITY), (-1e-320, 0.0), (0.1, bf16::from_f32(0.1).to_f64())] {
            assert_eq!(to_bf16(FileDType::F64, &f64::to_le_bytes(value))[0].to_f64(), want);
        }
        assert_eq!(to_bf16(FileDType::I32, &16_842_753i32.to_le_bytes())[0].to_f64(), 16_908_288.0);
    }

    #[test]
    fn integers_beyond_32_bits_are_refused() {
        assert_eq!(to_i32(FileDType::I64, &(-7i64).to_le_bytes()), Some(vec![-7]));
        assert_eq!(to_i32(FileDType::I64, &(1i64 << 31).to_le_bytes()), None);
        assert_eq!(to_i32(FileDType::U32, &u32::MAX.to_le_bytes()), None);
        assert_eq!(to_i32(FileDType::F32, &1.0f32.to_le_bytes()), None);
    }
}
