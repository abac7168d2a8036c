//! Noise from a seed.

use scope_engine::{
    Device, Tensor,
    ops::{Generator, randn},
};

use crate::wan::NoiseSource;

/// Noise that depends on its seed alone: on no machine, and on nothing that was generated before.
#[derive(Clone, Debug)]
pub struct SeededNoise {
    device: Device,
    generator: Generator,
}

impl SeededNoise {
    /// The noise of this seed from its beginning.
    #[must_use]
    pub fn new(device: &Device, seed: u64) -> Self {
        Self { device: device.clone(), generator: Generator::new(seed) }
    }
}

impl NoiseSource for SeededNoise {
    fn begin(&mut self, seed: u64) {
        self.generator = Generator::new(seed);
    }

    fn draw(&mut self, shape: [usize; 4]) -> scope_engine::Result<Tensor> {
        randn(&self.device, &shape, &mut self.generator)
    }
}
