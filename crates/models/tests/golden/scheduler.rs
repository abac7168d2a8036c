//! Kind `scheduler`: tables, conversions, the timestep's sinusoid and the rows of the rotary table.

use anyhow::Result;
use scope_engine::{DType, Tensor, ops};
use scope_models::{schedule::FlowSchedule, wan::sinusoid};

use crate::case::{Case, Check};

const TOLERANCE: f32 = 1e-6;

pub(crate) fn scheduler(case: &Case, check: &mut Check) -> Result<()> {
    for name in case.names("shift") {
        if let Some(shift) = name.strip_suffix(".sigmas") {
            conversions(case, check, shift)?;
        }
    }
    sinusoids(case, check)?;
    rope(case, check)
}

fn conversions(case: &Case, check: &mut Check, prefix: &str) -> Result<()> {
    let schedule = FlowSchedule::new(prefix.trim_start_matches("shift").parse()?);
    let name = |part: &str| format!("{prefix}.{part}");
    for (part, table) in [("sigmas", schedule.sigmas()), ("timesteps", schedule.timesteps())] {
        // One unit in the last place.
        check.close(&name(part), table, &case.recorded(&name(part))?.values, 0.0, f32::EPSILON);
    }
    let timesteps = &case.recorded(&name("t"))?.values;
    let sigmas: Vec<f32> = timesteps.iter().map(|&t| schedule.sigma(f64::from(t))).collect();
    if case.has(&name("timestep_id")) {
        let ids = &case.recorded(&name("timestep_id"))?.values;
        let expected: Vec<f32> = ids.iter().map(|&id| schedule.sigmas()[id as usize]).collect();
        check.close(&name("timestep_id"), &sigmas, &expected, 0.0, 0.0);
    }

    let (x0, noise) = (case.tensor(&name("x0"))?, case.tensor(&name("noise"))?);
    // In these recordings `x0` also stands for a flow, and `noise` for a noisy latent.
    type Convert<'a> = &'a dyn Fn(&Tensor, &Tensor, f64) -> scope_engine::Result<Tensor>;
    let add_noise: Convert<'_> = &|x0, noise, t| schedule.add_noise(x0, noise, t);
    let flow_to_x0: Convert<'_> = &|flow, xt, t| schedule.clean_latents(xt, flow, t);
    let x0_to_flow: Convert<'_> = &|x0, xt, t| schedule.flow(xt, x0, t);
    for (part, convert) in [("add_noise", add_noise), ("flow_to_x0", flow_to_x0), ("x0_to_flow", x0_to_flow)]
    {
        for (suffix, dtype) in [("", DType::F32), ("_bf16", DType::Bf16)] {
            let name = name(&format!("{part}{suffix}"));
            if !case.has(&name) {
                continue;
            }
            let recorded = case.recorded(&name)?;
            let mut found = Vec::new();
            for (frame, &t) in timesteps.iter().take(recorded.shape[0]).enumerate() {
                // Stored as bf16, computed in f32.
                let stored = |x: &Tensor| x.narrow(frame, 1)?.to_dtype(dtype)?.to_dtype(DType::F32);
                let converted = convert(&stored(&x0)?, &stored(&noise)?, f64::from(t))?;
                found.extend(converted.to_dtype(dtype)?.to_vec());
            }
            // Sums that lie at the middle of two bf16 numbers may be rounded either way.
            let rtol = if dtype == DType::Bf16 { 1.0 / 128.0 } else { TOLERANCE };
            check.close(&name, &found, &recorded.values, TOLERANCE, rtol);
        }
    }
    Ok(())
}

fn sinusoids(case: &Case, check: &mut Check) -> Result<()> {
    if !case.has("sinusoid.t") {
        return Ok(());
    }
    let timesteps = case.recorded("sinusoid.t")?.values.clone();
    for name in case.names("sinusoid.").into_iter().filter(|name| name != "sinusoid.t") {
        let recorded = case.recorded(&name)?;
        let single = name.ends_with("vace_f32");
        let mut found = vec![0.0; recorded.values.len()];
        for (row, &t) in found.chunks_mut(recorded.shape[1]).zip(&timesteps) {
            sinusoid(f64::from(t), single, row);
        }
        // In f32, one unit in the last place of a frequency is this much at timestep 1000.
        let tolerance = if single { 1e-4 } else { TOLERANCE };
        check.close(&name, &found, &recorded.values, tolerance, 0.0);
    }
    Ok(())
}

fn rope(case: &Case, check: &mut Check) -> Result<()> {
    for name in case.names("rope") {
        let Some((size, part)) = name.trim_start_matches("rope").split_once('.') else { continue };
        let recorded = case.recorded(&name)?;
        let table = ops::RopeTable::new(size.parse()?, recorded.shape[0], 10_000.0)?;
        let side = usize::from(part.contains("imag"));
        let rows = (0..recorded.shape[0]).filter_map(|position| table.row([position; 3]));
        let found: Vec<f32> = rows.flatten().map(|pair| pair[side]).collect();
        check.close(&name, &found, &recorded.values, TOLERANCE, 0.0);
    }
    Ok(())
}
