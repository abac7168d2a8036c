use crate::bus::FrameBus;
use crate::counters::{DropCause, Drops, RateMeter};
use crate::pacer::Pacer;
use parking_lot::{Condvar, Mutex};
use scope_frame::{Frame, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Most frames that wait to be shown: two chunks of the largest family.
const MAX_FRAMES: usize = 48;

/// Where frames leave a graph: a pacer in front of a frame bus.
///
/// Frames that are due at once are published by the thread that brings them; a thread of the sink's own shows the others
/// when their time comes.
pub(crate) struct Sink {
    pub(crate) id: String,
    pub(crate) bus: FrameBus,
    drops: Arc<Drops>,
    state: Mutex<State>,
    wake: Condvar,
}

/// A frame on its way along an edge.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub(crate) frame: Frame,
    /// Whether the frame derives from captured input, or was generated without.
    pub(crate) has_capture_time: bool,
}

#[derive(Default)]
struct State {
    pacer: Pacer,
    waiting: VecDeque<(Timestamp, Frame)>,
    epoch: u64,
    shown: RateMeter,
    held: bool,
    ended: bool,
}

impl Sink {
    pub(crate) fn new(id: String, drops: Arc<Drops>) -> Arc<Self> {
        Arc::new(Self { id, bus: FrameBus::default(), drops, state: Mutex::default(), wake: Condvar::new() })
    }

    /// Takes a frame from the graph. `frame_rate` is the rate its pipeline wants, if it has one; a frame without a
    /// capture time gets the time at which it will be shown.
    pub(crate) fn push(&self, now: Timestamp, frame: Arrival, frame_rate: Option<f64>) {
        let Arrival { mut frame, has_capture_time } = frame;
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        if frame.epoch < state.epoch {
            self.drops.add(DropCause::Stale, 1);
            return;
        }
        if frame.epoch > state.epoch {
            // The first frame after a reset: what was made before it is not shown any more.
            state.epoch = frame.epoch;
            self.drops.add(DropCause::Stale, state.waiting.len());
            state.waiting.clear();
            state.pacer.flush(now);
        }
        state.pacer.set_frame_rate(frame_rate);
        let capture = has_capture_time.then_some(frame.captured_at);
        let due = state.pacer.schedule(now, frame.chunk, capture);
        if !has_capture_time {
            frame.captured_at = due;
        }
        if due <= now && state.waiting.is_empty() && !state.held {
            state.shown.tick(now);
            drop(state);
            self.bus.publish(&frame);
            return;
        }
        if state.waiting.len() == MAX_FRAMES {
            state.waiting.pop_front();
            self.drops.add(DropCause::Pacing, 1);
        }
        state.waiting.push_back((due, frame));
        drop(state);
        self.wake.notify_one();
    }

    /// How long what is scheduled will last.
    pub(crate) fn horizon(&self, now: Timestamp) -> Duration {
        let state = self.state.lock();
        if state.waiting.is_empty() { Duration::ZERO } else { state.pacer.horizon(now) }
    }

    /// Frames that wait to be shown.
    pub(crate) fn backlog(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Frames shown per second, and in all.
    pub(crate) fn rate(&self, now: Timestamp) -> (f64, u64) {
        let mut state = self.state.lock();
        (state.shown.rate(now), state.shown.total())
    }

    /// Holds the picture, or lets it go on. What was scheduled meanwhile is forgotten.
    pub(crate) fn hold(&self, held: bool) {
        let mut state = self.state.lock();
        state.held = held;
        self.drops.add(DropCause::Stale, state.waiting.len());
        state.waiting.clear();
        state.pacer.reset();
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn end(&self) {
        self.state.lock().ended = true;
        self.wake.notify_all();
        self.bus.end();
    }

    /// Shows frames when they are due, until the end. `shown` is called after each, without locks held.
    pub(crate) fn run(&self, shown: impl Fn()) {
        loop {
            let mut state = self.state.lock();
            let frame = loop {
                if state.ended {
                    return;
                }
                let now = Timestamp::now();
                match state.waiting.front() {
                    Some((due, _)) if !state.held && *due <= now => {
                        if let Some((_, frame)) = state.waiting.pop_front() {
                            state.shown.tick(now);
                            break frame;
                        }
                    }
                    Some((due, _)) if !state.held => {
                        let due = due.to_instant();
                        self.wake.wait_until(&mut state, due);
                    }
                    _ => self.wake.wait(&mut state),
                }
            };
            drop(state);
            self.bus.publish(&frame);
            shown();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scope_frame::Image;

    fn frame(epoch: u64, chunk: u64) -> Arrival {
        let image = Image::solid(2, 2, [0; 3]).unwrap();
        let frame = Frame { epoch, chunk, ..Frame::new(image, Timestamp::now()) };
        Arrival { frame, has_capture_time: true }
    }

    #[test]
    fn a_reset_drops_what_waits_and_what_comes_late() {
        let drops = Arc::new(Drops::default());
        let sink = Sink::new("out".into(), Arc::clone(&drops));
        let now = Timestamp::now();
        for _ in 0..5 {
            sink.push(now, frame(0, 1), Some(10.0));
        }
        let waiting = sink.backlog();
        assert!(waiting >= 4);
        sink.push(now, frame(1, 2), Some(10.0));
        sink.push(now, frame(0, 1), Some(10.0));
        assert_eq!(drops.totals().stale as usize, waiting + 1);
    }

    #[test]
    fn frames_that_come_one_by_one_are_published_at_once() {
        let sink = Sink::new("out".into(), Arc::default());
        let viewer = sink.bus.subscribe(8);
        for chunk in 0..3 {
            sink.push(Timestamp::now(), frame(0, chunk), None);
        }
        assert_eq!(std::iter::from_fn(|| viewer.recv_timeout(Duration::ZERO)).count(), 3);
    }

    #[test]
    fn a_held_sink_shows_nothing() {
        let sink = Sink::new("out".into(), Arc::default());
        let viewer = sink.bus.subscribe(8);
        sink.hold(true);
        sink.push(Timestamp::now(), frame(0, 1), None);
        assert!(viewer.recv_timeout(Duration::ZERO).is_none());
        sink.hold(false);
        sink.push(Timestamp::now(), frame(0, 2), None);
        assert!(viewer.recv_timeout(Duration::ZERO).is_some());
    }
}
