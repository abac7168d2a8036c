//! Kinds `raft`, `rife`, `scribble` and `video_depth`: optical flow, frame interpolation, contour drawings and depth.

use anyhow::{Result, bail};
use scope_engine::{Tensor, ops};
use scope_models::{
    frames::flow_colors,
    processors::{
        ContourConfig, ContourNet, DepthConfig, DepthMemory, DepthNet, Interpolator, Raft, RaftConfig,
        RifeConfig,
    },
    weights::{Loader, Precision},
};

use crate::{
    case::{Case, Check},
    dit::permuted,
    made,
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

pub(crate) fn raft(case: &Case, check: &mut Check) -> Result<()> {
    let config = match case.text("network")? {
        "raft_small" => RaftConfig::small(),
        "raft_large" => RaftConfig::large(),
        other => bail!("no network {other:?}"),
    };
    let weights = made::weights(&config.description());
    let net = Raft::load(&Loader::new(&weights, &case.device, Precision::F32), &config)?;
    let (height, width) = (case.number("/height")?, case.number("/width")?);
    let features = |time: usize| {
        let picture = made::picture(time, height, width);
        Ok::<_, anyhow::Error>(net.features(&Tensor::from_f32(
            &case.device,
            &[1, height, width, 3],
            &picture,
        )?)?)
    };
    let flow = net.flow(&features(0)?, &features(1)?)?;
    check.holds("shape of the flow", flow.shape()[..] == [1, height, width, 2]);
    let every = case.number("/every")?;
    let values = flow.to_vec();
    let recorded = case.recorded("flow")?;
    let longest = recorded.values.iter().fold(0.0, |longest: f32, value| longest.max(value.abs()));
    check.close(
        "flow",
        &some_pixels(&values, width, 2, every - 1),
        &recorded.values,
        TOLERANCE * longest,
        0.0,
    );
    let colours: Vec<f32> = flow_colors(&flow)?.into_iter().map(f32::from).collect();
    check.close(
        "colours",
        &some_pixels(&colours, width, 3, every),
        &case.recorded("colours")?.values,
        ROUNDING,
        0.0,
    );
    Ok(())
}

/// Every so many pixels of every so many rows of one picture.
fn some_pixels(values: &[f32], width: usize, channels: usize, every: usize) -> Vec<f32> {
    let rows = values.chunks_exact(width * channels).step_by(every);
    rows.flat_map(|row| row.chunks_exact(channels).step_by(every)).flatten().copied().collect()
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

pub(crate) fn video_depth(case: &Case, check: &mut Check) -> Result<()> {
    let config = DepthConfig::small();
    let weights = made::weights(&config.description());
    let net = DepthNet::load(&Loader::new(&weights, &case.device, Precision::F32), config)?;
    let (height, width) = (case.number("/height")?, case.number("/width")?);
    let every = case.number("/every")?;
    let mut memory = DepthMemory::default();
    let mut depth = Vec::new();
    let mut resized = Vec::new();
    for time in 0..case.number("/frames")? {
        let picture = made::picture(time, height, width);
        let picture = Tensor::from_f32(&case.device, &[1, height, width, 3], &picture)?;
        let found = net.next_at(&mut memory, &picture)?;
        check.holds("shape of the depth", found.shape()[..] == [1, height, width, 1]);
        depth.extend(some_pixels(&found.to_vec(), width, 1, every));
        if time < 2 {
            let shown = ops::resize_between_corners(&found, [50, 61])?;
            resized.extend(some_pixels(&shown.to_vec(), 61, 1, every));
        }
    }
    let recorded = case.recorded("depth")?;
    let furthest = recorded.values.iter().fold(0.0, |furthest: f32, value| furthest.max(*value));
    check.close("depth", &depth, &recorded.values, TOLERANCE * furthest, 0.0);
    check.close("resized", &resized, &case.recorded("resized")?.values, TOLERANCE * furthest, 0.0);
    Ok(())
}
