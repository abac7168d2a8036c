//! Keeps generation in step with the rate that it should reach: a machine that is too slow makes chunks with less effort.
//!
//! A generator names its [`Effort`]s, the best first; a [`Governor`] looks at how long chunks take and chooses one. It goes
//! down soon and up reluctantly: a rise that does not hold makes the next one take twice as long, so that a machine at the
//! edge settles instead of swinging.

use scope_frame::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// Chunks that are looked at; their median decides, so that a hiccup does not.
const WINDOW: usize = 8;
/// Fewest chunks that decide anything.
const FEWEST: usize = 3;
/// Chunks after a start or a shift that say nothing: memory is touched and caches fill for the first time.
const SETTLE: usize = 2;
/// Shortest time between two shifts.
const HOLD: Duration = Duration::from_secs(2);
/// Time for which an effort must hold before a better one is tried, at first and at most.
const PATIENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(300)];
/// A rise that held for this long was right.
const PROOF: Duration = Duration::from_secs(60);
/// Pictures may take this share of the time that they last before it is too much.
const LATE: f64 = 1.08;
/// A better effort must be expected to need no more than this share.
const ROOM: f64 = 0.85;

/// One way of making a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Effort {
    /// What people read: "2 steps".
    pub name: String,
    /// Time that a chunk takes, in proportion to the other efforts'. Need not be exact.
    pub cost: f64,
}

/// A change of effort: positions in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// What it was.
    pub from: usize,
    /// What it is from the next chunk on.
    pub to: usize,
}

/// Chooses the effort of each chunk. Pure: time is an argument.
#[derive(Debug, Default)]
pub struct Governor {
    efforts: Vec<Effort>,
    level: usize,
    /// When the present effort began.
    since: Option<Timestamp>,
    skip: usize,
    /// Seconds per picture of the last chunks.
    times: VecDeque<f64>,
    patience: Duration,
    /// When the last rise was that has not proven itself yet.
    risen: Option<Timestamp>,
}

impl Governor {
    /// The effort for the next chunk, among what its generator offers now. Another offer than before starts at its best.
    pub fn choose(&mut self, offer: Vec<Effort>) -> usize {
        if offer != self.efforts {
            *self = Self { efforts: offer, skip: SETTLE, patience: PATIENCE[0], ..Self::default() };
        }
        self.level
    }

    /// What the present choice is called, and its place among how many; `None` without a choice.
    pub fn effort(&self) -> Option<(&Effort, usize, usize)> {
        if self.efforts.len() < 2 {
            return None;
        }
        Some((self.efforts.get(self.level)?, self.level, self.efforts.len()))
    }

    /// Takes note that a chunk of `pictures` took so long, where `rate` pictures a second were wanted.
    pub fn observe(&mut self, now: Timestamp, took: Duration, pictures: usize, rate: f64) -> Option<Shift> {
        if self.efforts.len() < 2 || pictures == 0 || !(rate.is_finite() && rate > 0.0) {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.times.len() == WINDOW {
            self.times.pop_front();
        }
        self.times.push_back(took.as_secs_f64() / pictures as f64);
        if self.risen.is_some_and(|risen| now.since(risen) >= PROOF) {
            self.risen = None;
            self.patience = PATIENCE[0];
        }
        let held = now.since(since);
        if self.times.len() < FEWEST || held < HOLD {
            return None;
        }
        let share = self.median() * rate;
        if share > LATE {
            return self.fall(now, share);
        }
        let better = self.level.checked_sub(1)?;
        let expected = share * self.ratio(better);
        if held < self.patience || expected > ROOM {
            return None;
        }
        self.risen = Some(now);
        Some(self.shift(now, better))
    }

    /// Down to the first effort that is expected to keep up, or else to the least.
    fn fall(&mut self, now: Timestamp, share: f64) -> Option<Shift> {
        let lower = self.level + 1..self.efforts.len();
        let to = lower.clone().find(|to| share * self.ratio(*to) <= 1.0).or_else(|| lower.last())?;
        if self.risen.take().is_some() {
            self.patience = (self.patience * 2).min(PATIENCE[1]);
        }
        Some(self.shift(now, to))
    }

    fn shift(&mut self, now: Timestamp, to: usize) -> Shift {
        let from = std::mem::replace(&mut self.level, to);
        self.since = Some(now);
        self.skip = SETTLE;
        self.times.clear();
        Shift { from, to }
    }

    /// What a chunk costs with the effort `to`, of what it costs now.
    fn ratio(&self, to: usize) -> f64 {
        let cost = |index: usize| self.efforts.get(index).map_or(1.0, |effort| effort.cost.max(1e-3));
        cost(to) / cost(self.level)
    }

    fn median(&self) -> f64 {
        let mut times: Vec<f64> = self.times.iter().copied().collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: f64 = 16.0;
    const PICTURES: usize = 4;

    fn efforts(costs: &[f64]) -> Vec<Effort> {
        costs.iter().map(|cost| Effort { name: format!("{cost}"), cost: *cost }).collect()
    }

    /// A machine on which a chunk takes `seconds(now, level)`, and what its governor does.
    struct Machine {
        governor: Governor,
        offer: Vec<Effort>,
        now: Duration,
        shifts: Vec<(Duration, Shift)>,
    }

    impl Machine {
        fn new(costs: &[f64]) -> Self {
            let offer = efforts(costs);
            Self { governor: Governor::default(), offer, now: Duration::ZERO, shifts: Vec::new() }
        }

        fn run(&mut self, time: Duration, mut seconds: impl FnMut(Duration, usize) -> f64) {
            let end = self.now + time;
            while self.now < end {
                let level = self.governor.choose(self.offer.clone());
                assert!(level < self.offer.len());
                let took = Duration::from_secs_f64(seconds(self.now, level));
                // A machine with time to spare waits until pictures are needed.
                self.now += took.max(Duration::from_secs_f64(PICTURES as f64 / RATE));
                let at = Timestamp::from_micros(self.now.as_micros() as u64);
                if let Some(shift) = self.governor.observe(at, took, PICTURES, RATE) {
                    self.shifts.push((self.now, shift));
                }
            }
        }

        fn level(&mut self) -> usize {
            self.governor.choose(self.offer.clone())
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_machine_that_keeps_up_is_left_alone() {
        let mut machine = Machine::new(&[1.0, 0.75]);
        machine.run(10 * MINUTE, |_, _| 0.26);
        assert_eq!(machine.shifts, []);
    }

    #[test]
    fn a_slow_machine_makes_less_effort_and_stays_there() {
        let mut machine = Machine::new(&[1.0, 0.75]);
        machine.run(10 * MINUTE, |_, level| [0.32, 0.24][level]);
        assert_eq!(machine.shifts.len(), 1, "{:?}", machine.shifts);
        assert!(machine.shifts[0].0 < Duration::from_secs(5));
        assert_eq!(machine.level(), 1);
    }

    #[test]
    fn steps_that_cannot_be_enough_are_left_out() {
        let mut machine = Machine::new(&[1.0, 0.8, 0.4]);
        machine.run(MINUTE / 6, |_, level| [0.5, 0.4, 0.2][level]);
        assert_eq!(machine.shifts[0].1, Shift { from: 0, to: 2 });
    }

    #[test]
    fn slow_for_a_while_is_not_slow_for_ever() {
        let mut machine = Machine::new(&[1.0, 0.75]);
        machine.run(MINUTE / 3, |_, level| [0.40, 0.30][level]);
        assert_eq!(machine.level(), 1);
        machine.run(MINUTE / 3, |_, level| [0.20, 0.15][level]);
        assert_eq!(machine.level(), 0);
    }

    #[test]
    fn a_hiccup_changes_nothing() {
        let mut machine = Machine::new(&[1.0, 0.75]);
        let mut chunk = 0;
        machine.run(5 * MINUTE, |_, _| {
            chunk += 1;
            if chunk % 5 == 0 { 1.5 } else { 0.2 }
        });
        assert_eq!(machine.shifts, []);
    }

    #[test]
    fn rises_that_do_not_hold_become_rare() {
        // Cheap chunks are cheap only as long as dear ones are not tried: the estimate is wrong every time.
        let mut machine = Machine::new(&[1.0, 0.75]);
        machine.run(20 * MINUTE, |_, level| [0.40, 0.12][level]);
        let rises: Vec<_> = machine.shifts.iter().filter(|(_, shift)| shift.to < shift.from).collect();
        assert!((5..=9).contains(&rises.len()), "{rises:?}");
        let last = rises[rises.len() - 1].0 - rises[rises.len() - 2].0;
        assert!(last >= PATIENCE[1], "{last:?}");
    }

    #[test]
    fn another_offer_starts_at_its_best() {
        let mut machine = Machine::new(&[1.0, 0.75]);
        machine.run(MINUTE / 6, |_, level| [0.40, 0.30][level]);
        assert_eq!(machine.level(), 1);
        assert_eq!(machine.governor.choose(efforts(&[1.0, 0.5])), 0);
        assert_eq!(machine.governor.choose(Vec::new()), 0);
        assert_eq!(machine.governor.effort(), None);
    }

    proptest! {
        /// However long chunks take, shifts keep their distance, and rises their growing one.
        #[test]
        fn it_never_swings(
            phases in prop::collection::vec((1u64..40, 0.02..1.5f64), 1..40),
            costs in prop::collection::vec(0.05..1.0f64, 1..5),
        ) {
            let mut costs = costs;
            costs.sort_by(|a, b| b.total_cmp(a));
            let mut machine = Machine::new(&costs);
            for (seconds, speed) in phases {
                machine.run(Duration::from_secs(seconds), |_, level| speed * costs[level]);
            }
            for pair in machine.shifts.windows(2) {
                let apart = pair[1].0 - pair[0].0;
                prop_assert!(apart >= HOLD);
                prop_assert!(pair[1].1.to > pair[1].1.from || apart >= PATIENCE[0]);
            }
            // A minute has room for a fall through all efforts and a few tries, never for a swing every few seconds.
            for (at, _) in &machine.shifts {
                let swings = machine.shifts.windows(2).filter(|pair| {
                    let [(_, rise), (when, fall)] = pair else { return false };
                    rise.to < rise.from && fall.to > fall.from && *when >= *at && *when < *at + MINUTE
                });
                prop_assert!(swings.count() <= 4, "{:?}", machine.shifts);
            }
        }

        /// With headroom the best effort comes back, whatever was before; without, the least is reached.
        #[test]
        fn it_ends_where_the_machine_belongs(
            phases in prop::collection::vec((1u64..40, 0.02..1.5f64), 0..20),
            costs in prop::collection::vec(0.05..1.0f64, 2..5),
        ) {
            let mut costs = costs;
            costs.sort_by(|a, b| b.total_cmp(a));
            let mut machine = Machine::new(&costs);
            for (seconds, speed) in phases {
                machine.run(Duration::from_secs(seconds), |_, level| speed * costs[level]);
            }
            let budget = PICTURES as f64 / RATE;
            let scale = budget * 0.8 / costs[0];
            machine.run((PATIENCE[1] + MINUTE) * costs.len() as u32, |_, level| scale * costs[level]);
            prop_assert_eq!(machine.level(), 0);
            machine.run(MINUTE, |_, _| budget * 3.0);
            prop_assert_eq!(machine.level(), costs.len() - 1);
        }
    }
}
