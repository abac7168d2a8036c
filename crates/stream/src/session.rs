//! A session: one graph, its threads, its parameters, and everything that happens to it.

use crate::bus::{FrameBus, FrameTap, Subscription};
use crate::counters::{DropCause, Drops, RateMeter};
use crate::graph::{Graph, Plan, SourceKind, Target};
use crate::models::ModelManager;
use crate::recording::Recordings;
use crate::runner::{self, EffortReport, Node};
use crate::score::{Journal, Score, ScoreError};
use crate::script::Script;
use crate::sink::{Arrival, Sink};
use crate::tempo::{Held, Tempo};
use parking_lot::Mutex;
use scope_frame::{Frame, Image, Timestamp};
use scope_pipelines::{
    AssetLoader, GenerateError, InputMode, ParameterError, PipelineSchema, Snapshot, Update, validate_update,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast;

mod types;

pub use types::{
    Applied, Metrics, SessionError, SessionEvent, SessionKind, SessionSpec, SessionState, SourceInfo,
    StopReason,
};

/// Events that a slow listener may fall behind by.
const EVENT_CAPACITY: usize = 256;
/// A chunk failure is told to clients at most this often.
const FAILURE_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The end of a session that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: String,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// What a session's threads share.
pub(crate) struct Core {
    pub(crate) id: String,
    pub(crate) models: Arc<ModelManager>,
    pub(crate) assets: Arc<dyn AssetLoader + Send + Sync>,
    pub(crate) drops: Arc<Drops>,
    pub(crate) nodes: Vec<Node>,
    /// The node that a score is played on, and made of.
    lead: usize,
    plan: Plan,
    sinks: Vec<Arc<Sink>>,
    records: Vec<FrameBus>,
    free_running: bool,
    video_mode: AtomicBool,
    paused: AtomicBool,
    live: AtomicBool,
    epoch: AtomicU64,
    revision: AtomicU64,
    control: Mutex<Control>,
    input: Mutex<RateMeter>,
    events: broadcast::Sender<SessionEvent>,
}

#[derive(Default)]
struct Control {
    tempo: Tempo,
    reported_state: Option<SessionState>,
    stopped: Option<StopReason>,
    last_failure_report: Option<Timestamp>,
}

/// One running graph. Dropping it stops its threads.
pub struct Session {
    core: Arc<Core>,
    kind: SessionKind,
    created_at: SystemTime,
    started: Timestamp,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recordings: Recordings,
}

/// What each node is told that the others are not: a message for each.
fn own_parameters(graph: &Graph) -> Vec<Map<String, Value>> {
    let own = |node: &crate::graph::Node| {
        let mut message = node.params.clone()?;
        message.insert("node_id".into(), json!(node.id));
        Some(message)
    };
    graph.nodes.iter().filter_map(own).collect()
}

impl Session {
    /// Checks the graph, borrows its models and starts its threads.
    ///
    /// # Errors
    /// [`SessionError`]; nothing runs then.
    pub fn start(spec: SessionSpec, models: &Arc<ModelManager>) -> Result<Arc<Self>, SessionError> {
        let plan = spec.graph.compile(models.registry())?;
        for pipeline in &plan.pipelines {
            models.lease(&pipeline.id, &pipeline.pipeline_id)?;
        }
        let core = Arc::new(Core::new(&spec, plan, models));
        let own = own_parameters(&spec.graph);
        let session = Arc::new(Self {
            recordings: Recordings::new(spec.recordings_dir.clone(), &spec.id),
            core: Arc::clone(&core),
            kind: spec.kind,
            created_at: SystemTime::now(),
            started: Timestamp::now(),
            threads: Mutex::default(),
        });
        for parameters in std::iter::once(spec.parameters).chain(own) {
            let initial = session.apply(parameters, false);
            if !initial.problems.is_empty() {
                tracing::warn!(session = core.id, "initial parameters: {}", list(&initial.problems));
            }
        }
        if let Some(score) = &spec.score {
            session.play(score)?;
        }
        session.spawn_threads()?;
        Ok(session)
    }

    fn spawn_threads(&self) -> Result<(), SessionError> {
        let mut threads = self.threads.lock();
        let spawn =
            |name: String, work: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name).spawn(work);
        for index in 0..self.core.sinks.len() {
            let core = Arc::clone(&self.core);
            threads.push(spawn(
                format!("sink-{index}"),
                Box::new(move || core.sinks[index].run(|| core.nudge_all())),
            )?);
        }
        for index in 0..self.core.nodes.len() {
            let core = Arc::clone(&self.core);
            let name = format!("run-{}", self.core.nodes[index].plan.pipeline_id);
            threads.push(spawn(name, Box::new(move || runner::run(&core, index)))?);
        }
        for (index, source) in self.core.plan.sources.iter().enumerate() {
            if let SourceKind::File(name) = &source.kind {
                let problem = |problem| SessionError::Source { node: source.id.clone(), problem };
                let file = crate::file_source::open(&*self.core.assets, name).map_err(problem)?;
                let core = Arc::clone(&self.core);
                let work = move || crate::file_source::run(file, &core, index);
                threads.push(spawn(format!("file-{index}"), Box::new(work))?);
            }
        }
        Ok(())
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.core.id
    }

    /// Whose it is.
    pub const fn kind(&self) -> SessionKind {
        self.kind
    }

    /// When it started, on the calendar.
    pub const fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// Where it stands.
    pub fn state(&self) -> SessionState {
        self.core.state()
    }

    /// Why it ended, once it has.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.core.control.lock().stopped.clone()
    }

    /// Ids of the pipelines that it runs.
    pub fn pipeline_ids(&self) -> Vec<String> {
        self.core.nodes.iter().map(|node| node.plan.pipeline_id.clone()).collect()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<SessionEvent> {
        self.core.events.subscribe()
    }

    /// The sources that a client's tracks feed, in the graph's order.
    pub fn client_sources(&self) -> Vec<SourceInfo> {
        let sources = self.core.plan.sources.iter().enumerate();
        sources
            .filter(|(_, source)| source.kind == SourceKind::Client)
            .map(|(index, source)| SourceInfo { node_id: source.id.clone(), index })
            .collect()
    }

    /// Ids of the sinks; the first is the primary one.
    pub fn sink_ids(&self) -> Vec<&str> {
        self.core.sinks.iter().map(|sink| sink.id.as_str()).collect()
    }

    /// Ids of the record nodes.
    pub fn record_ids(&self) -> Vec<&str> {
        self.core.plan.records.iter().map(|record| record.id.as_str()).collect()
    }

    /// Hands in a picture from the source with this index.
    pub fn push_input(&self, source: usize, image: Image, captured_at: Timestamp) {
        self.core.push_input(source, image, captured_at);
    }

    /// Counts frames that were lost outside the graph.
    pub fn count_drops(&self, cause: DropCause, count: usize) {
        self.core.drops.add(cause, count);
    }

    /// A queue of the sink's frames; `None` when there is no such sink.
    pub fn subscribe(&self, sink: usize, capacity: usize) -> Option<Subscription> {
        Some(self.core.sinks.get(sink)?.bus.subscribe(capacity))
    }

    /// Attaches a tap to a sink; whether there is such a sink.
    pub fn attach(&self, sink: usize, tap: Arc<dyn FrameTap>) -> bool {
        self.core.sinks.get(sink).map(|sink| sink.bus.attach(tap)).is_some()
    }

    /// The newest picture of a sink, by id or the primary one.
    pub fn last_frame(&self, sink_id: Option<&str>) -> Option<Frame> {
        let sinks = &self.core.sinks;
        let sink = match sink_id {
            Some(id) => sinks.iter().find(|sink| sink.id == id)?,
            None => sinks.first()?,
        };
        sink.bus.last()
    }

    /// Checks a message and applies what can be applied. `announce` tells the session's client, for messages of others.
    pub fn apply(&self, message: Map<String, Value>, announce: bool) -> Applied {
        self.core.apply(message, announce)
    }

    /// The parameters that hold now, over all nodes.
    pub fn parameters(&self) -> Map<String, Value> {
        let mut all = Map::new();
        for node in &self.core.nodes {
            all.extend(node.parameters.lock().sticky().clone());
        }
        all.insert("paused".into(), json!(self.core.is_paused()));
        all.insert("input_mode".into(), json!(self.core.mode()));
        all
    }

    /// Plays a score from the next chunk on, whose first frame is its frame 0, in place of what is being played; the number
    /// of its changes. It goes to the first pipeline that takes prompts.
    ///
    /// # Errors
    /// [`ScoreError::Change`] for the first change that the pipeline would not take; nothing changes then.
    pub fn play(&self, score: &Score) -> Result<usize, ScoreError> {
        let Some(node) = self.core.nodes.get(self.core.lead) else { return Ok(0) };
        let Some(pipeline) = self.core.models.registry().get(&node.plan.pipeline_id) else { return Ok(0) };
        let script = score.script(pipeline.schema())?;
        let changes = script.len();
        node.play(script);
        Ok(changes)
    }

    /// Makes no more of the changes of the score that is being played.
    pub fn end_score(&self) {
        if let Some(node) = self.core.nodes.get(self.core.lead) {
            node.play(Script::default());
        }
    }

    /// What this session has been told since its pipeline began, as a score that makes its frames again.
    pub fn score(&self) -> Option<Score> {
        let core = &*self.core;
        let node = core.nodes.get(core.lead)?;
        // One at a time, and never the other way round.
        let frames = node.stats.lock().frames;
        let mut journal = node.parameters.lock();
        if core.nodes.len() > 1 {
            journal.inexact("other pipelines of the graph had a part in it");
        }
        Some(journal.score(&node.plan.pipeline_id, core.mode(), frames))
    }

    /// The numbers of the moment.
    pub fn metrics(&self) -> Metrics {
        let now = Timestamp::now();
        let core = &*self.core;
        let (fps_in, frames_in) = {
            let mut input = core.input.lock();
            (input.rate(now), input.total())
        };
        let (fps_out, frames_out) = core.sinks.first().map_or((0.0, 0), |sink| sink.rate(now));
        let mut metrics = Metrics {
            fps_in,
            frames_in,
            fps_out,
            frames_out,
            drops: core.drops.totals(),
            elapsed_seconds: now.since(self.started).as_secs_f64(),
            queue_frames: core.sinks.iter().map(|sink| sink.backlog()).sum(),
            recording: self.recordings.any_running(),
            ..Metrics::default()
        };
        if let Some(frame) = self.last_frame(None) {
            (metrics.width, metrics.height) = (Some(frame.image.width()), Some(frame.image.height()));
        }
        for node in &core.nodes {
            metrics.queue_frames += node.queued();
            let mut stats = node.stats.lock();
            metrics.chunk_ms = metrics.chunk_ms.max(stats.chunk_time.as_secs_f64() * 1e3);
            metrics.chunk_frames = metrics.chunk_frames.max(stats.chunk_frames);
            metrics.fps_generated = stats.generated.rate(now);
            metrics.effort = stats.effort.clone().or(metrics.effort);
        }
        metrics
    }

    /// Its recordings.
    pub const fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// The frames that a recording of `node_id` gets: a record node, or the primary sink.
    pub fn recording_bus(&self, node_id: Option<&str>) -> Option<&FrameBus> {
        match node_id {
            None => self.core.sinks.first().map(|sink| &sink.bus),
            Some(id) => {
                let index = self.core.plan.records.iter().position(|record| record.id == id)?;
                self.core.records.get(index)
            }
        }
    }

    /// Ends it and waits for its threads. Idempotent.
    pub fn stop(&self, reason: StopReason) {
        self.core.stop(reason);
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() {
                // Panics inside were caught or logged by the hook; joining only waits.
                thread.join().ok();
            }
        }
        self.recordings.stop_all();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop(StopReason::Requested);
    }
}

/// The first pipeline that takes prompts, or else the first.
fn lead(plan: &Plan, models: &ModelManager) -> usize {
    let takes_prompts = |id: &str| models.registry().get(id).is_some_and(|it| it.schema().supports_prompts);
    plan.pipelines.iter().position(|node| takes_prompts(&node.pipeline_id)).unwrap_or(0)
}

fn list(problems: &[ParameterError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Core {
    fn new(spec: &SessionSpec, plan: Plan, models: &Arc<ModelManager>) -> Self {
        let drops = Arc::new(Drops::default());
        let free_running = plan.sources.is_empty();
        let behind_pipeline = |index: usize| {
            plan.pipelines
                .iter()
                .flat_map(|p| p.outputs.values().flatten())
                .any(|target| matches!(target, Target::Pipeline(to, _) if *to == index))
        };
        let lead = lead(&plan, models);
        let journal = |index| if index == lead { Journal::default() } else { Journal::silent() };
        let nodes = plan
            .pipelines
            .iter()
            .enumerate()
            .map(|(index, node)| Node::new(node.clone(), journal(index), behind_pipeline(index)))
            .collect();
        Self {
            id: spec.id.clone(),
            models: Arc::clone(models),
            assets: Arc::clone(&spec.assets),
            nodes,
            lead,
            sinks: plan.sinks.iter().map(|sink| Sink::new(sink.id.clone(), Arc::clone(&drops))).collect(),
            records: plan.records.iter().map(|_| FrameBus::default()).collect(),
            drops,
            free_running,
            video_mode: AtomicBool::new(spec.mode == InputMode::Video && !free_running),
            plan,
            paused: AtomicBool::new(false),
            live: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            control: Mutex::default(),
            input: Mutex::default(),
            events: broadcast::Sender::new(EVENT_CAPACITY),
        }
    }

    /// Merges values of a score into a node's parameters.
    pub(crate) fn play(&self, index: usize, parameters: &Map<String, Value>) {
        let revision = self.revision.fetch_add(1, Ordering::AcqRel) + 1;
        self.nodes[index].parameters.lock().merge(parameters, revision);
    }

    pub(crate) fn report_score(&self, frame: u64, made: usize, left: usize) {
        self.send(SessionEvent::Score { frame, made, left });
    }

    pub(crate) fn mode(&self) -> InputMode {
        if self.video_mode.load(Ordering::Acquire) { InputMode::Video } else { InputMode::Text }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.control.lock().stopped.is_some()
    }

    pub(crate) fn push_input(&self, source: usize, image: Image, captured_at: Timestamp) {
        let Some(source) = self.plan.sources.get(source) else { return };
        let now = Timestamp::now();
        self.input.lock().tick(now);
        let frame = Frame { epoch: self.epoch(), ..Frame::new(image, captured_at) };
        let arrival = Arrival { frame, has_capture_time: true };
        for target in &source.targets {
            self.deliver(now, target, arrival.clone(), None);
        }
    }

    /// Sends a frame along an edge.
    pub(crate) fn deliver(&self, now: Timestamp, target: &Target, arrival: Arrival, frame_rate: Option<f64>) {
        match target {
            Target::Pipeline(index, port) => {
                let dropped = self.nodes[*index].push(now, port, arrival);
                self.drops.add(DropCause::Compute, dropped);
            }
            Target::Sink(index) => {
                if !self.is_paused() {
                    self.sinks[*index].push(now, arrival, frame_rate);
                    if !self.live.swap(true, Ordering::AcqRel) {
                        self.refresh_state();
                    }
                }
            }
            Target::Record(index) => self.records[*index].publish(&arrival.frame),
            Target::Parameter(..) => {}
        }
    }

    /// How long what has been made by the node with this index, and not been shown, will last.
    pub(crate) fn horizon_after(&self, index: usize, now: Timestamp) -> Duration {
        let targets = self.nodes[index].plan.outputs.values().flatten();
        targets
            .map(|target| match target {
                Target::Sink(sink) => self.sinks[*sink].horizon(now),
                Target::Pipeline(next, _) if self.nodes[*next].queued() > 0 => Duration::from_secs(1),
                Target::Pipeline(next, _) => self.horizon_after(*next, now),
                Target::Record(_) | Target::Parameter(..) => Duration::ZERO,
            })
            .max()
            .unwrap_or_default()
    }

    fn nudge_all(&self) {
        for node in &self.nodes {
            node.nudge();
        }
    }

    /// Makes the changes whose beat has come. For the moment before a chunk takes its parameters.
    pub(crate) fn release_due(&self, now: Timestamp) {
        let due = self.control.lock().tempo.take_due(now);
        if due.is_empty() {
            return;
        }
        for Held { node_id, mut changes } in due {
            changes.extend(node_id.map(|id| ("node_id".to_owned(), json!(id))));
            self.apply(changes, false);
        }
        self.send(SessionEvent::ChangeApplied);
    }

    /// Applies what musical time asks of a chunk alone: resets and modulation.
    pub(crate) fn modulate(&self, now: Timestamp, snapshot: &mut Snapshot) {
        let (reset, values) = {
            let mut control = self.control.lock();
            (control.tempo.wants_reset(now), control.tempo.modulated(now, snapshot.as_map()))
        };
        if reset {
            snapshot.set("reset_cache", json!(true));
            snapshot.set("base_seed", json!(now.as_micros() % 1_000_000));
        }
        // A swing that nobody gave bounds ends at those of its parameter.
        let values = validate_update(values.into_iter().collect(), &self.schemas()).update.pipeline;
        for (key, value) in values {
            snapshot.set(&key, value);
        }
    }

    fn schemas(&self) -> Vec<&PipelineSchema> {
        let registry = self.models.registry();
        let ids = self.nodes.iter().map(|node| node.plan.pipeline_id.as_str());
        ids.filter_map(|id| registry.get(id).map(|pipeline| pipeline.schema())).collect()
    }

    pub(crate) fn apply(&self, message: Map<String, Value>, announce: bool) -> Applied {
        let checked = validate_update(message, &self.schemas());
        let Update { pipeline, session, node_id, id, quantized } = checked.update;
        let now = Timestamp::now();
        let mut parameters = session.clone();
        parameters.extend(pipeline.clone());
        self.apply_session_keys(now, &session);
        let waits = if quantized {
            self.control.lock().tempo.schedule(now, node_id.as_deref(), &pipeline)
        } else {
            None
        };
        let revision = self.revision.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(delay) = waits {
            self.send(SessionEvent::ChangeScheduled(delay));
        } else {
            for node in &self.nodes {
                if node_id.as_ref().is_none_or(|id| *id == node.plan.id) {
                    node.parameters.lock().merge(&pipeline, revision);
                }
            }
            if quantized {
                self.send(SessionEvent::ChangeApplied);
            }
        }
        if announce && !parameters.is_empty() {
            let mut told = parameters.clone();
            if let Some(node_id) = &node_id {
                told.insert("node_id".into(), json!(node_id));
            }
            self.send(SessionEvent::ParametersUpdated(told));
        }
        Applied { revision, id, problems: checked.problems, parameters }
    }

    fn apply_session_keys(&self, now: Timestamp, keys: &Map<String, Value>) {
        if keys.is_empty() {
            return;
        }
        self.control.lock().tempo.update(now, keys);
        if let Some(paused) = keys.get("paused").and_then(Value::as_bool)
            && self.paused.swap(paused, Ordering::AcqRel) != paused
        {
            for node in &self.nodes {
                node.pause(paused);
            }
            for sink in &self.sinks {
                sink.hold(paused);
            }
            self.refresh_state();
        }
        if let Some(mode) = keys.get("input_mode").and_then(Value::as_str) {
            let video = mode == "video" && !self.free_running;
            self.video_mode.store(video, Ordering::Release);
            self.nudge_all();
        }
    }

    /// A node's value output became another node's parameter.
    pub(crate) fn set_from_graph(&self, index: usize, key: &str, value: &Value, revision: u64) {
        let checked = validate_update(Map::from_iter([(key.to_owned(), value.clone())]), &[]);
        let node = &self.nodes[index];
        node.parameters.lock().merge(&checked.update.pipeline, revision);
        let mut told = checked.update.pipeline;
        told.insert("node_id".into(), json!(node.plan.id));
        self.send(SessionEvent::ParametersUpdated(told));
    }

    /// A pipeline makes another effort from now on.
    pub(crate) fn report_effort(&self, pipeline_id: &str, effort: &EffortReport, less: bool) {
        let name = self.models.registry().get(pipeline_id).map_or(pipeline_id, |it| &it.schema().name);
        tracing::info!(session = self.id, pipeline = pipeline_id, less, "goes on with {}", effort.name);
        if less {
            let message = format!(
                "{name} goes on with {}: this machine cannot keep up with more. It takes more again when it can",
                effort.name
            );
            self.send(SessionEvent::Warning { code: "quality_reduced", message });
        }
    }

    pub(crate) fn report_parameter(&self, key: &str, problem: &str) {
        let error = ParameterError { key: key.into(), message: problem.into() };
        self.send(SessionEvent::Error {
            code: "invalid_parameters".into(),
            message: error.to_string(),
            parameters: vec![error],
        });
    }

    pub(crate) fn report_chunk_failure(&self, error: &GenerateError, failures: u32) {
        let now = Timestamp::now();
        let mut control = self.control.lock();
        let recent = control.last_failure_report.is_some_and(|at| now.since(at) < FAILURE_REPORT_INTERVAL);
        if recent && failures > 1 {
            return;
        }
        control.last_failure_report = Some(now);
        drop(control);
        let (code, message) = (error.code().into(), error.to_string());
        self.send(SessionEvent::Error { code, message, parameters: Vec::new() });
    }

    fn state(&self) -> SessionState {
        if self.is_stopped() {
            SessionState::Stopping
        } else if self.nodes.iter().any(|node| node.stats.lock().parked) {
            SessionState::Parked
        } else if self.is_paused() {
            SessionState::Paused
        } else if self.live.load(Ordering::Acquire) {
            SessionState::Live
        } else {
            SessionState::Waiting
        }
    }

    /// Tells listeners if the state has changed.
    pub(crate) fn refresh_state(&self) {
        let state = self.state();
        let changed = self.control.lock().reported_state.replace(state) != Some(state);
        if changed {
            self.send(SessionEvent::State(state));
        }
    }

    fn send(&self, event: SessionEvent) {
        // No listener is no error.
        self.events.send(event).ok();
    }

    /// Ends the session because something in it went wrong; its owner collects the threads.
    pub(crate) fn fail(&self, failure: Failure) {
        tracing::error!(session = self.id, code = failure.code, "{}", failure.message);
        self.stop(StopReason::Failed { code: failure.code, message: failure.message });
    }

    fn stop(&self, reason: StopReason) {
        {
            let mut control = self.control.lock();
            if control.stopped.is_some() {
                return;
            }
            control.stopped = Some(reason.clone());
        }
        for node in &self.nodes {
            node.stop();
        }
        for sink in &self.sinks {
            sink.end();
        }
        for record in &self.records {
            record.end();
        }
        self.send(SessionEvent::State(SessionState::Stopping));
        self.send(SessionEvent::Stopped(reason));
    }
}

#[cfg(test)]
mod tests;
