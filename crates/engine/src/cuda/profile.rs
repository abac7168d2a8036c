//! Where a GPU's time goes: events around every piece of work while somebody asks, and sums by kind.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cudarc::driver::{CudaEvent, CudaStream, sys};
use parking_lot::Mutex;

use super::Cost;

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Products of matrices.
    Gemm,
    /// Attention.
    Attention,
    /// Convolutions.
    Convolution,
    /// Norms, operators on single elements, resizing.
    Elementwise,
    /// Copies on the device and to and from it.
    Copy,
}

impl Work {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::Attention => "attention",
            Self::Convolution => "convolution",
            Self::Elementwise => "elementwise",
            Self::Copy => "copies",
        }
    }
}

/// What pieces of work took and what they cost at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time on the device.
    pub time: Duration,
    /// How many there were.
    pub pieces: usize,
    /// What none of it could do without.
    pub cost: Cost,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.time += other.time;
        self.pieces += other.pieces;
        self.cost += other.cost;
    }
}

/// What was spent, by kind of work and by what it was: a kernel's name, or the sizes of a product.
pub type Profile = BTreeMap<(Work, Cow<'static, str>), Spent>;

static ENABLED: AtomicBool = AtomicBool::new(false);
static PENDING: Mutex<Vec<Piece>> = Mutex::new(Vec::new());

/// Pieces that wait to be summed up, at most; what comes after them is not counted.
const MOST_PIECES: usize = 1 << 17;

struct Piece {
    work: (Work, Cow<'static, str>),
    cost: Cost,
    start: CudaEvent,
    end: CudaEvent,
}

/// Runs `work` and gives the time that each piece of work took on GPUs meanwhile. It runs a little slower than otherwise, and
/// work of other threads counts too.
pub fn profile<R>(work: impl FnOnce() -> R) -> (R, Profile) {
    PENDING.lock().clear();
    ENABLED.store(true, Ordering::Release);
    let result = work();
    ENABLED.store(false, Ordering::Release);
    let mut sums = Profile::new();
    for piece in std::mem::take(&mut *PENDING.lock()) {
        let waited = piece.end.synchronize().and_then(|()| piece.start.elapsed_ms(&piece.end));
        // Work that failed has told so elsewhere.
        let Ok(milliseconds) = waited else { continue };
        let time = Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3);
        *sums.entry(piece.work).or_default() += Spent { time, pieces: 1, cost: piece.cost };
    }
    (result, sums)
}

pub(super) fn is_enabled() -> bool {
    ENABLED.load(Ordering::Acquire)
}

/// Puts work on a stream, between events if somebody asks.
pub(super) fn timed<R, N: Into<Cow<'static, str>>>(
    stream: &Arc<CudaStream>,
    work: Work,
    name: impl FnOnce() -> N,
    cost: Cost,
    put: impl FnOnce() -> R,
) -> R {
    if !is_enabled() {
        return put();
    }
    let event = || stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
    let start = event();
    let result = put();
    if let (Ok(start), Ok(end)) = (start, event()) {
        let mut pending = PENDING.lock();
        if pending.len() < MOST_PIECES {
            pending.push(Piece { work: (work, name().into()), cost, start, end });
        }
    }
    result
}
