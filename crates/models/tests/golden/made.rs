//! Weights and pictures that are made from formulas, here and in `record/processors.py`.

use scope_models::{checkpoint::NetworkDescription, weights::TensorMap};

/// A weight of every tensor of a network.
pub(crate) fn weights(net: &NetworkDescription) -> TensorMap {
    let mut map = TensorMap::default();
    for tensor in net.tensors() {
        map.insert(&*tensor.name, tensor.shape.clone(), weight(&tensor.name, &tensor.shape));
    }
    map
}

fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let count: usize = shape.iter().product();
    let inputs = (count / shape.first().copied().unwrap_or(1)) as f64;
    let value = |u: f64| match name {
        _ if name.ends_with("num_batches_tracked") => 0.0,
        _ if name.ends_with("running_var") => 0.5 + u,
        _ if (name.ends_with(".weight") || name.ends_with(".gamma")) && shape.len() < 2 => 0.75 + 0.5 * u,
        _ if name.ends_with(".weight") => (2.0 * u - 1.0) * (3.0 / inputs).sqrt(),
        _ => (2.0 * u - 1.0) * 0.2,
    };
    uniform(name, count).map(|u| value(u) as f32).collect()
}

/// Numbers from 0 to 1: FNV-1a of the name, then `SplitMix64` (Steele, Lea & Flood 2014).
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (1..=count as u64).map(move |index| {
        let z = hash.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1u32 << 24)
    })
}

/// `[height, width, 3]` from 0 to 1: waves that move.
pub(crate) fn picture(time: usize, height: usize, width: usize) -> Vec<f32> {
    let time = time as f64;
    let value = |y: f64, x: f64, c: f64| {
        let moving = (0.21 * (x - 2.5 * time) + 0.9 * c).sin() * (0.17 * (y + 1.5 * time)).cos();
        (0.5 + 0.25 * (moving + (0.05 * x * (c + 1.0) + 0.11 * y).sin())) as f32
    };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y as f64, x as f64)));
    places.flat_map(|(y, x)| [0.0, 1.0, 2.0].map(|c| value(y, x, c))).collect()
}
