use parking_lot::{Condvar, Mutex};
use scope_frame::Frame;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Something that takes frames from a [`FrameBus`] without making it wait.
pub trait FrameTap: Send + Sync {
    /// Takes a frame. Must not block: a tap that is busy drops and counts.
    fn push(&self, frame: &Frame);

    /// Whether it wants no more frames; it is then removed.
    fn is_closed(&self) -> bool {
        false
    }

    /// The bus has ended: no frame will follow.
    fn end(&self) {}
}

/// One sink's frames, broadcast to independent taps. A slow tap loses frames at its own edge and slows nobody.
#[derive(Default)]
pub struct FrameBus {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taps: Vec<Arc<dyn FrameTap>>,
    last: Option<Frame>,
    ended: bool,
}

impl FrameBus {
    /// Hands `frame` to every tap and remembers it for snapshots.
    pub fn publish(&self, frame: &Frame) {
        let mut state = self.state.lock();
        state.taps.retain(|tap| !tap.is_closed());
        for tap in &state.taps {
            tap.push(frame);
        }
        state.last = Some(frame.clone());
    }

    /// Adds a tap; one that comes after the end is told so at once.
    pub fn attach(&self, tap: Arc<dyn FrameTap>) {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            tap.end();
        } else {
            state.taps.push(tap);
        }
    }

    /// Attaches a queue of `capacity` frames that drops the oldest.
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        let slot = Arc::new(Slot { capacity: capacity.max(1), ..Slot::default() });
        self.attach(Arc::clone(&slot) as Arc<dyn FrameTap>);
        Subscription { slot }
    }

    /// The newest frame.
    pub fn last(&self) -> Option<Frame> {
        self.state.lock().last.clone()
    }

    /// Tells every tap that no frame will follow.
    pub fn end(&self) {
        let taps = {
            let mut state = self.state.lock();
            state.ended = true;
            std::mem::take(&mut state.taps)
        };
        for tap in taps {
            tap.end();
        }
    }
}

#[derive(Default)]
struct Slot {
    capacity: usize,
    state: Mutex<SlotState>,
    arrived: Condvar,
}

#[derive(Default)]
struct SlotState {
    frames: VecDeque<Frame>,
    dropped: u64,
    closed: bool,
    ended: bool,
}

impl FrameTap for Slot {
    fn push(&self, frame: &Frame) {
        let mut state = self.state.lock();
        if state.frames.len() == self.capacity {
            state.frames.pop_front();
            state.dropped += 1;
        }
        state.frames.push_back(frame.clone());
        drop(state);
        self.arrived.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn end(&self) {
        self.state.lock().ended = true;
        self.arrived.notify_all();
    }
}

/// A bounded, newest-wins queue on a [`FrameBus`], for a thread that waits. Dropping it detaches it.
pub struct Subscription {
    slot: Arc<Slot>,
}

impl Subscription {
    /// Waits for the next frame; `None` once the bus has ended and nothing waits.
    pub fn recv(&self) -> Option<Frame> {
        self.recv_until(None)
    }

    /// Waits for at most `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Frame> {
        self.recv_until(Some(Instant::now() + timeout))
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Option<Frame> {
        let mut state = self.slot.state.lock();
        loop {
            if let Some(frame) = state.frames.pop_front() {
                return Some(frame);
            }
            if state.ended || state.closed {
                return None;
            }
            match deadline {
                None => self.slot.arrived.wait(&mut state),
                Some(deadline) => {
                    if self.slot.arrived.wait_until(&mut state, deadline).timed_out() {
                        return state.frames.pop_front();
                    }
                }
            }
        }
    }

    /// Whether the bus has ended.
    pub fn is_ended(&self) -> bool {
        self.slot.state.lock().ended
    }

    /// Wakes whoever waits in [`Subscription::recv`] and ends the subscription.
    pub fn close(&self) {
        self.slot.state.lock().closed = true;
        self.slot.arrived.notify_all();
    }

    /// A handle that can [`close`](Subscription::close) it from another thread.
    pub fn closer(&self) -> impl Fn() + Send + Sync + 'static {
        let slot = Arc::clone(&self.slot);
        move || {
            slot.state.lock().closed = true;
            slot.arrived.notify_all();
        }
    }

    /// Frames dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.slot.state.lock().dropped)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scope_frame::{Image, Timestamp};

    fn frame(n: u64) -> Frame {
        Frame::new(Image::solid(2, 2, [0; 3]).unwrap(), Timestamp::from_micros(n))
    }

    #[test]
    fn a_slow_subscriber_loses_its_oldest_frames_and_the_others_none() {
        let bus = FrameBus::default();
        let (slow, fast) = (bus.subscribe(2), bus.subscribe(100));
        for n in 0..10 {
            bus.publish(&frame(n));
        }
        assert_eq!(slow.take_dropped(), 8);
        assert_eq!(slow.recv().unwrap().captured_at.as_micros(), 8);
        let all = std::iter::from_fn(|| fast.recv_timeout(Duration::ZERO)).count();
        assert_eq!(all, 10);
    }

    #[test]
    fn the_end_wakes_waiters_after_what_was_queued() {
        let bus = FrameBus::default();
        let subscription = bus.subscribe(4);
        let waiter =
            std::thread::spawn(move || (subscription.recv().is_some(), subscription.recv().is_some()));
        bus.publish(&frame(1));
        bus.end();
        assert_eq!(waiter.join().unwrap(), (true, false));
        assert!(bus.subscribe(1).recv().is_none());
    }

    #[test]
    fn a_dropped_subscription_is_forgotten() {
        let bus = FrameBus::default();
        drop(bus.subscribe(1));
        bus.publish(&frame(1));
        assert!(bus.state.lock().taps.is_empty());
    }
}
