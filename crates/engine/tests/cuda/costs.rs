//! What pieces of work say that they cost, and what a card does at most.

use super::{Inputs, gpu};
use scope_engine::{
    Device, Result, Tensor,
    cuda::{Arithmetic, Cost, Work, profile},
    ops::{self, Activation, ConvInput, ConvSpec, Keys},
};

/// The costs that say `name`, of work that no other test does: sizes of products are in their names, and of other kinds there
/// is more at most.
fn cost_of(work: Work, name: &str, act: impl FnOnce() -> Result<Tensor>) -> Cost {
    let (done, found) = profile(act);
    done.unwrap();
    let same = found.iter().filter(|((kind, piece), _)| *kind == work && piece.starts_with(name));
    same.map(|(_, spent)| spent.cost).sum()
}

#[test]
fn work_is_profiled_with_what_it_costs_at_least() {
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    let mut inputs = Inputs::new(&device);
    let layer = inputs.linear(48, 80, true);
    let x = inputs.tensor(&[112, 80]);
    let cost = cost_of(Work::Gemm, "112 × 48 × 80 of BF16", || ops::linear(&x, &layer, Activation::None));
    assert_eq!(cost, Cost { bf16: 2 * 112 * 48 * 80, ..Cost::default() });

    let [q, k, v] = [[70, 3, 128], [90, 3, 128], [90, 3, 128]].map(|shape| inputs.tensor(&shape));
    let keys = [Keys { k: &k, v: &v, bias: 0.0 }];
    let cost = cost_of(Work::Attention, "attention", || {
        ops::attention(&q, &keys, &ops::AttentionOptions::default())
    });
    assert!(cost.bf16 >= 4 * 70 * 90 * 3 * 128, "{cost:?}");

    let conv = inputs.conv([16, 24], ConvSpec::square(3));
    let picture = inputs.tensor(&[2, 10, 12, 16]);
    let cost = cost_of(Work::Convolution, "conv", || ops::conv(&picture, &conv, &ConvInput::default()));
    assert!(cost.bf16 >= 2 * 2 * 10 * 12 * 24 * 9 * 16, "{cost:?}");

    let cost = cost_of(Work::Elementwise, "multiply", || ops::multiply(x.clone(), &x));
    assert!(cost.bytes >= 3 * 112 * 80 * x.dtype().size_bytes() as u64, "{cost:?}");
}

#[test]
fn a_cards_ceilings_are_measured() {
    let Some(device) = gpu(Arithmetic::Bf16) else { return };
    let Device::Cuda(cuda) = &device else { unreachable!("asked for a GPU") };
    let before = cuda.memory_use().bytes;
    let ceilings = cuda.ceilings().unwrap();
    println!("{ceilings:?}");
    // How high they are depends on the card and on who looks on (a sanitizer slows some of them a thousandfold).
    let mut rates = [ceilings.f32, ceilings.bf16, ceilings.copy].into_iter().chain(ceilings.e4m3);
    assert!(rates.all(|rate| rate.is_finite() && rate > 0.0), "{ceilings:?}");
    assert_eq!(cuda.memory_use().bytes, before, "nothing is held afterwards");
}
