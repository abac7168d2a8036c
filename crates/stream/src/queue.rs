//! A queue of frames in front of a pipeline's input port: bounded in number and in age, newest wins.

use scope_frame::Timestamp;
use scope_pipelines::Sampling;
use std::collections::VecDeque;
use std::time::Duration;

/// Frames that wait for a pipeline. Pure: time is an argument, and what is dropped is returned for counting.
#[derive(Debug)]
pub struct FrameQueue<T> {
    frames: VecDeque<(Timestamp, T)>,
    max_frames: usize,
    max_age: Duration,
}

impl<T> FrameQueue<T> {
    /// A queue of at most `max_frames` (at least 1), none of which has waited longer than `max_age`.
    pub fn new(max_frames: usize, max_age: Duration) -> Self {
        Self { frames: VecDeque::new(), max_frames: max_frames.max(1), max_age }
    }

    /// Changes the bound; returns how many frames that dropped.
    pub fn set_max_frames(&mut self, max_frames: usize) -> usize {
        self.max_frames = max_frames.max(1);
        self.trim()
    }

    /// Adds a frame; returns how many older ones had to go.
    pub fn push(&mut self, now: Timestamp, frame: T) -> usize {
        self.frames.push_back((now, frame));
        self.trim() + self.expire(now)
    }

    /// Drops what has waited too long; returns how many. The newest frame always stays.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let before = self.frames.len();
        while self.frames.len() > 1
            && self.frames.front().is_some_and(|(arrived, _)| now.since(*arrived) > self.max_age)
        {
            self.frames.pop_front();
        }
        before - self.frames.len()
    }

    /// Takes exactly `count` frames, oldest first, once that many wait; the second value is how many were dropped.
    pub fn take(&mut self, count: usize, sampling: Sampling) -> Option<(Vec<T>, usize)> {
        let waiting = self.frames.len();
        if count == 0 || waiting < count {
            return None;
        }
        let first_kept = waiting - count;
        let mut next_kept = 0;
        let mut taken = Vec::with_capacity(count);
        for (index, (_, frame)) in self.frames.drain(..).enumerate() {
            let keep = match sampling {
                Sampling::Consecutive => index >= first_kept,
                // The last frame is always taken, so nothing stays behind to add latency.
                Sampling::Uniform => index == uniform_index(next_kept, count, waiting),
            };
            if keep {
                taken.push(frame);
                next_kept += 1;
            }
        }
        Some((taken, waiting - count))
    }

    /// Takes the oldest `count` frames and leaves the rest, for filters behind a pipeline whose frames come as bursts.
    pub fn take_oldest(&mut self, count: usize) -> Option<Vec<T>> {
        (count > 0 && self.frames.len() >= count)
            .then(|| self.frames.drain(..count).map(|(_, frame)| frame).collect())
    }

    /// Forgets everything; returns how many frames that were.
    pub fn clear(&mut self) -> usize {
        let count = self.frames.len();
        self.frames.clear();
        count
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn trim(&mut self) -> usize {
        let excess = self.frames.len().saturating_sub(self.max_frames);
        self.frames.drain(..excess);
        excess
    }
}

/// The `i`th of `count` (at least 1) indices spread evenly over `0..waiting`, ending at the newest.
const fn uniform_index(i: usize, count: usize, waiting: usize) -> usize {
    (i + 1) * waiting / count - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scope_frame::{Frame, Image};

    fn frame(n: u64) -> Frame {
        Frame::new(Image::solid(2, 2, [0; 3]).unwrap(), Timestamp::from_micros(n))
    }

    fn stamps(frames: &[Frame]) -> Vec<u64> {
        frames.iter().map(|frame| frame.captured_at.as_micros()).collect()
    }

    proptest! {
        /// Every frame is taken, dropped or waiting; order is kept; both bounds hold.
        #[test]
        fn nothing_is_lost_reordered_or_hoarded(
            max_frames in 1usize..12,
            steps in prop::collection::vec((0u64..60_000, prop::option::of((1usize..6, any::<bool>()))), 1..80),
        ) {
            let max_age = Duration::from_millis(300);
            let mut queue = FrameQueue::new(max_frames, max_age);
            let (mut now, mut pushed, mut dropped, mut taken) = (Timestamp::default(), 0, 0, Vec::new());
            for (wait, take) in steps {
                now = now + Duration::from_micros(wait);
                match take {
                    None => {
                        dropped += queue.push(now, frame(pushed));
                        pushed += 1;
                        prop_assert!(queue.len() <= max_frames);
                        prop_assert!(queue.frames.iter().rev().skip(1).all(|(at, _)| now.since(*at) <= max_age));
                    }
                    Some((count, uniform)) => {
                        let sampling = if uniform { Sampling::Uniform } else { Sampling::Consecutive };
                        let waiting = queue.len();
                        match queue.take(count, sampling) {
                            Some((frames, skipped)) => {
                                prop_assert_eq!(frames.len(), count);
                                dropped += skipped;
                                taken.extend(stamps(&frames));
                                prop_assert!(queue.is_empty());
                            }
                            None => prop_assert!(waiting < count),
                        }
                    }
                }
            }
            prop_assert_eq!(taken.len() + dropped + queue.len(), usize::try_from(pushed).unwrap());
            prop_assert!(taken.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn uniform_sampling_spreads_and_ends_at_the_newest() {
        let mut queue = FrameQueue::new(100, Duration::from_secs(9));
        for n in 0..10 {
            queue.push(Timestamp::default(), frame(n));
        }
        let (frames, dropped) = queue.take(4, Sampling::Uniform).unwrap();
        assert_eq!(stamps(&frames), [1, 4, 6, 9]);
        assert_eq!(dropped, 6);
    }

    #[test]
    fn consecutive_sampling_takes_the_newest_neighbours() {
        let mut queue = FrameQueue::new(100, Duration::from_secs(9));
        for n in 0..10 {
            queue.push(Timestamp::default(), frame(n));
        }
        let (frames, _) = queue.take(3, Sampling::Consecutive).unwrap();
        assert_eq!(stamps(&frames), [7, 8, 9]);
    }
}
