use super::*;
use scope_pipelines::{Generator, Pipeline, PipelineSchema};
use serde_json::json;

fn request(node_id: &str, pipeline_id: &str, params: Value) -> LoadRequest {
    let Value::Object(params) = params else { panic!() };
    LoadRequest { node_id: node_id.into(), pipeline_id: pipeline_id.into(), params: LoadParams::new(params) }
}

fn manager() -> Arc<ModelManager> {
    ModelManager::new(Registry::builtin()).unwrap()
}

fn settle(manager: &ModelManager) -> LoadStatus {
    assert!(manager.wait_settled(Duration::from_secs(20)));
    manager.status()
}

#[test]
fn the_status_is_loading_as_soon_as_the_wish_is_made() {
    let manager = manager();
    assert_eq!(manager.status().status, StatusKind::NotLoaded);
    manager.load(vec![request("t", "testcard", json!({}))]).unwrap();
    assert_ne!(manager.status().status, StatusKind::NotLoaded);
    assert_eq!(settle(&manager).status, StatusKind::Loaded);
}

/// Models that count how many of them there are.
struct Counted(PipelineSchema, Arc<()>);

struct One {
    _count: Arc<()>,
}

impl Drop for One {
    fn drop(&mut self) {
        // Weights take their time as well.
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl LoadedPipeline for One {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        Err(LoadError::Failed { pipeline: "counted".into(), detail: "it only counts".into() })
    }
}

impl Pipeline for Counted {
    fn schema(&self) -> &PipelineSchema {
        &self.0
    }

    fn load(&self, _: &LoadParams, _: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        Ok(Arc::new(One { _count: Arc::clone(&self.1) }))
    }
}

#[test]
fn what_counts_as_unloaded_is_in_memory_no_more() {
    let models = Arc::new(());
    let mut registry = Registry::builtin();
    let schema = PipelineSchema::new("counted", "Counted", "Counted");
    registry.register(Arc::new(Counted(schema, Arc::clone(&models)))).unwrap();
    let manager = ModelManager::new(registry).unwrap();
    for _ in 0..50 {
        manager.load(vec![request("c", "counted", json!({}))]).unwrap();
        settle(&manager);
        let lease = manager.lease("c", "counted").unwrap();
        manager.load(Vec::new()).unwrap();
        let session = std::thread::spawn(move || {
            while !lease.is_revoked() {
                std::thread::yield_now();
            }
        });
        assert_eq!(settle(&manager).status, StatusKind::NotLoaded);
        // The registry's and the test's.
        assert_eq!(Arc::strong_count(&models), 2);
        session.join().unwrap();
    }
}

/// A pipeline that says how much memory it would take.
struct Heavy(scope_pipelines::PipelineSchema, MemoryEstimate);

impl scope_pipelines::Pipeline for Heavy {
    fn schema(&self) -> &scope_pipelines::PipelineSchema {
        &self.0
    }

    fn estimate(&self, _: &LoadParams) -> Option<MemoryEstimate> {
        Some(self.1)
    }

    fn load(&self, _: &LoadParams, _: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        Ok(Arc::new(Nothing))
    }
}

struct Nothing;

impl LoadedPipeline for Nothing {
    fn start(&self) -> Result<Box<dyn scope_pipelines::Generator>, LoadError> {
        Err(LoadError::Failed { pipeline: "heavy".into(), detail: "it does nothing".into() })
    }
}

#[test]
fn a_model_that_does_not_fit_is_refused_and_one_that_may_not_gets_a_warning() {
    for (weights, cache, refused, warned) in [(1, 1, false, false), (5, 6, false, true), (11, 0, true, true)]
    {
        let mut registry = Registry::builtin();
        let schema = scope_pipelines::PipelineSchema::new("heavy", "Heavy", "Heavy");
        let estimate = MemoryEstimate {
            weights: weights * 1_000_000_000,
            cache: cache * 1_000_000_000,
            ..MemoryEstimate::default()
        };
        registry.register(Arc::new(Heavy(schema, estimate))).unwrap();
        let manager = ModelManager::with_memory(registry, || Some(10_000_000_000)).unwrap();
        let wish = vec![request("h", "heavy", json!({}))];
        assert_eq!(manager.memory_warning(&wish).is_some(), warned);
        manager.load(wish.clone()).unwrap();
        let status = settle(&manager);
        if refused {
            assert_eq!(status.error_code.as_deref(), Some("out_of_memory"));
            assert!(status.error.unwrap().contains("11.0 GB"));
        } else {
            assert_eq!(status.status, StatusKind::Loaded);
            assert_eq!(status.warning.is_some(), warned);
            // What is loaded already needs nothing more.
            assert_eq!(manager.memory_warning(&wish), None);
        }
        manager.load(Vec::new()).unwrap();
        assert_eq!(settle(&manager).warning, None);
    }
}

#[test]
fn a_failed_load_leaves_a_sticky_error_until_the_next_wish() {
    let manager = manager();
    manager.load(vec![request("t", "testcard", json!({"width": 7}))]).unwrap();
    for _ in 0..3 {
        let status = settle(&manager);
        assert_eq!(status.status, StatusKind::Error);
        assert_eq!(status.error_code.as_deref(), Some("invalid_parameters"));
    }
    manager.load(vec![request("t", "testcard", json!({}))]).unwrap();
    let status = settle(&manager);
    assert_eq!((status.status, status.error), (StatusKind::Loaded, None));
}

#[test]
fn one_failure_does_not_unload_the_others() {
    let manager = manager();
    let good = request("p", "passthrough", json!({}));
    manager.load(vec![good.clone(), request("t", "testcard", json!({"width": 7}))]).unwrap();
    assert_eq!(settle(&manager).status, StatusKind::Error);
    assert!(manager.lease("p", "passthrough").is_ok());
}

#[test]
fn unknown_pipelines_and_double_names_change_nothing() {
    let manager = manager();
    manager.load(vec![request("p", "passthrough", json!({}))]).unwrap();
    settle(&manager);
    assert!(manager.load(vec![request("x", "nope", json!({}))]).is_err());
    let twice = vec![request("p", "passthrough", json!({})), request("p", "testcard", json!({}))];
    assert_eq!(manager.load(twice), Err(LoadRejected::DuplicateNode("p".into())));
    assert_eq!(settle(&manager).status, StatusKind::Loaded);
}

#[test]
fn the_same_model_under_another_name_is_not_loaded_again() {
    let manager = manager();
    manager.load(vec![request("a", "testcard", json!({}))]).unwrap();
    settle(&manager);
    let lease = manager.lease("a", "testcard").unwrap();
    manager.load(vec![request("b", "testcard", json!({}))]).unwrap();
    let status = settle(&manager);
    assert_eq!(status.pipelines[0].node_id, "b");
    assert!(!lease.is_revoked());
}

#[test]
fn unloading_waits_until_the_last_lease_is_given_back() {
    let manager = manager();
    manager.load(vec![request("a", "testcard", json!({}))]).unwrap();
    settle(&manager);
    let lease = manager.lease("a", "testcard").unwrap();
    manager.unload(None).unwrap();
    assert!(!manager.wait_settled(Duration::from_millis(50)));
    assert!(lease.is_revoked());
    assert!(manager.lease("a", "testcard").is_err(), "a revoked model was lent again");
    drop(lease);
    assert_eq!(settle(&manager).status, StatusKind::NotLoaded);
}

#[test]
fn wishes_made_in_a_hurry_end_with_the_last_one() {
    let manager = manager();
    for round in 0..30 {
        let width = 64 + 16 * (round % 5);
        manager.load(vec![request("a", "testcard", json!({"width": width}))]).unwrap();
    }
    manager.load(vec![request("z", "passthrough", json!({}))]).unwrap();
    let status = settle(&manager);
    assert_eq!(status.pipelines.len(), 1);
    assert_eq!(status.pipeline_id.as_deref(), Some("passthrough"));
}

/// A pipeline whose loads wait for permission, and that counts the models that exist.
struct Slow {
    schema: PipelineSchema,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<(usize, usize)>,
    wake: Condvar,
}

impl Gate {
    fn open(&self) {
        self.state.lock().0 += 1;
        self.wake.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        while state.0 == 0 {
            self.wake.wait(&mut state);
        }
        state.0 -= 1;
        state.1 += 1;
    }

    fn loads(&self) -> usize {
        self.state.lock().1
    }
}

struct Model;

impl LoadedPipeline for Model {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        Err(LoadError::Failed { pipeline: "slow".into(), detail: "it makes nothing".into() })
    }
}

impl Pipeline for Slow {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn load(&self, _: &LoadParams, _: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        self.gate.pass();
        Ok(Arc::new(Model))
    }
}

fn manager_with_slow() -> (Arc<ModelManager>, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let size = json!({"default": 256, "type": "integer"});
    let schema = PipelineSchema::new("slow", "Slow", "SlowConfig").with_property("width", size);
    let mut registry = Registry::builtin();
    registry.register(Arc::new(Slow { schema, gate: Arc::clone(&gate) })).unwrap();
    (ModelManager::new(registry).unwrap(), gate)
}

#[test]
fn a_model_loaded_ahead_is_unseen_until_it_is_asked_for_and_then_not_loaded_again() {
    for open_first in [true, false] {
        let (manager, gate) = manager_with_slow();
        let before = manager.status();
        manager.load_ahead(request("slow", "slow", json!({}))).unwrap();
        assert_eq!(manager.status(), before);
        assert!(manager.lease("slow", "slow").is_err(), "it was lent to somebody who did not ask for it");
        if open_first {
            gate.open();
        }
        // Defaults that are spelt out ask for nothing else.
        manager.load(vec![request("main", "slow", json!({"width": 256}))]).unwrap();
        gate.open();
        let status = settle(&manager);
        assert_eq!((status.status, status.pipelines[0].node_id.as_str()), (StatusKind::Loaded, "main"));
        assert_eq!(gate.loads(), 1);
    }
}

#[test]
fn a_wish_for_something_else_does_not_wait_for_what_is_loaded_ahead() {
    for wish in [request("p", "passthrough", json!({})), request("s", "slow", json!({"width": 512}))] {
        let (manager, gate) = manager_with_slow();
        manager.load_ahead(request("slow", "slow", json!({}))).unwrap();
        manager.load(vec![wish.clone()]).unwrap();
        if wish.pipeline_id == "slow" {
            // Either of the two loads may pass first; neither is the other.
            gate.open();
            gate.open();
        }
        let status = settle(&manager);
        assert_eq!(status.status, StatusKind::Loaded);
        assert_eq!(status.pipelines.len(), 1);
        gate.open();
        manager.stop();
        assert!(manager.shared.inner.lock().ahead.request().is_none(), "what nobody wants stays in memory");
    }
}

#[test]
fn after_a_wish_nothing_is_loaded_ahead() {
    let (manager, gate) = manager_with_slow();
    manager.load(vec![request("p", "passthrough", json!({}))]).unwrap();
    settle(&manager);
    manager.load_ahead(request("slow", "slow", json!({}))).unwrap();
    assert!(manager.shared.inner.lock().ahead.request().is_none());
    assert_eq!(gate.loads(), 0);
}

#[test]
fn any_model_of_the_pipeline_serves_an_unknown_node() {
    let manager = manager();
    manager.load(vec![request("a", "testcard", json!({}))]).unwrap();
    settle(&manager);
    assert!(manager.lease("other", "testcard").is_ok());
    assert_eq!(
        manager.lease("other", "passthrough").err(),
        Some(LeaseError::NotLoaded("passthrough".into()))
    );
}
