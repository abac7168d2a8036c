//! Weights that are made up.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use half::bf16;
use half::vec::HalfBitsVecExt;
use scope_engine::convert::{f8e4m3_from_f32, f32_from_f8e4m3};

use super::{Numbers, TensorSource, WeightError};
use crate::{checkpoint::NetworkDescription, parallel};

/// Made-up weights of the right shapes, for measuring speed without a checkpoint. The same seed and name give the same
/// values. Those of large tensors of as many inputs lie in one sequence, which repeats, from a place on that the name says:
/// making billions of numbers, or copying them, would take longer than to load a checkpoint.
#[derive(Debug)]
pub struct RandomWeights {
    tensors: HashMap<String, Made>,
    /// By the kind of the large tensors that lie in them.
    sequences: HashMap<Kind, Sequence>,
    seed: u64,
}

#[derive(Debug)]
struct Made {
    shape: Vec<usize>,
    count: usize,
    kind: Kind,
}

/// What the values of a large tensor depend on besides its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// Values of an outermost row.
    inputs: usize,
    is_e4m3: bool,
}

/// Made when a tensor in it is first read.
#[derive(Debug)]
struct Sequence {
    length: usize,
    numbers: OnceLock<Numbers<'static>>,
}

impl RandomWeights {
    /// Weights for every tensor of the networks.
    #[must_use]
    pub fn new(networks: &[&NetworkDescription], seed: u64) -> Self {
        let tensors = networks.iter().flat_map(|network| network.tensors());
        let made = |shape: &[usize]| {
            let count = shape.iter().product::<usize>();
            let inputs = (count / shape.first().map_or(1, |&rows| rows.max(1))).max(1);
            Made { shape: shape.to_vec(), count, kind: Kind { inputs, is_e4m3: false } }
        };
        let tensors = tensors.map(|tensor| (tensor.name.clone(), made(&tensor.shape))).collect();
        Self { sequences: sequences(&tensors), tensors, seed }
    }

    /// The same with the matrices of such names rounded to e4m3, as some published files hold them.
    #[must_use]
    pub fn in_e4m3(mut self, is_e4m3: impl Fn(&str) -> bool) -> Self {
        for (name, tensor) in &mut self.tensors {
            tensor.kind.is_e4m3 = tensor.shape.len() > 1 && is_e4m3(name);
        }
        Self { sequences: sequences(&self.tensors), ..self }
    }

    fn tensor(&self, name: &str) -> Result<&Made, WeightError> {
        self.tensors.get(name).ok_or_else(|| WeightError::Missing(name.to_owned()))
    }

    /// The values of a tensor, after `of`.
    fn make<T>(&self, name: &str, tensor: &Made, of: impl Fn(f32) -> T + Sync) -> Vec<T>
    where
        T: Copy + Default + Send + Sync,
    {
        if tensor.shape.len() < 2 {
            // Norms keep their scale and biases stay small.
            return vec![of(if name.ends_with("bias") { 0.01 } else { 1.0 }); tensor.count];
        }
        if tensor.is_large() {
            return self.sequence(tensor.kind, self.place(name), tensor.count, of);
        }
        let (hash, range) = (self.hash(name), tensor.kind.range());
        sequence(hash, 0, tensor.count, |value| of(value * range))
    }

    /// So many numbers of the sequence of a kind, from a place in it on.
    fn sequence<T>(&self, kind: Kind, from: usize, count: usize, of: impl Fn(f32) -> T + Sync) -> Vec<T>
    where
        T: Copy + Default + Send + Sync,
    {
        let (hash, range) = (self.hash(&kind.inputs.to_string()), kind.range());
        sequence(hash, from, count, |value| of(value * range))
    }

    /// Where a large tensor begins in the sequence of its kind.
    fn place(&self, name: &str) -> usize {
        (self.hash(name) % PERIOD as u64) as usize
    }

    /// FNV-1a (Fowler, Noll, Vo).
    fn hash(&self, name: &str) -> u64 {
        name.bytes().fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl Made {
    fn is_large(&self) -> bool {
        self.shape.len() > 1 && self.count > PERIOD
    }
}

impl Kind {
    /// The largest value: variance 1 / inputs keeps activations at their scale from layer to layer.
    fn range(self) -> f32 {
        (3.0 / self.inputs as f32).sqrt()
    }
}

/// The sequences that hold all large tensors, at any place.
fn sequences(tensors: &HashMap<String, Made>) -> HashMap<Kind, Sequence> {
    let mut sequences = HashMap::<Kind, Sequence>::new();
    for tensor in tensors.values().filter(|tensor| tensor.is_large()) {
        let sequence = sequences.entry(tensor.kind);
        let sequence = sequence.or_insert(Sequence { length: 0, numbers: OnceLock::new() });
        sequence.length = sequence.length.max(PERIOD + tensor.count);
    }
    sequences
}

impl TensorSource for RandomWeights {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|tensor| tensor.shape.clone())
    }

    fn is_e4m3(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|tensor| tensor.kind.is_e4m3)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightError> {
        let tensor = self.tensor(name)?;
        Ok(if tensor.kind.is_e4m3 {
            self.make(name, tensor, |value| f32_from_f8e4m3(f8e4m3_from_f32(value)))
        } else {
            self.make(name, tensor, |value| value)
        })
    }

    fn numbers(&self, name: &str) -> Result<Numbers<'_>, WeightError> {
        let bf16_bits = |value| bf16::from_f32(value).to_bits();
        let tensor = self.tensor(name)?;
        let Some(sequence) = self.sequences.get(&tensor.kind).filter(|_| tensor.is_large()) else {
            return Ok(if tensor.kind.is_e4m3 {
                Numbers::F8E4M3(Cow::Owned(self.make(name, tensor, f8e4m3_from_f32)))
            } else {
                Numbers::Bf16(Cow::Owned(self.make(name, tensor, bf16_bits).reinterpret_into()))
            });
        };
        let numbers = sequence.numbers.get_or_init(|| {
            if tensor.kind.is_e4m3 {
                let bytes = self.sequence(tensor.kind, 0, sequence.length, f8e4m3_from_f32);
                Numbers::F8E4M3(Cow::Owned(bytes))
            } else {
                let bits = self.sequence(tensor.kind, 0, sequence.length, bf16_bits);
                Numbers::Bf16(Cow::Owned(bits.reinterpret_into()))
            }
        });
        let place = self.place(name);
        let range = place..place + tensor.count;
        Ok(match numbers {
            Numbers::Bf16(values) => Numbers::Bf16(Cow::Borrowed(&values[range])),
            Numbers::F8E4M3(bytes) => Numbers::F8E4M3(Cow::Borrowed(&bytes[range])),
        })
    }
}

/// Numbers from -1 to 1 after `of`, from a place in their sequence on.
fn sequence<T>(hash: u64, from: usize, count: usize, of: impl Fn(f32) -> T + Sync) -> Vec<T>
where
    T: Copy + Default + Send + Sync,
{
    let mut values = vec![T::default(); count];
    let (first, rest) = values.split_at_mut(count.min(PERIOD));
    // Runs have seeds of their own, so that several threads can share them.
    parallel::for_each(first.chunks_mut(RUN).enumerate(), |(run, values)| fill(values, hash, run, &of));
    first.rotate_left(from);
    parallel::for_each(rest.chunks_mut(PERIOD), |again| again.copy_from_slice(&first[..again.len()]));
    values
}

/// Numbers that follow from one seed.
const RUN: usize = 1 << 18;

/// Numbers after which they repeat. A prime, so that no two rows of a matrix are alike.
const PERIOD: usize = (1 << 20) - 3;

/// Numbers from -1 to 1.
fn fill<T>(values: &mut [T], hash: u64, run: usize, of: &impl Fn(f32) -> T) {
    // The weyl sequence of splitmix64 (Steele et al. 2014) takes the seeds of runs apart.
    let mut state = hash.wrapping_add((run as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
    for value in values {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *value = of((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(shape: &[usize], e4m3: bool) -> RandomWeights {
        let mut net = NetworkDescription::new("two matrices");
        net.tensor("one.weight", shape).tensor("two.weight", shape).tensor("one.bias", &shape[..1]);
        RandomWeights::new(&[&net], 5).in_e4m3(|_| e4m3)
    }

    #[test]
    fn a_large_tensor_has_the_variance_of_its_inputs_and_no_row_twice() {
        let weights = weights(&[2100, 1024], false);
        let values = weights.read("one.weight").unwrap();
        let variance = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        assert!((variance * 1024.0 - 1.0).abs() < 0.02, "{variance}");
        let mut rows: Vec<&[f32]> = values.chunks(1024).collect();
        rows.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
        assert!(rows.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(values[..4096], values[PERIOD..][..4096]);
        assert_ne!(values, weights.read("two.weight").unwrap());
        let narrow: Vec<bf16> = values.iter().map(|&value| bf16::from_f32(value)).collect();
        assert!(narrow == weights.read_bf16("one.weight").unwrap());
        assert_eq!(weights.read_bf16("one.bias").unwrap()[7], bf16::from_f32(0.01));
    }

    #[test]
    fn matrices_in_e4m3_are_the_same_numbers_however_they_are_read() {
        for shape in [[64, 48], [1200, 1000]] {
            let weights = weights(&shape, true);
            assert!(
                weights.is_e4m3("one.weight") && !weights.is_e4m3("one.bias") && !weights.is_e4m3("three")
            );
            let Numbers::F8E4M3(bytes) = weights.numbers("one.weight").unwrap() else { panic!("no e4m3") };
            let wide: Vec<f32> = bytes.iter().map(|&byte| f32_from_f8e4m3(byte)).collect();
            assert_eq!(wide, weights.read("one.weight").unwrap());
            let half = weights.read_bf16("one.weight").unwrap();
            assert!(half.iter().zip(&wide).all(|(half, wide)| half.to_f32() == *wide));
            let distinct = bytes.iter().collect::<std::collections::HashSet<_>>();
            assert!(distinct.len() > 40, "{}", distinct.len());
        }
    }
}
