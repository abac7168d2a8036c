//! What a chunk costs, and what may be saved on a machine that is too slow.

use super::VideoSettings;
use crate::{Effort, InputMode, Snapshot};

/// A cheaper way to make chunks than the usual one.
#[derive(Clone, Debug, PartialEq)]
pub struct Saving {
    /// Timesteps, noisiest first; `None` keeps the usual ones.
    pub steps: Option<Vec<f64>>,
    /// Height and width; `None` keeps the session's. Pictures are enlarged to that.
    pub size: Option<[usize; 2]>,
    /// Time that a chunk takes, in proportion to the usual.
    pub cost: f64,
}

/// How to make a chunk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Way {
    pub(super) steps: Vec<f64>,
    /// Height and width.
    pub(super) size: [usize; 2],
    cost: f64,
}

/// The ways to make a chunk with these parameters, the usual one first and each cheaper than the one before. Steps that
/// somebody has set are no matter of choice; the usual ones, set or not, are.
pub(super) fn ways(settings: &VideoSettings, mode: InputMode, parameters: &Snapshot) -> Vec<Way> {
    let usual = match mode {
        InputMode::Text => &settings.text_steps,
        InputMode::Video => &settings.video_steps,
    };
    let asked = parameters.get::<Vec<f64>>("denoising_step_list").filter(|steps| !steps.is_empty());
    // Clients send whole numbers.
    let same = |steps: &Vec<f64>| {
        steps.len() == usual.len() && steps.iter().zip(usual).all(|(a, b)| (a - b).abs() < 1.0)
    };
    let own = asked.filter(|steps| !same(steps));
    let free = own.is_none();
    let steps = own.unwrap_or_else(|| usual.clone());
    let mut ways = vec![Way { steps: steps.clone(), size: settings.size, cost: 1.0 }];
    for saving in &settings.savings {
        if saving.steps.is_some() && !free {
            continue;
        }
        ways.push(Way {
            steps: saving.steps.clone().unwrap_or_else(|| steps.clone()),
            size: saving.size.unwrap_or(settings.size),
            cost: saving.cost,
        });
    }
    ways.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    ways
}

/// What people read of them.
pub(super) fn efforts(ways: &[Way]) -> Vec<Effort> {
    let full = ways.first().map(|way| way.size);
    let name = |way: &Way| {
        let steps = match way.steps.len() {
            1 => "1 step".to_owned(),
            count => format!("{count} steps"),
        };
        let [height, width] = way.size;
        if Some(way.size) == full { steps } else { format!("{steps} at {width}×{height}") }
    };
    ways.iter().map(|way| Effort { name: name(way), cost: way.cost }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ParameterStore;
    use serde_json::{Map, Value, json};

    fn settings() -> VideoSettings {
        let two = Some(vec![1000.0, 750.0]);
        VideoSettings {
            size: [288, 512],
            seed: 0,
            text_steps: vec![1000.0, 857.0, 600.0],
            video_steps: vec![1000.0, 857.0, 600.0],
            noise_scale: 0.7,
            noise_controller: false,
            cache_weight: false,
            manage_cache: true,
            loras: Vec::new(),
            references: Vec::new(),
            context_scale: 1.0,
            frame_rate: Some(16.0),
            savings: vec![
                Saving { steps: two.clone(), size: None, cost: 0.8 },
                Saving { steps: two, size: Some([144, 256]), cost: 0.2 },
                Saving { steps: None, size: Some([144, 256]), cost: 0.25 },
            ],
        }
    }

    fn names(parameters: Value) -> Vec<String> {
        let Value::Object(map) = parameters else { panic!() };
        let snapshot = ParameterStore::new(&Map::from_iter(map)).take();
        let ways = ways(&settings(), InputMode::Text, &snapshot);
        efforts(&ways).into_iter().map(|effort| effort.name).collect()
    }

    #[test]
    fn savings_are_in_order_of_what_they_save() {
        let all = ["3 steps", "2 steps", "3 steps at 256×144", "2 steps at 256×144"];
        assert_eq!(names(json!({})), all);
        assert_eq!(names(json!({"denoising_step_list": [1000, 857, 600]})), all);
    }

    #[test]
    fn steps_that_somebody_set_stay() {
        assert_eq!(
            names(json!({"denoising_step_list": [1000, 900, 800, 500]})),
            ["4 steps", "4 steps at 256×144"]
        );
        assert_eq!(names(json!({"denoising_step_list": [900]})), ["1 step", "1 step at 256×144"]);
    }
}
