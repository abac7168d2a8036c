//! Kinds `rife` and `scribble`: frame interpolation and contour drawings.

use anyhow::Result;
use scope_engine::Tensor;
use scope_models::{
    processors::{ContourConfig, ContourNet, Interpolator, RifeConfig},
    weights::{Loader, Precision},
};

use crate::{
    case::{Case, Check},
    dit::permuted,
};

const TOLERANCE: f32 = 1e-4;
/// In 8-bit steps.
const ROUNDING: f32 = 1.0;

pub(crate) fn rife(case: &Case, check: &mut Check) -> Result<()> {
    let width = |index: usize| case.number(&format!("/block_channels/{index}"));
    let config = RifeConfig { widths: [width(0)?, width(1)?, width(2)?, width(3)?] };
    let weights = case.weights();
    let net = Interpolator::load(&Loader::new(&weights, &case.device, Precision::F32), config)?;
    let frames = case.recorded("frames_u8")?;
    let values: Vec<f32> = frames.values.iter().map(|&value| value / 255.0).collect();
    let pictures = Tensor::from_f32(&case.device, &frames.shape, &values)?;

    let between = net.between(&pictures, 0.5)?;
    for (name, part) in [("mid", 0), ("flow_final", 1), ("mask_logits", 2)] {
        if !case.has(name) {
            continue;
        }
        let parts = between.iter().map(|between| [&between.picture, &between.flow, &between.mask][part]);
        let got = Tensor::concat(&parts.collect::<Vec<_>>())?;
        let (shape, recorded) = permuted(case.recorded(name)?, &[0, 2, 3, 1]);
        check.holds(&format!("shape of {name}"), got.shape()[..] == shape[..]);
        // Flows are in pixels, tens of them, and the mask's logits are as large.
        check.close(name, &got.to_vec(), &recorded, TOLERANCE, if part == 0 { 0.0 } else { TOLERANCE });
    }
    if case.has("out_u8") {
        let doubled = net.double(&pictures)?;
        let recorded = case.recorded("out_u8")?;
        check.holds("shape of out_u8", doubled.shape()[..] == recorded.shape[..]);
        let bytes: Vec<f32> =
            doubled.to_vec().iter().map(|value| (value * 255.0).clamp(0.0, 255.0)).collect();
        let bytes: Vec<f32> = bytes.iter().map(|value| value.trunc()).collect();
        check.close("out_u8", &bytes, &recorded.values, ROUNDING, 0.0);
    }
    Ok(())
}

pub(crate) fn scribble(case: &Case, check: &mut Check) -> Result<()> {
    let width = |index: usize| case.number(&format!("/channels/{index}"));
    let config = ContourConfig { widths: [width(0)?, width(1)?, width(2)?] };
    let weights = case.weights();
    let net = ContourNet::load(&Loader::new(&weights, &case.device, Precision::F32), config)?;
    let (shape, values) = permuted(case.recorded("x")?, &[0, 2, 3, 1]);
    let drawn = net.draw(&Tensor::from_f32(&case.device, &shape, &values)?)?;
    let (shape, recorded) = permuted(case.recorded("out")?, &[0, 2, 3, 1]);
    check.holds("shape of out", drawn.shape()[..] == shape[..]);
    check.close("out", &drawn.to_vec(), &recorded, TOLERANCE, 0.0);
    Ok(())
}
