//! The floor under a chunk's time on a card: what it has to do at least, at what the card does at most.

use scope_pipelines::Cost;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a chunk can't do without; see [`Cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Least {
    f32_operations: u64,
    bf16_operations: u64,
    e4m3_operations: u64,
    bytes: u64,
}

impl Least {
    pub(super) fn of(cost: Cost) -> Self {
        Self {
            f32_operations: cost.f32,
            bf16_operations: cost.bf16,
            e4m3_operations: cost.e4m3,
            bytes: cost.bytes,
        }
    }

    fn cost(&self) -> Cost {
        Cost {
            f32: self.f32_operations,
            bf16: self.bf16_operations,
            e4m3: self.e4m3_operations,
            bytes: self.bytes,
        }
    }
}

/// What a card does at most, in units for people; see [`scope_pipelines::Ceilings`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ceilings {
    f32_tflops: f64,
    bf16_tflops: f64,
    e4m3_tflops: Option<f64>,
    copy_gb_per_s: f64,
    #[serde(skip)]
    measured: scope_pipelines::Ceilings,
}

impl From<scope_pipelines::Ceilings> for Ceilings {
    fn from(measured: scope_pipelines::Ceilings) -> Self {
        let rounded = |rate: f64, unit: f64| (rate / unit * 10.0).round() / 10.0;
        Self {
            f32_tflops: rounded(measured.f32, 1e12),
            bf16_tflops: rounded(measured.bf16, 1e12),
            e4m3_tflops: measured.e4m3.map(|rate| rounded(rate, 1e12)),
            copy_gb_per_s: rounded(measured.copy, 1e9),
            measured,
        }
    }
}

impl Ceilings {
    pub(super) fn floor_ms(&self, least: &Least) -> f64 {
        (self.measured.floor(&least.cost()).as_secs_f64() * 1e6).round() / 1e3
    }
}

impl fmt::Display for Ceilings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this card does {:.0} TFLOP/s in bf16", self.bf16_tflops)?;
        if let Some(e4m3) = self.e4m3_tflops {
            write!(f, ", {e4m3:.0} in e4m3")?;
        }
        write!(
            f,
            ", {:.0} in f32, and copies at {:.2} TB/s (bytes read and written)",
            self.f32_tflops,
            self.copy_gb_per_s / 1e3
        )
    }
}

/// How much of a chunk's time the floor is.
pub(super) fn share(floor_ms: f64, chunk_ms: f64) -> String {
    format!("{:.0} %", floor_ms / chunk_ms.max(1e-9) * 100.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// About an H100.
    pub(in super::super) fn card() -> Ceilings {
        Ceilings::from(scope_pipelines::Ceilings {
            f32: 50.04e12,
            bf16: 800e12,
            e4m3: Some(1500e12),
            copy: 3e12,
        })
    }

    #[test]
    fn the_floor_comes_back_from_the_report_of_a_row() {
        let least = Least::of(Cost {
            f32: 0,
            bf16: 80_000_000_000_000,
            e4m3: 15_000_000_000_000,
            bytes: 30_000_000_000,
        });
        let told = serde_json::to_value(least).unwrap();
        assert_eq!(told["bf16_operations"], 80_000_000_000_000u64);
        let read: Least = serde_json::from_value(told).unwrap();
        assert_eq!((read, card().floor_ms(&read)), (least, 120.0));
        assert_eq!(share(120.0, 150.0), "80 %");
    }

    #[test]
    fn a_card_is_described_by_what_it_does() {
        let words = card().to_string();
        assert_eq!(
            words,
            "this card does 800 TFLOP/s in bf16, 1500 in e4m3, 50 in f32, and copies at 3.00 TB/s (bytes read and written)"
        );
        let told = serde_json::to_value(card()).unwrap();
        assert_eq!((&told["f32_tflops"], &told["copy_gb_per_s"]), (&50.0.into(), &3000.0.into()));
        assert_eq!(told.as_object().unwrap().len(), 4);
        let old = Ceilings { e4m3_tflops: None, ..card() };
        assert!(!old.to_string().contains("e4m3"));
    }
}
