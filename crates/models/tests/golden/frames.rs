//! Kinds `preprocess` and `noise_controller`: pictures into and out of models, and the motion of video input.

use anyhow::{Context, Result};
use half::bf16;
use scope_engine::{Tensor, ops::resize_bytes};
use scope_models::{
    frames::{Layout, Picture, flow_colors, for_display, gray, masks, sample, video},
    noise_controller::NoiseController,
    schedule::first_timestep,
};
use serde_json::Value;

use crate::{
    case::{Case, Check, Recorded},
    dit::{permute, permuted},
};

const TOLERANCE: f32 = 1e-5;

pub(crate) fn preprocess(case: &Case, check: &mut Check) -> Result<()> {
    for run in case.value("/runs")?.as_array().into_iter().flatten() {
        run_frames(case, check, run)?;
    }
    if case.has("gray.in_u8") {
        let rgb = bytes(case.recorded("gray.in_u8")?);
        if case.has("gray.out") {
            check.close("gray", &gray(&rgb), &case.recorded("gray.out")?.values, TOLERANCE, 0.0);
        }
        if case.has("passthrough.out") {
            let shape = &case.recorded("gray.in_u8")?.shape;
            let rgb = Tensor::from_u8(&case.device, shape, &rgb)?;
            let shown = resize_bytes(&rgb, [shape[1], shape[2]], [0.0, 1.0])?;
            check.close(
                "passthrough",
                &shown.to_vec(),
                &case.recorded("passthrough.out")?.values,
                TOLERANCE,
                0.0,
            );
        }
    }
    if case.has("flow.in") {
        let (shape, values) = permuted(case.recorded("flow.in")?, &[0, 2, 3, 1]);
        let colors = flow_colors(&Tensor::from_f32(&case.device, &shape, &values)?)?;
        let (_, expected) = permuted(case.recorded("flow.rgb_u8")?, &[0, 2, 3, 1]);
        let colors: Vec<f32> = colors.into_iter().map(f32::from).collect();
        check.close("flow colours", &colors, &expected, 0.0, 0.0);
    }
    Ok(())
}

fn run_frames(case: &Case, check: &mut Check, run: &Value) -> Result<()> {
    let name = |part: &str| format!("{}.{part}", run["i"]);
    let number = |value: &Value| Ok::<_, anyhow::Error>(value.as_u64().context("a size")? as usize);
    let size = [number(&run["out_hw"][0])?, number(&run["out_hw"][1])?];
    let target = number(&run["target_frames"])?;

    let recorded = case.recorded(&name("frames_u8"))?;
    let rgb = bytes(recorded);
    let found = video(&case.device, &pictures(recorded, &rgb), size, target)?;
    let indices: Vec<f32> = sample(recorded.shape[0], target).into_iter().map(|index| index as f32).collect();
    if case.has(&name("indices")) {
        check.close(&name("indices"), &indices, &case.recorded(&name("indices"))?.values, 0.0, 0.0);
    }
    // [T, H, W, C] as [C, T, H, W].
    let channels_first = |x: &Tensor| permute(&x.shape(), &x.to_vec(), &[3, 0, 1, 2]).1;
    let compare = |check: &mut Check, name: &str, x: &Tensor, tolerance: f32| -> Result<()> {
        if case.has(name) {
            check.close(name, &channels_first(x), &case.recorded(name)?.values, tolerance, 0.0);
        }
        Ok(())
    };
    compare(check, &name("video"), &found, TOLERANCE)?;
    if case.has(&name("video_bf16")) {
        let halves = bf16_video(case, recorded, size, target)?;
        compare(check, &name("video_bf16"), &halves, TOLERANCE)?;
    }
    if case.has(&name("post")) {
        let brighter = scope_engine::ops::scale(found, 1.3)?;
        let shown = for_display(brighter)?.to_vec();
        check.close(&name("post"), &shown, &case.recorded(&name("post"))?.values, TOLERANCE, 0.0);
    }
    if case.has(&name("masks_u8")) {
        let recorded = case.recorded(&name("masks_u8"))?;
        let grey = bytes(recorded);
        let found = masks(&case.device, &pictures(recorded, &grey), size, target)?;
        compare(check, &name("masks"), &found, TOLERANCE)?;
    }
    Ok(())
}

/// The video of a model in bf16, which rounds after resizing and after each operation on values. We don't: it costs
/// three of the eight bits of a picture. This shows that the recordings differ from ours by that rounding alone.
fn bf16_video(case: &Case, recorded: &Recorded, size: [usize; 2], target: usize) -> Result<Tensor> {
    let rgb = Tensor::from_u8(&case.device, &recorded.shape, &bytes(recorded))?;
    let resized = resize_bytes(&rgb, size, [0.0, 255.0])?.to_vec();
    let frame = size[0] * size[1] * 3;
    let round = |v: f32| bf16::from_f32(v).to_f32();
    let values: Vec<f32> = sample(recorded.shape[0], target)
        .into_iter()
        .flat_map(|index| resized[index * frame..][..frame].iter())
        .map(|&v| round(round(round(round(v) / 255.0) * 2.0) - 1.0))
        .collect();
    Ok(Tensor::from_f32(&case.device, &[target, size[0], size[1], 3], &values)?)
}

fn bytes(recorded: &Recorded) -> Vec<u8> {
    recorded.values.iter().map(|&v| v as u8).collect()
}

/// Pictures `[T, h, w, C]`, one by one.
fn pictures<'a>(recorded: &Recorded, bytes: &'a [u8]) -> Vec<Picture<'a>> {
    let [_, height, width, channels] = recorded.shape[..] else { return Vec::new() };
    bytes
        .chunks(height * width * channels)
        .map(|bytes| Picture { height, width, bytes, layout: Layout::Packed })
        .collect()
}

pub(crate) fn noise_controller(case: &Case, check: &mut Check) -> Result<()> {
    for run in case.value("/runs")?.as_array().into_iter().flatten() {
        let window = run["num_frame_per_block"].as_u64().context("num_frame_per_block")? as usize;
        // The reference measures its window of pixel frames in latents.
        let mut controller = NoiseController::new(window);
        for step in run["steps"].as_array().into_iter().flatten() {
            let label = format!("run {} step {}", run["run"], step["i"]);
            let number = |key: &str| step[key].as_f64().with_context(|| format!("{label} has no {key}"));
            if step["init_cache"].as_bool() == Some(true) {
                controller.forget();
            }
            let mut scale = number("noise_scale_in")?;
            if step["controller"].as_bool() == Some(true) {
                let name = format!("run.{}.{}.video", run["run"], step["i"]);
                let (shape, values) = permuted(case.recorded(&name)?, &[0, 2, 3, 4, 1]);
                scale = controller.update(&Tensor::from_f32(&case.device, &shape[1..], &values)?, scale)?;
            }
            let expected = number("noise_scale_out")?;
            check.close(&label, &[scale as f32], &[expected as f32], 1e-6, 0.0);
            let first = number("first_denoise_step")?;
            check.holds(&format!("{label}: the first step is {first}"), first_timestep(expected) == first);
        }
    }
    Ok(())
}
