//! Which frames a rolling cache holds, and where. Pure bookkeeping: the same plan applies to every layer.
//!
//! Frames have a *logical* order: first the sink frames, which stay, then the others, oldest first. Memory is made of
//! *slots*, one frame each. Eviction renames slots instead of moving keys.

use smallvec::SmallVec;

use super::WanError;

/// Slots of frames: as many as the published families have stay off the heap.
pub(crate) type Slots = SmallVec<[usize; 16]>;

/// State of a rolling window of frames with a fixed sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    sink: usize,
    /// Slot of each logical position.
    slots: Slots,
    /// Logical positions in use.
    filled: usize,
    /// Frames generated so far: the end of the newest, counted from the start of the stream.
    end: usize,
}

/// What one call does to the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Slots of the frames that the call evicts, oldest first.
    pub(crate) evicted: Slots,
    /// For each new frame of the call, the slot it is written to; `None` if it would overwrite a protected sink frame.
    pub(crate) writes: SmallVec<[Option<usize>; 16]>,
    /// Slots attended to, in logical order.
    pub(crate) attended: Slots,
    /// Slots of the sink frames that are filled after the call.
    pub(crate) sink: Slots,
    after: Window,
}

impl Window {
    /// An empty window of `frames` frames, the first `sink` of which are never evicted.
    #[must_use]
    pub fn new(frames: usize, sink: usize) -> Self {
        Self { sink: sink.min(frames), slots: (0..frames).collect(), filled: 0, end: 0 }
    }

    /// Frames the window can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Frames held.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Frames generated so far.
    #[must_use]
    pub fn end(&self) -> usize {
        self.end
    }

    /// Slot of every logical position in use.
    #[must_use]
    pub fn slots(&self) -> &[usize] {
        &self.slots[..self.filled]
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        *self = Self::new(self.slots.len(), self.sink);
    }

    /// An empty window at frame `end` of the stream.
    pub fn start_at(&mut self, end: usize) {
        self.clear();
        self.end = end;
    }

    /// Forgets which frames are held, but not where frames lie: the next call writes from the first position on.
    pub fn rewind(&mut self) {
        (self.filled, self.end) = (0, 0);
    }

    /// What a call with frames `start..start + frames` of the stream does. A call that repeats the newest frames (a
    /// further denoising step) overwrites them; new frames evict the oldest that are not sink. With `protect_sink`, a
    /// repetition that starts after the beginning of the stream leaves the sink as it is.
    ///
    /// # Errors
    /// [`WanError::Window`] when the frames can't lie in the window.
    pub fn plan(&self, start: usize, frames: usize, protect_sink: bool) -> Result<Plan, WanError> {
        let capacity = self.capacity();
        let refuse = || WanError::Window { start, frames, window: capacity, sink: self.sink, end: self.end };
        let end = start.checked_add(frames).ok_or_else(refuse)?;
        let mut after = self.clone();
        let mut evicted = Slots::new();
        let new = end.saturating_sub(self.end);
        // A repetition can't reach back beyond what is held, nor a new call leave a gap.
        if frames == 0 || frames > self.filled + new || new > frames {
            return Err(refuse());
        }
        if end > self.end {
            if frames + self.filled > capacity {
                let count = frames + self.filled - capacity;
                let movable = self
                    .filled
                    .checked_sub(self.sink)
                    .filter(|&movable| count <= movable)
                    .ok_or_else(refuse)?;
                debug_assert!(movable >= count);
                evicted.extend_from_slice(&self.slots[self.sink..self.sink + count]);
                after.slots[self.sink..].rotate_left(count);
                after.filled -= count;
            }
            after.filled += new;
            after.end = end;
        }
        if after.filled > capacity {
            return Err(refuse());
        }
        let first = after.filled.checked_sub(frames).ok_or_else(refuse)?;
        let repeats = end <= self.end && start > 0;
        let protected = if protect_sink && repeats { self.sink } else { 0 };
        let writes = (first..after.filled)
            .map(|position| (position >= protected).then(|| after.slots[position]))
            .collect();
        let sink = Slots::from_slice(&after.slots[..self.sink.min(after.filled)]);
        Ok(Plan { evicted, writes, attended: Slots::from_slice(&after.slots[..after.filled]), sink, after })
    }

    /// Makes the plan's result the state. The plan must come from this window.
    pub fn commit(&mut self, plan: &Plan) {
        self.clone_from(&plan.after);
    }
}

/// Runs of neighbouring slots, in order of memory: `(first, count)`.
pub(crate) fn runs(slots: &[usize]) -> SmallVec<[(usize, usize); 16]> {
    let mut sorted = Slots::from_slice(slots);
    sorted.sort_unstable();
    let mut runs: SmallVec<[(usize, usize); 16]> = SmallVec::new();
    for slot in sorted {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == slot => *count += 1,
            _ => runs.push((slot, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A cache that simply keeps a list of frame numbers.
    struct Naive {
        frames: Vec<usize>,
        capacity: usize,
        sink: usize,
    }

    proptest! {
        #[test]
        fn a_window_holds_the_sink_and_the_newest_frames(
            capacity in 4usize..13,
            sink in 0usize..4,
            chunk in 1usize..4,
            first_extra in 0usize..2,
            chunks in 1usize..12,
            repeats in 1usize..4,
        ) {
            prop_assume!(capacity >= sink + chunk + first_extra);
            let mut window = Window::new(capacity, sink);
            let mut naive = Naive { frames: Vec::new(), capacity, sink };
            let mut memory = vec![usize::MAX; capacity];
            let mut start = 0;
            for index in 0..chunks {
                let frames = if index == 0 { chunk + first_extra } else { chunk };
                naive.frames.extend(start..start + frames);
                let excess = naive.frames.len().saturating_sub(naive.capacity);
                prop_assume!(naive.sink + excess <= naive.frames.len() - frames);
                naive.frames.drain(naive.sink..naive.sink + excess);
                for _ in 0..repeats {
                    let plan = window.plan(start, frames, true).expect("fits");
                    for (frame, slot) in plan.writes.iter().enumerate() {
                        memory[slot.expect("an ordinary call protects nothing")] = start + frame;
                    }
                    let held: Vec<_> = plan.attended.iter().map(|&slot| memory[slot]).collect();
                    prop_assert_eq!(&held, &naive.frames);
                    window.commit(&plan);
                }
                start += frames;
            }
            let mut slots = window.slots.clone();
            slots.sort_unstable();
            prop_assert_eq!(slots.to_vec(), (0..capacity).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_repetition_of_the_whole_window_leaves_the_protected_sink() {
        let mut window = Window::new(12, 3);
        for start in (0..18).step_by(3) {
            let plan = window.plan(start, 3, true).expect("fits");
            window.commit(&plan);
        }
        let plan = window.plan(6, 12, true).expect("fits");
        assert_eq!(plan.writes.iter().filter(|write| write.is_none()).count(), 3);
        assert!(plan.writes[..3].iter().all(Option::is_none));
        assert!(window.plan(6, 12, false).expect("fits").writes.iter().all(Option::is_some));
        // From the beginning of the stream on, the sink is written too.
        let mut young = Window::new(12, 3);
        young.commit(&young.plan(0, 3, true).expect("fits"));
        young.commit(&young.plan(3, 3, true).expect("fits"));
        assert!(young.plan(0, 6, true).expect("fits").writes.iter().all(Option::is_some));
    }

    #[test]
    fn calls_that_can_not_lie_in_the_window_are_refused() {
        let mut window = Window::new(6, 3);
        assert!(window.plan(0, 7, false).is_err(), "too many frames");
        assert!(window.plan(2, 1, false).is_err(), "a gap");
        assert!(window.plan(0, 0, false).is_err(), "nothing");
        window.commit(&window.plan(0, 3, false).expect("fits"));
        assert!(window.plan(3, 4, false).is_err(), "would evict the sink");
        assert!(window.plan(usize::MAX, 2, false).is_err());
    }

    #[test]
    fn neighbouring_slots_are_one_run() {
        assert_eq!(runs(&[4, 0, 1, 5, 2, 8])[..], [(0, 3), (4, 2), (8, 1)]);
        assert!(runs(&[]).is_empty());
    }
}
