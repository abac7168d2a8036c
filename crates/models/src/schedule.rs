//! The noise schedule of flow matching (Lipman et al. 2023; shifted as in Esser et al. 2024, equation 23).

use scope_engine::{Result, Tensor, ops};

/// Training timesteps of the schedule.
pub const TRAIN_STEPS: usize = 1000;

/// Noise levels of timesteps, and the conversions between noisy latents, clean latents and flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSchedule {
    /// Share of noise at each entry, descending from 1. Empty where every timestep is its own noise level.
    sigmas: Vec<f32>,
    /// The timestep of each entry: a thousand times its share of noise.
    timesteps: Vec<f32>,
}

impl FlowSchedule {
    /// The schedule warped by `shift`: `σ' = shift · σ / (1 + (shift - 1) · σ)`.
    #[must_use]
    pub fn new(shift: f64) -> Self {
        let shift = shift as f32;
        let sigmas: Vec<f32> = (0..TRAIN_STEPS)
            .map(|step| {
                let sigma = linspace_down(step, TRAIN_STEPS + 1);
                shift * sigma / (1.0 + (shift - 1.0) * sigma)
            })
            .collect();
        let timesteps = sigmas.iter().map(|sigma| sigma * TRAIN_STEPS as f32).collect();
        Self { sigmas, timesteps }
    }

    /// No table: the share of noise is a thousandth of the timestep.
    #[must_use]
    pub fn exact() -> Self {
        Self { sigmas: Vec::new(), timesteps: Vec::new() }
    }

    /// Share of noise of every entry, descending.
    #[must_use]
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// Timestep of every entry, descending.
    #[must_use]
    pub fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    /// Share of noise at the entry whose timestep is nearest; any number is a timestep.
    #[must_use]
    pub fn sigma(&self, timestep: f64) -> f32 {
        if self.timesteps.is_empty() {
            return (timestep / TRAIN_STEPS as f64).clamp(0.0, 1.0) as f32;
        }
        let mut nearest = (f64::INFINITY, 0.0);
        for (&entry, &sigma) in self.timesteps.iter().zip(&self.sigmas) {
            let distance = (f64::from(entry) - timestep).abs();
            if distance < nearest.0 {
                nearest = (distance, sigma);
            }
        }
        nearest.1
    }

    /// The first timestep of a chunk whose latents are video input mixed with this share of noise (0 to 1): the one of
    /// that share without a table, and [`first_timestep`] with one.
    #[must_use]
    pub fn first_timestep(&self, noise_scale: f64) -> f64 {
        if self.timesteps.is_empty() { noise_scale * TRAIN_STEPS as f64 } else { first_timestep(noise_scale) }
    }

    /// `(1 - σ) · clean + σ · noise` at a timestep.
    ///
    /// # Errors
    /// [`scope_engine::Error::Shape`] when the shapes differ.
    pub fn add_noise(&self, clean: &Tensor, noise: &Tensor, timestep: f64) -> Result<Tensor> {
        let sigma = self.sigma(timestep);
        ops::mix(clean.clone(), 1.0 - sigma, noise, sigma)
    }

    /// The clean latents that a flow points to: `noisy - σ · flow`.
    ///
    /// # Errors
    /// [`scope_engine::Error::Shape`] when the shapes differ.
    pub fn clean_latents(&self, noisy: &Tensor, flow: &Tensor, timestep: f64) -> Result<Tensor> {
        ops::mix(noisy.clone(), 1.0, flow, -self.sigma(timestep))
    }

    /// The flow that leads to clean latents: `(noisy - clean) / σ`.
    ///
    /// # Errors
    /// [`scope_engine::Error::Shape`] when the shapes differ.
    pub fn flow(&self, noisy: &Tensor, clean: &Tensor, timestep: f64) -> Result<Tensor> {
        let sigma = self.sigma(timestep);
        ops::scale(ops::mix(noisy.clone(), 1.0, clean, -1.0)?, 1.0 / sigma)
    }
}

/// The first timestep that the published families give video input mixed with this share of noise (0 to 1): somewhat below
/// the share, which leaves the network more of the video.
#[must_use]
pub fn first_timestep(noise_scale: f64) -> f64 {
    (1000.0 * noise_scale).trunc() - 100.0
}

/// Entry `index` of `count` evenly spaced values from 1 to 0, from whichever end is nearer, in `f32`.
fn linspace_down(index: usize, count: usize) -> f32 {
    let step = 1.0 / (count - 1) as f32;
    // Rounded once, like the recorded tables.
    if index < count / 2 { (-step).mul_add(index as f32, 1.0) } else { step * (count - 1 - index) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestep_is_found_by_its_nearest_entry() {
        let schedule = FlowSchedule::new(5.0);
        assert_eq!(schedule.sigma(1e9), 1.0);
        assert_eq!(schedule.sigma(1000.0), 1.0);
        assert!((schedule.sigma(750.0) - 0.75).abs() < 1e-3);
        assert_eq!(schedule.sigma(-5.0), *schedule.sigmas().last().expect("entries"));
        assert!(schedule.timesteps().windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn without_a_table_every_timestep_is_its_own() {
        let schedule = FlowSchedule::exact();
        assert_eq!([0.0, 600.0, 857.0, 1000.0, 1e9].map(|t| schedule.sigma(t)), [0.0, 0.6, 0.857, 1.0, 1.0]);
        assert_eq!(schedule.first_timestep(0.5), 500.0);
        assert_eq!(FlowSchedule::new(5.0).first_timestep(0.5), 400.0);
    }
}
