//! Times attention on a GPU, with queries and keys in bf16 and in e4m3: `cargo run --release -p scope-engine --example attention`.

// An example prints and may end early.
#![allow(clippy::print_stdout)]

use scope_engine::{
    Cuda, DType, Device, Result, Tensor,
    cuda::CudaOptions,
    ops::{self, AttentionOptions, Generator, Keys},
};
use std::time::Instant;

/// Queries, keys, heads of 128 features.
const SHAPES: [[usize; 3]; 6] = [
    [4680, 18_720, 12],
    [4680, 9360, 12],
    [2160, 8640, 12],
    [1024, 6144, 12],
    [1024, 2048, 12],
    [4680, 9360, 40],
];
const LAUNCHES: u32 = 100;
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let cuda = Cuda::new(&CudaOptions::default())?;
    let device = Device::from(cuda.clone());
    let mut generator = Generator::new(1);
    for [queries, keys, heads] in SHAPES {
        let mut draw = |rows| ops::randn(&device, &[rows, heads, 128], &mut generator);
        let (q, k, v) = (draw(queries)?, draw(keys)?, draw(keys)?.to_dtype(DType::Bf16)?);
        for dtype in [DType::Bf16, DType::F8E4M3] {
            let micros = time(&cuda, &q.to_dtype(dtype)?, &k.to_dtype(dtype)?, &v)?;
            let rate = (4 * queries * keys * heads * 128) as f64 / micros / 1e6;
            println!("{queries} x {keys}, {heads} heads, {dtype:?}: {micros:.1} us, {rate:.0} TFLOP/s");
        }
    }
    Ok(())
}

/// Microseconds of a launch: the median of some rounds, after one to warm up. Long enough for the card to find the clock
/// that its power allows.
fn time(cuda: &Cuda, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<f64> {
    let round = || {
        cuda.synchronize()?;
        let start = Instant::now();
        for _ in 0..LAUNCHES {
            ops::attention(q, &[Keys::new(k, v)], &AttentionOptions::default())?;
        }
        cuda.synchronize()?;
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(LAUNCHES))
    };
    round()?;
    let mut rounds = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<f64>>>()?;
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[ROUNDS / 2])
}
