//! One thread per pipeline node: waits for input or for room, runs a chunk, hands the results on.

use crate::counters::DropCause;
use crate::graph::{PipelinePlan, Target, VIDEO_PORT};
use crate::models::{Lease, LeaseError, panic_text};
use crate::queue::FrameQueue;
use crate::score::Journal;
use crate::script::{Change, Moment, Script};
use crate::session::{Core, Failure};
use crate::sink::Arrival;
use parking_lot::{Condvar, Mutex};
use scope_frame::{Frame, Image, Timestamp};
use scope_pipelines::{
    Chunk, ChunkReport, GenerateError, Generator, Governor, InputMode, Needs, Output, Sampling, Snapshot,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A queued frame older than this is not worth processing.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Frames that wait when one chunk needs a single frame.
const MIN_QUEUE: usize = 2;
/// Frames that wait behind another pipeline, whose chunks come as bursts.
const BURST_QUEUE: usize = 32;
/// Chunks that may fail in a row before the session gives up.
const MAX_FAILURES: u32 = 5;
/// Free-running nodes start the next chunk when what is scheduled lasts only this much longer than a chunk takes.
const MARGIN: Duration = Duration::from_millis(25);
/// The parameter that lets chunks be made with less effort where a machine is too slow.
const ADAPTIVE: &str = "adaptive_quality";
/// A thread that waits looks around this often even if nobody wakes it.
const POLL: Duration = Duration::from_millis(100);

/// A pipeline node as the rest of its session sees it.
pub(crate) struct Node {
    pub(crate) plan: PipelinePlan,
    pub(crate) parameters: Mutex<Journal>,
    /// What is to be played from the next chunk on: another score, or none.
    cue: Mutex<Option<Script>>,
    inputs: Mutex<Inputs>,
    floor: usize,
    wake: Condvar,
    pub(crate) stats: Mutex<NodeStats>,
}

#[derive(Default)]
struct Inputs {
    queues: BTreeMap<String, FrameQueue<Arrival>>,
    paused: bool,
    /// Set when parameters changed, so that a waiting free-runner looks again.
    stopped: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct NodeStats {
    pub(crate) chunks: u64,
    /// Frames that the present generator has made.
    pub(crate) frames: u64,
    pub(crate) chunk_time: Duration,
    pub(crate) chunk_frames: usize,
    pub(crate) generated: crate::counters::RateMeter,
    pub(crate) parked: bool,
    pub(crate) effort: Option<EffortReport>,
}

/// Which effort a pipeline makes, where it has a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EffortReport {
    /// What it is called.
    pub name: String,
    /// Its place among the choices; 0 is the best.
    pub level: usize,
    /// How many choices there are.
    pub levels: usize,
}

impl Node {
    pub(crate) fn new(plan: PipelinePlan, journal: Journal, behind_pipeline: bool) -> Self {
        let floor = if behind_pipeline { BURST_QUEUE } else { MIN_QUEUE };
        let queue = || FrameQueue::new(floor, MAX_AGE);
        let queues = plan.video_inputs.iter().map(|port| (port.clone(), queue())).collect();
        Self {
            plan,
            parameters: Mutex::new(journal),
            cue: Mutex::default(),
            inputs: Mutex::new(Inputs { queues, ..Inputs::default() }),
            floor,
            wake: Condvar::new(),
            stats: Mutex::default(),
        }
    }

    /// Takes a frame for an input port; returns how many older ones had to go.
    pub(crate) fn push(&self, now: Timestamp, port: &str, arrival: Arrival) -> usize {
        let mut inputs = self.inputs.lock();
        if inputs.paused {
            return 1;
        }
        let Some(queue) = inputs.queues.get_mut(port) else { return 1 };
        let dropped = queue.push(now, arrival);
        drop(inputs);
        self.wake.notify_one();
        dropped
    }

    pub(crate) fn queued(&self) -> usize {
        self.inputs.lock().queues.values().map(FrameQueue::len).sum()
    }

    pub(crate) fn pause(&self, paused: bool) {
        let mut inputs = self.inputs.lock();
        inputs.paused = paused;
        for queue in inputs.queues.values_mut() {
            queue.clear();
        }
        drop(inputs);
        self.wake.notify_all();
    }

    /// Makes a waiting runner look at its surroundings again.
    pub(crate) fn nudge(&self) {
        // Taking the lock orders this with a runner that is about to wait.
        drop(self.inputs.lock());
        self.wake.notify_all();
    }

    /// Plays `script` from the next chunk on, whose first frame is its frame 0, in place of what is being played.
    pub(crate) fn play(&self, script: Script) {
        *self.cue.lock() = Some(script);
    }

    pub(crate) fn stop(&self) {
        self.inputs.lock().stopped = true;
        self.wake.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.inputs.lock().stopped
    }
}

/// What ended a wait.
enum Ready {
    Stop,
    /// Something changed that is not input: look again.
    Again,
    Go(BTreeMap<String, Vec<Arrival>>),
}

/// Runs a node until its session stops.
pub(crate) fn run(core: &Core, index: usize) {
    let node = &core.nodes[index];
    let governor = Governor::default();
    let mut runner = Runner {
        core,
        node,
        index,
        failures: 0,
        chunk_time: Duration::ZERO,
        chunk_frames: 0,
        governor,
        frame: 0,
        playing: None,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| runner.run()));
    let failure = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::new(
            "pipeline_panicked",
            format!("{} stopped unexpectedly: {}", node.plan.pipeline_id, panic_text(&*panic)),
        ),
    };
    core.fail(failure);
}

struct Runner<'a> {
    core: &'a Core,
    node: &'a Node,
    index: usize,
    failures: u32,
    /// Of the last chunks.
    chunk_time: Duration,
    chunk_frames: usize,
    governor: Governor,
    /// Frames that the present generator has made.
    frame: u64,
    playing: Option<Playing>,
}

/// A score on its way.
struct Playing {
    script: Script,
    /// The generator's frame that is its frame 0, and when that was.
    origin: u64,
    began: Timestamp,
    /// Moments in frames ask for the very frames that were: with the effort that was made for them, however long it takes.
    effort: Option<usize>,
}

impl Runner<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        while let Some(lease) = self.borrow_model()? {
            let start = lease.model().start();
            let mut generator = start.map_err(|error| Failure::new(error.code(), error.to_string()))?;
            self.frame = 0;
            self.node.stats.lock().frames = 0;
            self.node.parameters.lock().begin(lease.params());
            loop {
                if lease.is_revoked() {
                    break;
                }
                match self.wait(&*generator, &lease) {
                    Ready::Stop => return Ok(()),
                    Ready::Again => {}
                    Ready::Go(inputs) => self.chunk(&mut *generator, inputs)?,
                }
            }
            // Both the generator's own memory and the claim on the model go before anything else is waited for.
            drop(generator);
            drop(lease);
        }
        Ok(())
    }

    /// Borrows the node's model; waits while it is being loaded or replaced. `None` when the session stops.
    fn borrow_model(&self) -> Result<Option<Lease>, Failure> {
        let plan = &self.node.plan;
        let mut parked = false;
        loop {
            if self.node.is_stopped() {
                return Ok(None);
            }
            match self.core.models.lease(&plan.id, &plan.pipeline_id) {
                Ok(lease) => {
                    if parked {
                        self.park(false);
                    }
                    return Ok(Some(lease));
                }
                Err(LeaseError::NotLoaded(id)) => {
                    return Err(Failure::new("pipeline_unloaded", format!("{id} was unloaded")));
                }
                Err(_) => {
                    if !parked {
                        parked = true;
                        self.park(true);
                    }
                    let mut inputs = self.node.inputs.lock();
                    if !inputs.stopped {
                        self.node.wake.wait_for(&mut inputs, POLL);
                    }
                }
            }
        }
    }

    fn park(&self, parked: bool) {
        self.node.stats.lock().parked = parked;
        self.node.pause(parked || self.core.is_paused());
        self.core.refresh_state();
    }

    fn wait(&self, generator: &dyn Generator, lease: &Lease) -> Ready {
        let mode = self.core.mode();
        let needs = match generator.needs(mode) {
            // A free-runner without a connected input still has to wait for its viewers.
            Needs::Nothing => None,
            Needs::Frames { count, sampling } => Some((count.max(1), sampling)),
        };
        let mut inputs = self.node.inputs.lock();
        if let Some((count, _)) = needs {
            let room = self.node.floor.max(if count == 1 { 1 } else { count * 2 });
            for queue in inputs.queues.values_mut() {
                self.core.drops.add(DropCause::Compute, queue.set_max_frames(room));
            }
        }
        loop {
            if inputs.stopped {
                return Ready::Stop;
            }
            if lease.is_revoked() || self.core.mode() != mode {
                return Ready::Again;
            }
            if inputs.paused {
                self.node.wake.wait_for(&mut inputs, POLL);
                continue;
            }
            match needs {
                Some((count, sampling)) => {
                    let full =
                        !inputs.queues.is_empty() && inputs.queues.values().all(|queue| queue.len() >= count);
                    if full {
                        let taken = inputs.queues.iter_mut().filter_map(|(port, queue)| {
                            let frames =
                                if sampling == Sampling::Consecutive && self.node.floor == BURST_QUEUE {
                                    queue.take_oldest(count)?
                                } else {
                                    let (frames, dropped) = queue.take(count, sampling)?;
                                    self.core.drops.add(DropCause::Compute, dropped);
                                    frames
                                };
                            Some((port.clone(), frames))
                        });
                        return Ready::Go(taken.collect());
                    }
                    self.node.wake.wait_for(&mut inputs, POLL);
                }
                None => {
                    let now = Timestamp::now();
                    let ahead = self.core.horizon_after(self.index, now);
                    let enough = self.chunk_time + MARGIN;
                    if ahead <= enough {
                        return Ready::Go(BTreeMap::new());
                    }
                    let pause = (ahead - enough).min(POLL);
                    self.node.wake.wait_for(&mut inputs, pause);
                }
            }
        }
    }

    fn chunk(
        &mut self,
        generator: &mut dyn Generator,
        inputs: BTreeMap<String, Vec<Arrival>>,
    ) -> Result<(), Failure> {
        let began = Timestamp::now();
        let mode = if inputs.is_empty() { InputMode::Text } else { InputMode::Video };
        let wanted_rate = generator.frame_rate(mode);
        let due = self.due(&inputs, wanted_rate, began);
        self.core.release_due(began);
        let snapshot = {
            let mut snapshot = self.node.parameters.lock().take(self.frame);
            self.core.modulate(began, &mut snapshot);
            for (key, value) in due.into_iter().flat_map(|change| change.once) {
                snapshot.set(&key, value);
            }
            snapshot
        };
        let epoch = if snapshot.is_true("reset_cache") { self.core.next_epoch() } else { self.core.epoch() };
        let frames = || inputs.values().flatten();
        let captured = frames().any(|arrival| arrival.has_capture_time);
        let revision = frames().map(|arrival| arrival.frame.revision).fold(snapshot.revision(), u64::max);
        let upstream = frames().map(|arrival| arrival.frame.chunk).max();
        let index = {
            let mut stats = self.node.stats.lock();
            stats.chunks += 1;
            stats.chunks
        };
        // A filter of single frames keeps the grouping of what it filters, so that bursts are still seen as bursts.
        let chunk = upstream.filter(|chunk| *chunk > 0).unwrap_or(index);
        let frame_rate = wanted_rate.map(|rate| self.sustained(rate));
        let stamp = Stamp { epoch, chunk, revision, captured, frame_rate };
        let automatic = snapshot.get(ADAPTIVE).unwrap_or(true);
        let efforts = if automatic { generator.efforts(mode, &snapshot) } else { Vec::new() };
        let chosen = self.governor.choose(efforts);
        let effort = self.playing.as_ref().and_then(|playing| playing.effort).unwrap_or(chosen);
        {
            let mut journal = self.node.parameters.lock();
            journal.moved(self.frame, &snapshot, effort);
            if mode == InputMode::Video {
                journal.inexact("it was made over a video that is not part of it");
            }
        }
        let least_rate = generator.least_rate(mode);
        let input = Chunk {
            index,
            mode,
            parameters: &snapshot,
            inputs: inputs
                .into_iter()
                .map(|(port, frames)| (port, frames.into_iter().map(|arrival| arrival.frame).collect()))
                .collect(),
            assets: &*self.core.assets,
            now: began,
            effort,
            format: self.node.plan.picture_format(),
        };
        let (mut frames, mut counted) = (0, 0);
        let mut emit = |output: Output| match output {
            Output::Frame { port, image, captured_at } => {
                frames += 1;
                counted += u64::from(port == VIDEO_PORT);
                self.forward_frame(&port, image, captured_at, stamp);
            }
            Output::Value { port, value } => self.forward_value(&port, &value, stamp.revision),
        };
        let outcome = generator.generate(input, &mut emit);
        self.frame += counted;
        {
            let mut stats = self.node.stats.lock();
            // As a group: what a chunk brings at once took all of its time.
            stats.generated.tick_group(Timestamp::now(), frames);
            stats.frames = self.frame;
        }
        match outcome {
            Ok(report) => {
                self.failures = 0;
                self.finish(began, frames, report, least_rate);
                Ok(())
            }
            Err(error) if error.is_fatal() => {
                self.core.models.record_error(error.code(), &error.to_string());
                Err(Failure::new(error.code(), error.to_string()))
            }
            Err(error) => self.retry(&error, snapshot),
        }
    }

    /// Makes the changes of the score that belong to this chunk.
    fn due(
        &mut self,
        inputs: &BTreeMap<String, Vec<Arrival>>,
        frame_rate: Option<f64>,
        now: Timestamp,
    ) -> Vec<Change> {
        // The time of what is shown: that of the input where there is one, else what the frames so far last.
        let captured = inputs.values().flatten().map(|arrival| arrival.frame.captured_at).min();
        let cued = self.node.cue.lock().take();
        if let Some(script) = cued {
            let began = captured.unwrap_or(now);
            let exact =
                !script.is_empty() && script.iter().all(|change| matches!(change.at, Moment::Frame(_)));
            self.playing = Some(Playing { script, origin: self.frame, began, effort: exact.then_some(0) });
        }
        let Some(playing) = &mut self.playing else { return Vec::new() };
        let frame = self.frame.saturating_sub(playing.origin);
        let time = match (captured, frame_rate.filter(|rate| *rate > 0.0)) {
            (Some(captured), _) => captured.since(playing.began),
            (None, Some(rate)) => Duration::try_from_secs_f64(frame as f64 / rate).unwrap_or_default(),
            (None, None) => now.since(playing.began),
        };
        let due = playing.script.due(frame, time);
        for change in &due {
            playing.effort = change.effort.or(playing.effort);
            self.core.play(self.index, &change.parameters);
        }
        let left = playing.script.len();
        if left == 0 && playing.effort.is_none() {
            self.playing = None;
        }
        if !due.is_empty() {
            self.core.report_score(frame, due.len(), left);
        }
        due
    }

    /// Sends a picture on its way as soon as it exists.
    fn forward_frame(&self, port: &str, image: Image, captured_at: Option<Timestamp>, stamp: Stamp) {
        let now = Timestamp::now();
        let arrival = Arrival {
            frame: Frame {
                image,
                captured_at: captured_at.unwrap_or(now),
                epoch: stamp.epoch,
                chunk: stamp.chunk,
                revision: stamp.revision,
            },
            has_capture_time: captured_at.is_some() && stamp.captured,
        };
        for target in self.node.plan.outputs.get(port).into_iter().flatten() {
            self.core.deliver(now, target, arrival.clone(), stamp.frame_rate);
        }
    }

    /// The rate at which pictures can be shown without a gap: the wanted one, or that at which they are made.
    fn sustained(&self, wanted: f64) -> f64 {
        let made = self.chunk_frames as f64 / self.chunk_time.as_secs_f64();
        if made > 0.0 { wanted.min(made) } else { wanted }
    }

    fn finish(&mut self, began: Timestamp, frames: usize, report: ChunkReport, least_rate: Option<f64>) {
        let now = Timestamp::now();
        let took = now.since(began);
        let shift = least_rate.and_then(|rate| self.governor.observe(now, took, frames, rate));
        let effort = self.governor.effort().map(|(effort, level, levels)| EffortReport {
            name: effort.name.clone(),
            level,
            levels,
        });
        if let (Some(shift), Some(effort)) = (shift, &effort) {
            self.core.report_effort(&self.node.plan.pipeline_id, effort, shift.to > shift.from);
        }
        {
            let mut stats = self.node.stats.lock();
            stats.effort = effort;
            stats.chunk_time = took;
            stats.chunk_frames = frames;
        }
        self.chunk_frames = frames;
        // A slow memory, so that one long chunk does not make the next ones hurry.
        self.chunk_time = if self.chunk_time.is_zero() { took } else { (self.chunk_time * 3 + took) / 4 };
        for (key, problem) in report.parameter_problems {
            self.core.report_parameter(&key, &problem);
        }
    }

    fn forward_value(&self, port: &str, value: &serde_json::Value, revision: u64) {
        for target in self.node.plan.outputs.get(port).into_iter().flatten() {
            if let Target::Parameter(index, port) = target {
                self.core.set_from_graph(*index, port, value, revision);
            }
        }
    }

    /// A chunk failed: its one-shots are kept for the next, which comes after a growing pause.
    fn retry(&mut self, error: &GenerateError, snapshot: Snapshot) -> Result<(), Failure> {
        self.failures += 1;
        let id = &self.node.plan.pipeline_id;
        tracing::warn!(pipeline = id, failures = self.failures, "a chunk failed: {error}");
        self.core.report_chunk_failure(error, self.failures);
        if self.failures >= MAX_FAILURES {
            let text = format!("{id} failed {MAX_FAILURES} times in a row: {error}");
            return Err(Failure::new(error.code(), text));
        }
        self.node.parameters.lock().restore(snapshot);
        let mut inputs = self.node.inputs.lock();
        if !inputs.stopped {
            self.node.wake.wait_for(&mut inputs, POLL * 2u32.pow(self.failures));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Stamp {
    epoch: u64,
    chunk: u64,
    revision: u64,
    captured: bool,
    frame_rate: Option<f64>,
}
