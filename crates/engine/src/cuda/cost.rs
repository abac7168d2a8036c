//! What work costs at least, whatever does it, and what a card can do at most.

use std::{iter::Sum, ops::AddAssign, time::Duration};

use super::{
    Cuda,
    gemm::{Epilogue, Matrix, Product, Scales},
};
use crate::{DType, Result, Tensor, ops::Scaling, tensor::shape_of};

/// What a piece of work can't do without: operations of products (a multiplication and an addition are two), by the type of
/// the factors, and bytes that are read and written by everything else.
///
/// Matrix products, attention and convolutions have operations and no bytes; norms, operators on single elements, resizing,
/// and copies within a card have the bytes of their tensors and no operations. Parameters that all rows share count nothing,
/// nor does what goes to and from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Operations on `f32`.
    pub f32: u64,
    /// Operations on bf16.
    pub bf16: u64,
    /// Operations on e4m3.
    pub e4m3: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

impl Cost {
    /// Work that says nothing of its cost.
    pub(super) const NOTHING: Self = Self { f32: 0, bf16: 0, e4m3: 0, bytes: 0 };

    /// `[rows, depth] · [depth, columns]`, so many times.
    pub(super) fn product([rows, columns, depth, batch]: [usize; 4], factors: DType) -> Self {
        let operations = 2 * rows as u64 * columns as u64 * depth as u64 * batch as u64;
        match factors {
            DType::Bf16 | DType::F16 => Self { bf16: operations, ..Self::NOTHING },
            DType::F8E4M3 => Self { e4m3: operations, ..Self::NOTHING },
            DType::F32 | DType::U8 | DType::I32 => Self { f32: operations, ..Self::NOTHING },
        }
    }

    /// Scores of all keys for each query, and the sum of values under them; each in the type of its factors.
    pub(super) fn attention([queries, keys, heads, dim]: [usize; 4], [scored, summed]: [DType; 2]) -> Self {
        Self::product([queries, keys, dim, heads], scored)
            + Self::product([queries, dim, keys, heads], summed)
    }

    /// So many numbers of a convolution's result, each from so many channels under so many taps.
    pub(super) fn convolution([numbers, taps, channels]: [usize; 3], factors: DType) -> Self {
        Self::product([numbers, 1, taps * channels, 1], factors)
    }

    /// So many bytes, read or written.
    pub(super) fn bytes(bytes: usize) -> Self {
        Self { bytes: bytes as u64, ..Self::NOTHING }
    }

    /// Each of these tensors read or written once.
    pub(super) fn moving<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Self {
        Self::bytes(tensors.into_iter().map(|x| x.shape().numel() * x.dtype().size_bytes()).sum())
    }

    /// The share of one of so many equal parts.
    #[must_use]
    pub fn over(self, parts: u64) -> Self {
        let parts = parts.max(1);
        Self {
            f32: self.f32 / parts,
            bf16: self.bf16 / parts,
            e4m3: self.e4m3 / parts,
            bytes: self.bytes / parts,
        }
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            f32: self.f32 + other.f32,
            bf16: self.bf16 + other.bf16,
            e4m3: self.e4m3 + other.e4m3,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::NOTHING, |sum, cost| sum + cost)
    }
}

/// What a card does at most, as measured on it: large products of random numbers, and a copy within its memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Operations a second on `f32`.
    pub f32: f64,
    /// Operations a second on bf16.
    pub bf16: f64,
    /// Operations a second on e4m3, where cuBLASLt multiplies such numbers on this card.
    pub e4m3: Option<f64>,
    /// Bytes a second, read and written ones added up.
    pub copy: f64,
}

impl Ceilings {
    /// The floor under the time of such work: every product at the rate of a large one, every other kernel's bytes at the rate
    /// of a copy, one after the other and nothing between.
    ///
    /// It is a measure and no law: tensors that are still in the card's cache move faster than a copy, and so does what
    /// becomes a part of the kernel before it.
    #[must_use]
    pub fn floor(&self, cost: &Cost) -> Duration {
        let seconds = |count: u64, rate: f64| if count == 0 { 0.0 } else { count as f64 / rate.max(1.0) };
        Duration::from_secs_f64(
            seconds(cost.f32, self.f32)
                + seconds(cost.bf16, self.bf16)
                + seconds(cost.e4m3, self.e4m3.unwrap_or(self.bf16))
                + seconds(cost.bytes, self.copy),
        )
    }
}

impl Cuda {
    /// Measures what the card does at most. It takes under a second and 3 GiB of memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), or [`Error::Gpu`](crate::Error::Gpu) when work fails.
    pub fn ceilings(&self) -> Result<Ceilings> {
        Ok(Ceilings {
            f32: self.product_ceiling(4096, DType::F32)?,
            bf16: self.product_ceiling(8192, DType::Bf16)?,
            e4m3: self.has_fp8().then(|| self.product_ceiling(8192, DType::F8E4M3)).transpose()?,
            copy: self.copy_ceiling()?,
        })
    }

    /// Operations a second of square products of random numbers: zeros need less power, and a card is faster with them than it
    /// ever is at work.
    fn product_ceiling(&self, side: usize, factors: DType) -> Result<f64> {
        const OP: &str = "the rate of products";
        let shape = shape_of(OP, &[side, side])?;
        let mut made = Vec::with_capacity(4);
        let mut matrices = [0; 2];
        let mut scales = [0; 2];
        for (index, seed) in [1, 2].into_iter().enumerate() {
            let normal = self.normal(OP, shape, seed, 0)?;
            let matrix = if factors == DType::F8E4M3 {
                let quantised = self.quantise_fp8(OP, &normal, Scaling::All)?;
                scales[index] = self.address(OP, &quantised.scales)?;
                made.push(quantised.scales);
                quantised.values
            } else {
                self.cast(OP, &normal, factors)?
            };
            matrices[index] = self.address(OP, &matrix)?;
            made.push(matrix);
        }
        let output = if factors == DType::F32 { DType::F32 } else { DType::Bf16 };
        let out = self.empty_of(output, shape)?;
        let product = Product {
            a: Matrix::rows(matrices[0], side),
            b: Matrix::rows(matrices[1], side),
            b_transposed: true,
            out: Matrix::rows(self.address(OP, &out)?, side),
            addend: None,
            bias: None,
            epilogue: Epilogue::None,
            rows: side,
            columns: side,
            depth: side,
            batch: 1,
            alpha: 1.0,
            input: factors,
            output,
            scales: (factors == DType::F8E4M3).then(|| Scales {
                a: scales[0],
                b: scales[1],
                out: None,
                outer: false,
            }),
        };
        let seconds = self.shortest(|| self.product(&product))?;
        Ok(2.0 * (side as f64).powi(3) / seconds)
    }

    /// Bytes a second of a copy that no cache holds.
    fn copy_ceiling(&self) -> Result<f64> {
        const OP: &str = "the rate of copies";
        const BYTES: usize = 1 << 30;
        let shape = shape_of(OP, &[BYTES / DType::F32.size_bytes()])?;
        let source = self.normal(OP, shape, 1, 0)?;
        let target = self.empty_of(DType::F32, shape)?;
        let [from, to] = [self.address(OP, &source)?, self.address(OP, &target)?];
        let seconds = self.shortest(|| self.memory().copy(to, from, BYTES))?;
        Ok(2.0 * BYTES as f64 / seconds)
    }

    /// The shortest time that work took, in seconds: each time two pieces of it, after two that don't count.
    fn shortest(&self, work: impl Fn() -> Result<()>) -> Result<f64> {
        const TIMES: usize = 12;
        const PIECES: usize = 2;
        let mut shortest = f32::INFINITY;
        for time in 0..=TIMES {
            let start = self.memory().record_event()?;
            for _ in 0..PIECES {
                work()?;
            }
            let end = self.memory().record_event()?;
            let milliseconds = self.memory().milliseconds(&start, &end)?;
            if time > 0 {
                shortest = shortest.min(milliseconds);
            }
        }
        Ok(f64::from(shortest) / 1e3 / PIECES as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_a_multiplication_and_an_addition_for_each_factor_of_each_sum() {
        let cost = Cost::product([3, 5, 7, 2], DType::Bf16);
        assert_eq!(cost, Cost { bf16: 2 * 3 * 5 * 7 * 2, ..Cost::NOTHING });
        assert_eq!(Cost::product([3, 5, 7, 2], DType::F8E4M3).e4m3, cost.bf16);
        assert_eq!(Cost::product([3, 5, 7, 2], DType::F32).f32, cost.bf16);
        // More than 32 bits hold.
        assert_eq!(Cost::product([8192; 4].map(|side| side * 4), DType::Bf16).bf16, 1 << 61);
    }

    #[test]
    fn half_of_attention_is_scores() {
        let cost = Cost::attention([100, 300, 12, 128], [DType::Bf16; 2]);
        assert_eq!(cost.bf16, 4 * 100 * 300 * 12 * 128);
        let mixed = Cost::attention([100, 300, 12, 128], [DType::F8E4M3, DType::Bf16]);
        assert_eq!((mixed.e4m3, mixed.bf16), (cost.bf16 / 2, cost.bf16 / 2));
    }

    #[test]
    fn a_convolution_is_a_product_of_what_lies_under_its_taps() {
        // Three frames of 10 × 20 pixels with 96 channels, from 64 channels under 3 × 3 × 3 taps.
        let cost = Cost::convolution([3 * 10 * 20 * 96, 27, 64], DType::Bf16);
        assert_eq!(cost, Cost::product([3 * 10 * 20, 96, 27 * 64, 1], DType::Bf16));
    }

    #[test]
    fn costs_add_up_by_kind_and_are_shared_out() {
        let all = [Cost::bytes(10), Cost::product([1, 1, 3, 1], DType::F32), Cost::bytes(5)];
        let sum: Cost = all.into_iter().sum();
        assert_eq!(sum, Cost { f32: 6, bytes: 15, ..Cost::NOTHING });
        assert_eq!(sum.over(3), Cost { f32: 2, bytes: 5, ..Cost::NOTHING });
        assert_eq!(sum.over(0), sum);
        let device = crate::Device::from(crate::Cpu::new(std::num::NonZeroUsize::new(1)).unwrap());
        let x = Tensor::from_f32(&device, &[2, 3], &[0.0; 6]).unwrap();
        assert_eq!(Cost::moving([&x, &x.narrow(0, 1).unwrap()]), Cost::bytes(4 * (6 + 3)));
    }

    #[test]
    fn the_floor_is_every_product_and_every_byte_one_after_the_other() {
        let ceilings = Ceilings { f32: 50e12, bf16: 800e12, e4m3: Some(1600e12), copy: 3e12 };
        let cost = Cost {
            f32: 50_000_000_000,
            bf16: 1_600_000_000_000,
            e4m3: 1_600_000_000_000,
            bytes: 3_000_000_000,
        };
        assert_eq!(ceilings.floor(&cost).as_micros(), 1000 + 2000 + 1000 + 1000);
        // Where there are no such products, none are counted at the rate of nothing.
        let old = Ceilings { e4m3: None, f32: 0.0, ..ceilings };
        assert_eq!(old.floor(&Cost { f32: 0, ..cost }).as_micros(), 2000 + 2000 + 1000);
    }
}
