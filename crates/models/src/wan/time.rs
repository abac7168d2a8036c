//! The sinusoid of a timestep.

/// Cosines, then sines, of `timestep · 10000^(-j / half)` for `j < half = features / 2` (Vaswani et al. 2017), with angles
/// in `f64`. `single` computes them in `f32`, as the reference does where its VACE wrapper is loaded.
pub fn sinusoid(timestep: f64, single: bool, features: &mut [f32]) {
    let half = features.len() / 2;
    let (cosines, sines) = features.split_at_mut(half);
    for (j, (cosine, sine)) in cosines.iter_mut().zip(sines).enumerate() {
        let angle = if single {
            let frequency = (-(10_000f32.ln()) * j as f32 / half as f32).exp();
            f64::from(timestep as f32 * frequency)
        } else {
            timestep * 10_000f64.powf(-(j as f64) / half as f64)
        };
        (*cosine, *sine) = (angle.cos() as f32, angle.sin() as f32);
    }
}
