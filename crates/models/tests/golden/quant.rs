//! Kind `fp8_linear`: bits and scales of 8-bit floating point, and layers made of them.

use anyhow::{Context, Result};
use half::bf16;
use scope_models::quant::{Fp8Linear, quantise, scale_of};

use crate::case::{Case, Check};

pub(crate) fn fp8_linear(case: &Case, check: &mut Check) -> Result<()> {
    for entry in case.value("/cases")?.as_array().into_iter().flatten() {
        let name = |part: &str| format!("{}.{part}", entry["i"]);
        for operand in ["w", "x"] {
            let values = &case.recorded(&name(&format!("{operand}_bf16")))?.values;
            let scale = scale_of(values);
            let scale_name = name(&format!("{operand}_scale"));
            check.close(&scale_name, &[scale], &case.recorded(&scale_name)?.values, 0.0, 0.0);
            let bits: Vec<f32> = quantise(values, scale).into_iter().map(f32::from).collect();
            let bits_name = name(&format!("{operand}_e4m3_bits"));
            check.close(&bits_name, &bits, &case.recorded(&bits_name)?.values, 0.0, 0.0);
        }
        let size = |key: &str| entry[key].as_u64().map(|v| v as usize).with_context(|| format!("no {key}"));
        let weights: Vec<bf16> =
            case.recorded(&name("w_bf16"))?.values.iter().map(|&value| bf16::from_f32(value)).collect();
        let bias = &case.recorded(&name("bias_bf16"))?.values;
        let layer = Fp8Linear::new(&case.device, &weights, [size("out")?, size("inp")?], Some(bias))?;
        let found = layer.forward(&case.tensor(&name("x_bf16"))?)?.to_vec();
        let recorded = &case.recorded(&name("y_f32"))?.values;
        // Relative to the layer's results: sums near zero are differences of large products.
        let largest = recorded.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        check.close(&name("y_f32"), &found, recorded, 1e-5 * largest, 1e-5);
        if case.has(&name("y_bf16")) {
            // One unit in the last place of a bf16.
            check.close(
                &name("y_bf16"),
                &found,
                &case.recorded(&name("y_bf16"))?.values,
                1e-5 * largest,
                1.0 / 128.0,
            );
        }
    }
    Ok(())
}
