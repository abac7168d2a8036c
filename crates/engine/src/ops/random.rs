//! Normally distributed random numbers that depend on nothing but their seed.

use std::f64::consts::{LN_2, SQRT_2, TAU};

use crate::{Device, Result, Tensor, cpu::RowKernel, tensor::shape_of};

/// A seeded stream of random numbers, counter-based: number `n` of a seed is computed directly, so neither the machine
/// nor the number of threads nor the order of work can change it.
///
/// The bits are Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with the seed as key
/// and the number of the block of four as counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generator {
    seed: u64,
    /// Blocks of four numbers that have been drawn.
    block: u64,
}

impl Generator {
    /// The stream of this seed, from its beginning.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, block: 0 }
    }
}

/// A tensor of independent numbers with mean 0 and variance 1, the next of `generator`. Pairs come from two uniform
/// numbers each (Box & Muller 1958). A draw takes whole blocks of four; what is left of the last one is not used.
///
/// # Errors
/// [`crate::Error::Shape`] when the shape has too many dimensions or elements.
pub fn randn(device: &Device, shape: &[usize], generator: &mut Generator) -> Result<Tensor> {
    const OP: &str = "normal numbers";
    let shape = shape_of(OP, shape)?;
    if let Device::Cuda(cuda) = device {
        let out = cuda.normal(OP, shape, generator.seed, generator.block)?;
        generator.block = generator.block.wrapping_add(shape.numel().div_ceil(BLOCK) as u64);
        return Ok(out);
    }
    let mut out = Tensor::empty(device, shape)?;
    let target = out.f32s_mut(OP)?;
    let kernel = Normals { seed: generator.seed, first_block: generator.block };
    let blocks = target.len().div_ceil(BLOCK);
    let cpu = device.clone().cpu(OP)?;
    let (whole, rest) = target.split_at_mut(target.len() / BLOCK * BLOCK);
    cpu.for_rows(whole, BLOCK, 200, &kernel);
    if !rest.is_empty() {
        rest.copy_from_slice(&kernel.block(blocks as u64 - 1)[..rest.len()]);
    }
    generator.block = generator.block.wrapping_add(blocks as u64);
    Ok(out)
}

/// Numbers of one Philox block.
const BLOCK: usize = 4;

struct Normals {
    seed: u64,
    first_block: u64,
}

impl Normals {
    #[inline(always)]
    fn block(&self, index: u64) -> [f32; BLOCK] {
        let counter = self.first_block.wrapping_add(index);
        let bits = philox4x32(
            [counter as u32, (counter >> 32) as u32, 0, 0],
            [self.seed as u32, (self.seed >> 32) as u32],
        );
        let [a, b] = box_muller(bits[0], bits[1]);
        let [c, d] = box_muller(bits[2], bits[3]);
        [a, b, c, d]
    }
}

impl RowKernel<f32> for Normals {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        for (index, out) in rows.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            *out = self.block((first + index) as u64);
        }
    }
}

/// Philox4x32 with ten rounds.
#[inline(always)]
fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product_0 = u64::from(counter[0]) * 0xD251_1F53;
        let product_1 = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (product_1 >> 32) as u32 ^ counter[1] ^ key[0],
            product_1 as u32,
            (product_0 >> 32) as u32 ^ counter[3] ^ key[1],
            product_0 as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// Two independent normal numbers from 64 random bits. Logarithm, sine and cosine are series of our own in plain `f64`
/// arithmetic, which is the same on every machine; those of system libraries differ in their last digits.
#[inline(always)]
fn box_muller(a: u32, b: u32) -> [f32; 2] {
    // Both uniform numbers lie at the middle of their 2^-32 wide cell: never 0, whose logarithm is infinite.
    let radius = (-2.0 * ln((f64::from(a) + 0.5) / 4_294_967_296.0)).sqrt();
    let (sine, cosine) = sin_cos_turns(b);
    [(radius * cosine) as f32, (radius * sine) as f32]
}

/// Natural logarithm of a positive, normal number, to about 1e-14.
#[inline(always)]
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    let exponent = (bits >> 52) as i32 - 1023;
    // To [1/√2, √2], then ln m = 2 artanh((m - 1) / (m + 1)).
    let large = mantissa > SQRT_2;
    let mantissa = if large { 0.5 * mantissa } else { mantissa };
    let exponent = f64::from(exponent + i32::from(large));
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut series = 1.0 / 17.0;
    for divisor in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * square + 1.0 / divisor;
    }
    2.0 * ratio * series + exponent * LN_2
}

/// Sine and cosine of `(turn + 1/2) / 2^32` turns, to about 1e-13.
#[inline(always)]
fn sin_cos_turns(turn: u32) -> (f64, f64) {
    // The nearest quarter turn, and what remains, in [-1/8, 1/8) turns.
    let quarter = turn.wrapping_add(1 << 29) >> 30;
    let rest = turn.wrapping_sub(quarter << 30) as i32;
    let angle = (f64::from(rest) + 0.5) * (TAU / 4_294_967_296.0);
    let square = angle * angle;
    // Taylor series; at π/4 the first terms left out are below 1e-13.
    let mut sine = 1.0;
    for divisor in [14.0 * 15.0, 12.0 * 13.0, 10.0 * 11.0, 8.0 * 9.0, 6.0 * 7.0, 4.0 * 5.0, 2.0 * 3.0] {
        sine = 1.0 - square / divisor * sine;
    }
    let sine = angle * sine;
    let mut cosine = 1.0;
    for divisor in
        [15.0 * 16.0, 13.0 * 14.0, 11.0 * 12.0, 9.0 * 10.0, 7.0 * 8.0, 5.0 * 6.0, 3.0 * 4.0, 1.0 * 2.0]
    {
        cosine = 1.0 - square / divisor * cosine;
    }
    let (s, c) = if quarter & 1 == 0 { (sine, cosine) } else { (cosine, -sine) };
    if quarter & 2 == 0 { (s, c) } else { (-s, -c) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    fn device(threads: usize) -> Device {
        Cpu::new(std::num::NonZeroUsize::new(threads)).unwrap().into()
    }

    /// The vectors published with the paper's library, Random123 (`kat_vectors`).
    #[test]
    fn philox_gives_the_published_answers() {
        let ones = u32::MAX;
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([ones; 4], [ones; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn series_agree_with_the_system_library() {
        for i in 0..200_000u32 {
            let bits = i.wrapping_mul(2_654_435_761);
            let u = (f64::from(bits) + 0.5) / 4_294_967_296.0;
            assert!((ln(u) - u.ln()).abs() < 1e-13, "ln {u}");
            let (sine, cosine) = sin_cos_turns(bits);
            let (s, c) = (TAU * u).sin_cos();
            assert!((sine - s).abs() < 1e-13 && (cosine - c).abs() < 1e-13, "{u} turns");
        }
    }

    #[test]
    fn numbers_depend_on_the_seed_alone() {
        let mut one = Generator::new(42);
        let first = randn(&device(1), &[3, 333_333], &mut one).unwrap().to_vec();
        let again = randn(&device(4), &[3, 333_333], &mut Generator::new(42)).unwrap().to_vec();
        assert_eq!(first, again);
        let next = randn(&device(1), &[999_999], &mut one).unwrap().to_vec();
        assert_ne!(first, next);
        assert_ne!(first, randn(&device(1), &[999_999], &mut Generator::new(43)).unwrap().to_vec());
        // A short draw is the beginning of a longer one.
        assert_eq!(randn(&device(1), &[6], &mut Generator::new(42)).unwrap().to_vec(), first[..6]);
    }

    /// Recorded once: an update that changes these numbers changes every picture of every seed.
    #[test]
    fn the_first_numbers_of_a_seed_stay() {
        let numbers = randn(&device(1), &[4], &mut Generator::new(0)).unwrap().to_vec();
        let bits: Vec<u32> = numbers.iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [1_065_204_531, 3_211_572_912, 3_206_421_407, 3_203_846_578], "{numbers:?}");
    }

    #[test]
    fn numbers_are_normally_distributed() {
        let numbers = randn(&device(2), &[1 << 20], &mut Generator::new(7)).unwrap().to_vec();
        let moment = |power: i32| {
            numbers.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / numbers.len() as f64
        };
        // Five standard errors of each moment at 2^20 numbers.
        for (power, expected, spread) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let error = (moment(power) - expected).abs();
            assert!(error < 5.0 * spread.sqrt() / 1024.0, "moment {power} is off by {error}");
        }
        let neighbours: f64 = numbers.windows(2).map(|w| f64::from(w[0]) * f64::from(w[1])).sum();
        assert!(neighbours.abs() / 1024.0 < 5.0, "neighbours are correlated");
    }
}
