//! Loading and unloading, one at a time.
//!
//! Clients describe the whole set of models that they want. One worker thread makes it so: what is wanted already stays,
//! what only has another name is renamed, what is not wanted goes — after its sessions let go — and what is missing is loaded.
//! A newer wish replaces one that waits.
//!
//! One model may be loaded *ahead* of any wish, on a thread of its own. Nobody sees it: the status stays what the wishes made
//! it. The first wish takes it if it asks for just that, and otherwise throws it away without waiting for it.

use parking_lot::{Condvar, Mutex, MutexGuard};
use scope_pipelines::{LoadError, LoadParams, LoadedPipeline, MemoryEstimate, Registry};
use serde::Serialize;
use serde_json::{Map, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Most models loaded at once.
const MAX_INSTANCES: usize = 16;
/// How long unloading waits for sessions to let go before it says so in the log. It goes on waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// One model that a client wants.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadRequest {
    /// The name it is used under: a graph node's id.
    pub node_id: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// Its parameters.
    pub params: LoadParams,
}

/// Why a wish was refused at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadRejected {
    /// No such pipeline.
    #[error("the pipeline {0:?} does not exist here; GET /api/v1/pipelines/schemas lists those that do")]
    UnknownPipeline(String),
    /// Two models under one name.
    #[error("the node id {0:?} is used twice; ids must be unique")]
    DuplicateNode(String),
    /// Too many.
    #[error("{0} models were asked for; at most {MAX_INSTANCES} can be loaded at once")]
    TooMany(usize),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// Why a model cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Not loaded, and not being loaded.
    #[error("Pipeline not loaded. Please load pipeline first. ({0})")]
    NotLoaded(String),
    /// It will be there soon.
    #[error("Pipeline not loaded. Please load pipeline first. ({0} is still loading)")]
    Loading(String),
}

/// The aggregate state that clients poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusKind {
    /// Nothing is loaded or wanted.
    #[default]
    NotLoaded,
    /// Work is going on.
    Loading,
    /// Everything wanted is there.
    Loaded,
    /// The last wish failed.
    Error,
}

/// The status document.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadStatus {
    /// Aggregate state.
    pub status: StatusKind,
    /// The first model's pipeline.
    pub pipeline_id: Option<String>,
    /// The first model's parameters.
    pub load_params: Option<Map<String, Value>>,
    /// LoRA adapters of all models.
    pub loaded_lora_adapters: Option<Vec<Value>>,
    /// What went wrong last; kept until the next wish or until it is cleared.
    pub error: Option<String>,
    /// Its machine-readable code.
    pub error_code: Option<String>,
    /// What is going on, in a few words.
    pub loading_stage: Option<String>,
    /// What will probably go wrong: memory that is short. Kept until the next wish.
    pub warning: Option<String>,
    /// Whether the set puts out pictures.
    pub produces_video: bool,
    /// Whether the set puts out sound.
    pub produces_audio: bool,
    /// Node id and pipeline id of every model.
    pub pipelines: Vec<LoadedNode>,
}

/// One entry of [`LoadStatus::pipelines`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadedNode {
    /// The name it is used under.
    pub node_id: String,
    /// The pipeline.
    pub pipeline_id: String,
}

struct Instance {
    request: LoadRequest,
    model: Arc<dyn LoadedPipeline>,
    revoked: Arc<AtomicBool>,
    leases: Arc<()>,
}

impl Instance {
    fn in_use(&self) -> usize {
        Arc::strong_count(&self.leases) - 1
    }
}

/// A model that nobody has asked for yet.
#[derive(Default)]
enum Ahead {
    #[default]
    Nothing,
    Loading(LoadRequest),
    Ready(LoadRequest, Arc<dyn LoadedPipeline>),
}

impl Ahead {
    const fn request(&self) -> Option<&LoadRequest> {
        match self {
            Self::Nothing => None,
            Self::Loading(request) | Self::Ready(request, _) => Some(request),
        }
    }
}

#[derive(Default)]
struct Inner {
    instances: Vec<Instance>,
    /// The newest wish, until the worker takes it.
    wanted: Option<Vec<LoadRequest>>,
    working: bool,
    stage: Option<String>,
    warning: Option<String>,
    error: Option<(String, String)>,
    failed: bool,
    stopping: bool,
    ahead: Ahead,
}

/// Memory that this machine could give a model now, in bytes, where that can be told.
pub type FreeMemory = fn() -> Option<u64>;

struct Shared {
    registry: Registry,
    free_memory: FreeMemory,
    inner: Mutex<Inner>,
    wake: Condvar,
    changes: watch::Sender<u64>,
}

/// Owns all loaded models.
pub struct ModelManager {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
    ahead: Mutex<Option<JoinHandle<()>>>,
}

/// The right to use a model. While it exists the model stays in memory; [`Lease::is_revoked`] asks for it back.
pub struct Lease {
    // Dropped first: where the claim is gone, the model is not held either.
    model: Arc<dyn LoadedPipeline>,
    params: LoadParams,
    revoked: Arc<AtomicBool>,
    _claim: Claim,
}

/// Counts among an instance's leases, and tells the manager when it ends.
struct Claim {
    leases: Option<Arc<()>>,
    shared: Arc<Shared>,
}

impl Lease {
    /// The model.
    pub fn model(&self) -> &dyn LoadedPipeline {
        &*self.model
    }

    /// What it was loaded with.
    pub const fn params(&self) -> &LoadParams {
        &self.params
    }

    /// Whether the manager wants it back: drop it, and everything made from it, at the next chunk boundary.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.leases.take();
        // Taking the lock orders this with a worker that is about to wait.
        drop(self.shared.inner.lock());
        self.shared.wake.notify_all();
    }
}

impl ModelManager {
    /// A manager without models, and its worker thread. It does not know how much memory there is.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(registry: Registry) -> std::io::Result<Arc<Self>> {
        Self::with_memory(registry, || None)
    }

    /// A manager that looks at the memory before it loads a model: one whose weights do not fit is refused, and one that
    /// may run out of memory gets a warning.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn with_memory(registry: Registry, free_memory: FreeMemory) -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            registry,
            free_memory,
            inner: Mutex::default(),
            wake: Condvar::new(),
            changes: watch::Sender::new(0),
        });
        let for_worker = Arc::clone(&shared);
        let worker = std::thread::Builder::new()
            .name("models".into())
            .spawn(move || for_worker.work_until_stopped())?;
        Ok(Arc::new(Self { shared, worker: Mutex::new(Some(worker)), ahead: Mutex::default() }))
    }

    /// The pipelines that exist.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Asks for exactly this set. The status is `loading` when this returns, unless everything is there already.
    ///
    /// # Errors
    /// [`LoadRejected`]; nothing has changed then.
    pub fn load(&self, wanted: Vec<LoadRequest>) -> Result<(), LoadRejected> {
        if wanted.len() > MAX_INSTANCES {
            return Err(LoadRejected::TooMany(wanted.len()));
        }
        for (index, request) in wanted.iter().enumerate() {
            if self.shared.registry.get(&request.pipeline_id).is_none() {
                return Err(LoadRejected::UnknownPipeline(request.pipeline_id.clone()));
            }
            if wanted[..index].iter().any(|earlier| earlier.node_id == request.node_id) {
                return Err(LoadRejected::DuplicateNode(request.node_id.clone()));
            }
        }
        let mut inner = self.shared.inner.lock();
        if inner.stopping {
            return Err(LoadRejected::Stopping);
        }
        inner.error = None;
        inner.warning = None;
        inner.failed = false;
        let settled = !inner.working && inner.wanted.is_none() && inner.holds_exactly(&wanted);
        if !settled {
            inner.stage = Some("Initializing pipeline…".into());
            inner.wanted = Some(wanted);
        }
        drop(inner);
        self.shared.notify();
        Ok(())
    }

    /// Loads a model before anybody asks for it, so that the first wish finds it there. Does nothing once there was a wish.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn load_ahead(&self, request: LoadRequest) -> std::io::Result<()> {
        {
            let mut inner = self.shared.inner.lock();
            let begun =
                inner.stopping || inner.working || inner.wanted.is_some() || !inner.instances.is_empty();
            if begun || inner.ahead.request().is_some() {
                return Ok(());
            }
            inner.ahead = Ahead::Loading(request.clone());
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("models-ahead".into());
        match thread.spawn(move || shared.work_ahead(request)) {
            Ok(thread) => {
                *self.ahead.lock() = Some(thread);
                Ok(())
            }
            Err(error) => {
                self.shared.inner.lock().ahead = Ahead::Nothing;
                Err(error)
            }
        }
    }

    /// Asks for some models, or all, to go.
    ///
    /// # Errors
    /// [`LoadRejected::Stopping`].
    pub fn unload(&self, node_ids: Option<&[String]>) -> Result<(), LoadRejected> {
        let keep = {
            let inner = self.shared.inner.lock();
            let current = inner
                .wanted
                .clone()
                .unwrap_or_else(|| inner.instances.iter().map(|instance| instance.request.clone()).collect());
            current
                .into_iter()
                .filter(|request| node_ids.is_some_and(|ids| !ids.contains(&request.node_id)))
                .collect()
        };
        self.load(keep)
    }

    /// The status document.
    pub fn status(&self) -> LoadStatus {
        let inner = self.shared.inner.lock();
        let busy = inner.working || inner.wanted.is_some();
        let status = if busy {
            StatusKind::Loading
        } else if inner.failed {
            StatusKind::Error
        } else if inner.instances.is_empty() {
            StatusKind::NotLoaded
        } else {
            StatusKind::Loaded
        };
        let first = inner
            .instances
            .first()
            .map(|instance| &instance.request)
            .or_else(|| inner.wanted.as_ref().and_then(|wanted| wanted.first()));
        let schemas: Vec<_> = inner
            .instances
            .iter()
            .filter_map(|instance| self.shared.registry.get(&instance.request.pipeline_id))
            .map(|pipeline| pipeline.schema())
            .collect();
        let mut adapters: Vec<Value> = Vec::new();
        for adapter in inner.instances.iter().flat_map(|instance| instance.model.loaded_lora_adapters()) {
            if !adapters.iter().any(|known| known.get("path") == adapter.get("path")) {
                adapters.push(adapter);
            }
        }
        LoadStatus {
            status,
            pipeline_id: first.map(|request| request.pipeline_id.clone()),
            load_params: first.map(|request| request.params.as_map().clone()),
            loaded_lora_adapters: (!inner.instances.is_empty()).then_some(adapters),
            error: inner.error.as_ref().map(|(_, text)| text.clone()),
            error_code: inner.error.as_ref().map(|(code, _)| code.clone()),
            loading_stage: if busy { inner.stage.clone() } else { None },
            warning: inner.warning.clone(),
            produces_video: schemas.is_empty() || schemas.iter().any(|schema| schema.produces_video),
            produces_audio: schemas.iter().any(|schema| schema.produces_audio),
            pipelines: inner
                .instances
                .iter()
                .map(|instance| LoadedNode {
                    node_id: instance.request.node_id.clone(),
                    pipeline_id: instance.request.pipeline_id.clone(),
                })
                .collect(),
        }
    }

    /// A text for the user when this set will probably not fit into memory. May read the disk.
    pub fn memory_warning(&self, wanted: &[LoadRequest]) -> Option<String> {
        let pipeline = |request: &LoadRequest| self.shared.registry.get(&request.pipeline_id);
        let loaded: Vec<LoadRequest> =
            self.shared.inner.lock().instances.iter().map(|instance| instance.request.clone()).collect();
        let same = |a: &LoadRequest, b: &LoadRequest| a.pipeline_id == b.pipeline_id && a.params == b.params;
        // What runs on a GPU and what does not have memories of their own.
        let on_gpu = wanted.iter().filter_map(pipeline).find_map(|pipeline| pipeline.free_memory());
        for (gpu, free) in [(true, on_gpu), (false, (self.shared.free_memory)())] {
            let Some(free) = free else { continue };
            let here = |request: &&LoadRequest| {
                on_gpu.is_none() || pipeline(request).is_some_and(|it| it.free_memory().is_some() == gpu)
            };
            let total = |requests: &[LoadRequest], others: &[LoadRequest]| -> u64 {
                let without = requests.iter().filter(|one| !others.iter().any(|other| same(one, other)));
                let needs = without.filter(here).filter_map(|one| pipeline(one)?.estimate(&one.params));
                needs.map(|needed| needed.total()).sum()
            };
            let names: Vec<_> = wanted.iter().filter(here).map(|one| one.pipeline_id.as_str()).collect();
            let needed = MemoryEstimate { weights: total(wanted, &loaded), ..MemoryEstimate::default() };
            let warning = shortage(&names.join(", "), &needed, free + total(&loaded, wanted));
            if warning.is_some() {
                return warning;
            }
        }
        None
    }

    /// Forgets the last error.
    pub fn clear_error(&self) {
        {
            let mut inner = self.shared.inner.lock();
            inner.error = None;
            inner.failed = false;
        }
        self.shared.notify();
    }

    /// Records what went wrong while running, where clients that poll will find it. The models stay loaded.
    pub fn record_error(&self, code: &str, text: &str) {
        self.shared.inner.lock().error = Some((code.into(), text.into()));
        self.shared.notify();
    }

    /// A number that changes whenever the status may have.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Node and pipeline ids of what is loaded, in order.
    pub fn loaded(&self) -> Vec<LoadedNode> {
        self.status().pipelines
    }

    /// Borrows the model of `node_id`, or else any model of the same pipeline.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn lease(&self, node_id: &str, pipeline_id: &str) -> Result<Lease, LeaseError> {
        let inner = self.shared.inner.lock();
        let usable = |instance: &&Instance| {
            instance.request.pipeline_id == pipeline_id && !instance.revoked.load(Ordering::Acquire)
        };
        let exact =
            inner.instances.iter().filter(usable).find(|instance| instance.request.node_id == node_id);
        match exact.or_else(|| inner.instances.iter().find(usable)) {
            Some(instance) => Ok(Lease {
                model: Arc::clone(&instance.model),
                params: instance.request.params.clone(),
                revoked: Arc::clone(&instance.revoked),
                _claim: Claim {
                    leases: Some(Arc::clone(&instance.leases)),
                    shared: Arc::clone(&self.shared),
                },
            }),
            None if inner.working || inner.wanted.is_some() => Err(LeaseError::Loading(pipeline_id.into())),
            None => Err(LeaseError::NotLoaded(pipeline_id.into())),
        }
    }

    /// Waits until no work is left, at most `timeout`; whether that was reached.
    pub fn wait_settled(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut inner = self.shared.inner.lock();
        while inner.working || inner.wanted.is_some() {
            if self.shared.wake.wait_until(&mut inner, deadline).timed_out() {
                return !inner.working && inner.wanted.is_none();
            }
        }
        true
    }

    /// Unloads everything and ends the worker. Sessions should have ended before.
    pub fn stop(&self) {
        {
            let mut inner = self.shared.inner.lock();
            inner.stopping = true;
            inner.wanted = None;
            inner.ahead = Ahead::Nothing;
            for instance in &inner.instances {
                instance.revoked.store(true, Ordering::Release);
            }
        }
        self.shared.notify();
        for thread in [&self.worker, &self.ahead] {
            if let Some(thread) = thread.lock().take() {
                // A panic has been logged by the panic hook; there is nothing left to do.
                thread.join().ok();
            }
        }
        self.shared.inner.lock().instances.clear();
    }
}

impl Drop for ModelManager {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn holds_exactly(&self, wanted: &[LoadRequest]) -> bool {
        self.instances.len() == wanted.len()
            && wanted.iter().all(|request| self.instances.iter().any(|instance| &instance.request == request))
    }
}

impl Shared {
    fn notify(&self) {
        self.wake.notify_all();
        self.changes.send_modify(|count| *count += 1);
    }

    fn set_stage(&self, stage: &str) {
        self.inner.lock().stage = Some(stage.to_owned());
        self.notify();
    }

    fn work_until_stopped(&self) {
        loop {
            let wanted = {
                let mut inner = self.inner.lock();
                loop {
                    if inner.stopping {
                        return;
                    }
                    if let Some(wanted) = inner.wanted.take() {
                        inner.working = true;
                        break wanted;
                    }
                    self.wake.wait(&mut inner);
                }
            };
            self.reconcile(&wanted);
            self.inner.lock().working = false;
            self.notify();
        }
    }

    fn reconcile(&self, wanted: &[LoadRequest]) {
        self.drop_ahead_unless(wanted);
        if !self.unload_all_but(wanted) {
            return;
        }
        for request in wanted {
            {
                let inner = self.inner.lock();
                // A newer wish replaces what is left of this one.
                if inner.stopping || inner.wanted.is_some() {
                    return;
                }
                if inner.instances.iter().any(|instance| &instance.request == request) {
                    continue;
                }
            }
            match self.load_one(request) {
                Ok(model) => {
                    let mut inner = self.inner.lock();
                    inner.instances.push(Instance {
                        request: request.clone(),
                        model,
                        revoked: Arc::default(),
                        leases: Arc::default(),
                    });
                    // Clients name their main model by its place in the list they sent.
                    inner
                        .instances
                        .sort_by_key(|instance| wanted.iter().position(|r| *r == instance.request));
                }
                Err(error) => {
                    tracing::error!(pipeline = request.pipeline_id, "{error}");
                    let mut inner = self.inner.lock();
                    inner.error = Some((error.code().into(), error.to_string()));
                    inner.failed = true;
                }
            }
        }
    }

    /// Renames what fits, revokes the rest and waits until it is free. False when the server stops meanwhile.
    fn unload_all_but(&self, wanted: &[LoadRequest]) -> bool {
        let mut inner = self.inner.lock();
        let mut kept: Vec<LoadRequest> = Vec::new();
        let mut unclaimed: Vec<LoadRequest> = wanted
            .iter()
            .filter(|request| !inner.instances.iter().any(|instance| &instance.request == *request))
            .cloned()
            .collect();
        for instance in &mut inner.instances {
            if !wanted.contains(&instance.request) {
                let fits = unclaimed.iter().position(|request| {
                    request.pipeline_id == instance.request.pipeline_id
                        && request.params == instance.request.params
                });
                match fits {
                    Some(index) => instance.request = unclaimed.swap_remove(index),
                    None => instance.revoked.store(true, Ordering::Release),
                }
            }
            kept.push(instance.request.clone());
        }
        drop(inner);
        self.notify();
        let asked = Instant::now();
        let mut warned = false;
        let mut inner = self.inner.lock();
        loop {
            let revoked = |instance: &Instance| instance.revoked.load(Ordering::Acquire);
            let free = |instance: &mut Instance| revoked(instance) && instance.in_use() == 0;
            let gone: Vec<Instance> = inner.instances.extract_if(.., free).collect();
            if !gone.is_empty() {
                // Giving gigabytes back takes a while, in which others may ask for the status.
                MutexGuard::unlocked(&mut inner, || drop(gone));
            }
            if !inner.instances.iter().any(revoked) {
                return true;
            }
            if inner.stopping {
                return false;
            }
            if !warned && asked.elapsed() > PATIENCE {
                warned = true;
                tracing::warn!("a session has not let go of its pipeline for {PATIENCE:?}; still waiting");
            }
            self.wake.wait_for(&mut inner, Duration::from_millis(500));
        }
    }

    /// Frees what was loaded ahead, unless it is wanted now. One that is still being loaded is freed when it is there.
    fn drop_ahead_unless(&self, wanted: &[LoadRequest]) {
        let unwanted = {
            let mut inner = self.inner.lock();
            match inner.ahead.request() {
                Some(ahead) if !wanted.iter().any(|request| self.same_model(request, ahead)) => {
                    std::mem::take(&mut inner.ahead)
                }
                _ => return,
            }
        };
        drop(unwanted);
    }

    /// Whether two requests yield models that differ in nothing: a parameter that is not given has its default.
    fn same_model(&self, a: &LoadRequest, b: &LoadRequest) -> bool {
        let Some(pipeline) = self.registry.get(&a.pipeline_id).filter(|_| a.pipeline_id == b.pipeline_id)
        else {
            return false;
        };
        let schema = pipeline.schema();
        let (a, b) = (a.params.as_map(), b.params.as_map());
        a.keys().chain(b.keys()).all(|key| {
            let default = schema.default_of(key, schema.default_mode);
            a.get(key).or(default) == b.get(key).or(default)
        })
    }

    fn work_ahead(&self, request: LoadRequest) {
        let model = self.load(&request, &|_| {});
        let unwanted = {
            let mut inner = self.inner.lock();
            match (&inner.ahead, model) {
                (Ahead::Loading(_), Ok(model)) => {
                    inner.ahead = Ahead::Ready(request, model);
                    None
                }
                (Ahead::Loading(_), Err(error)) => {
                    // Whoever asks for it gets the error.
                    tracing::warn!(pipeline = request.pipeline_id, "not loaded ahead: {error}");
                    inner.ahead = Ahead::Nothing;
                    None
                }
                (_, model) => model.ok(),
            }
        };
        drop(unwanted);
        // Also when nobody wants it: memory has been freed.
        self.notify();
    }

    /// What was loaded ahead, if this asks for it; waits while it is still being loaded.
    fn take_ahead(&self, request: &LoadRequest) -> Option<Arc<dyn LoadedPipeline>> {
        let mut inner = self.inner.lock();
        loop {
            let ahead = inner.ahead.request()?;
            if inner.stopping || !self.same_model(request, ahead) {
                return None;
            }
            match std::mem::take(&mut inner.ahead) {
                Ahead::Ready(_, model) => return Some(model),
                loading => inner.ahead = loading,
            }
            self.wake.wait(&mut inner);
        }
    }

    fn load_one(&self, request: &LoadRequest) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let name = self.registry.get(&request.pipeline_id).map(|pipeline| &pipeline.schema().name);
        self.set_stage(&format!("Loading {}…", name.unwrap_or(&request.pipeline_id)));
        match self.take_ahead(request) {
            Some(model) => Ok(model),
            None => self.load(request, &|stage| self.set_stage(stage)),
        }
    }

    fn load(
        &self,
        request: &LoadRequest,
        stage: &dyn Fn(&str),
    ) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let id = &request.pipeline_id;
        let failed = |detail: String| LoadError::Failed { pipeline: id.clone(), detail };
        let pipeline = self.registry.get(id).ok_or_else(|| failed("it is no longer registered".into()))?;
        tracing::info!(pipeline = id, node = request.node_id, "loading");
        let free = || pipeline.free_memory().or_else(self.free_memory);
        if let Some((needed, free)) = pipeline.estimate(&request.params).zip(free()) {
            if needed.weights > free {
                let detail = format!(
                    "its weights take {}, and {} are free",
                    gigabytes(needed.weights),
                    gigabytes(free)
                );
                return Err(LoadError::OutOfMemory { pipeline: id.clone(), detail });
            }
            if let Some(warning) = shortage(&pipeline.schema().name, &needed, free) {
                tracing::warn!(pipeline = id, "{warning}");
                self.inner.lock().warning = Some(warning);
            }
        }
        let began = Instant::now();
        let load = || pipeline.load(&request.params, stage);
        let model = catch_unwind(AssertUnwindSafe(load))
            .unwrap_or_else(|panic| Err(failed(format!("it panicked: {}", panic_text(&*panic)))))?;
        let seconds = began.elapsed().as_secs_f32();
        tracing::info!(pipeline = id, "loaded in {seconds:.2} s");
        Ok(model)
    }
}

/// A text for the user when this much memory may be too little.
fn shortage(name: &str, needed: &MemoryEstimate, free: u64) -> Option<String> {
    (needed.total() > free).then(|| {
        format!(
            "{name} needs about {} of memory with these settings, and {} are free: it may be stopped while it runs. \
             Use a smaller size, or unload another pipeline",
            gigabytes(needed.total()),
            gigabytes(free)
        )
    })
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// The message of a caught panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests;
