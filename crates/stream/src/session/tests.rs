use super::*;
use crate::models::LoadRequest;
use crate::recording::{Keep, recover_recordings};
use scope_frame::PixelFormat;
use scope_pipelines::{
    Chunk, ChunkReport, Generator, LoadError, LoadParams, LoadedPipeline, Needs, NoAssets, Output, Pipeline,
    Registry, Sampling,
};
use std::time::Instant;

/// A pipeline that does what its `do` parameter says: fail, panic, run out of memory, pass frames on
/// in the format that is asked for; otherwise it passes them on as they are.
struct Moody(PipelineSchema);

impl Pipeline for Moody {
    fn schema(&self) -> &PipelineSchema {
        &self.0
    }
    fn load(&self, _: &LoadParams, _: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        Ok(Arc::new(MoodyLoaded))
    }
}

struct MoodyLoaded;

impl LoadedPipeline for MoodyLoaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        Ok(Box::new(MoodyRun))
    }
}

struct MoodyRun;

impl Generator for MoodyRun {
    fn needs(&self, _: InputMode) -> Needs {
        Needs::Frames { count: 1, sampling: Sampling::Consecutive }
    }
    fn generate(
        &mut self,
        mut chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        let todo = chunk.parameters.get::<String>("do");
        match todo.as_deref() {
            Some("fail") => return Err(GenerateError::Failed("out of sorts".into())),
            Some("oom") => return Err(GenerateError::OutOfMemory("3 GB for the cache".into())),
            Some("panic") => panic!("moody"),
            _ => {}
        }
        for frame in chunk.inputs.remove("video").unwrap_or_default() {
            let image = match chunk.format {
                _ if todo.as_deref() != Some("as asked") => frame.image,
                PixelFormat::I420 => frame.image.to_i420(),
                PixelFormat::Rgb8 => frame.image.to_rgb8(),
            };
            emit(Output::Frame { port: "video".into(), image, captured_at: Some(frame.captured_at) });
        }
        Ok(ChunkReport::default())
    }
    fn reset(&mut self) {}
}

fn models(pipelines: &[&str]) -> Arc<ModelManager> {
    let mut registry = Registry::builtin();
    registry.register(Arc::new(Moody(PipelineSchema::new("moody", "Moody", "Moody")))).unwrap();
    let models = ModelManager::new(registry).unwrap();
    load(&models, pipelines, &Map::new());
    models
}

fn load(models: &ModelManager, pipelines: &[&str], params: &Map<String, Value>) {
    let request = |id: &&str| LoadRequest {
        node_id: (*id).into(),
        pipeline_id: (*id).into(),
        params: LoadParams::new(params.clone()),
    };
    models.load(pipelines.iter().map(request).collect()).unwrap();
    assert!(models.wait_settled(Duration::from_secs(20)));
}

fn start(models: &Arc<ModelManager>, pipelines: &[&str], mode: InputMode) -> Arc<Session> {
    let graph = Graph::linear(pipelines.iter().copied(), true, "video");
    start_graph(models, graph, mode).unwrap()
}

fn start_graph(
    models: &Arc<ModelManager>,
    graph: Graph,
    mode: InputMode,
) -> Result<Arc<Session>, SessionError> {
    let spec = SessionSpec {
        score: None,
        id: "s".into(),
        kind: SessionKind::Headless,
        graph,
        mode,
        parameters: Map::new(),
        assets: Arc::new(NoAssets),
        recordings_dir: std::env::temp_dir(),
    };
    Session::start(spec, models)
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn picture() -> Image {
    Image::solid(64, 64, [1, 2, 3]).unwrap()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn next(viewer: &Subscription) -> Frame {
    viewer.recv_timeout(Duration::from_secs(20)).expect("no frame came")
}

#[test]
fn a_frame_passes_through_with_its_capture_time() {
    let models = models(&["passthrough"]);
    let session = start(&models, &["passthrough"], InputMode::Video);
    let viewer = session.subscribe(0, 4).unwrap();
    let captured = Timestamp::now();
    session.push_input(0, picture(), captured);
    let frame = next(&viewer);
    assert_eq!(frame.captured_at, captured);
    assert_eq!(frame.image, picture());
    wait_for("live", || session.state() == SessionState::Live);
}

#[test]
fn pipelines_are_asked_for_i420_where_only_encoders_get_their_pictures() {
    for (chain, format) in
        [(&["moody"][..], PixelFormat::I420), (&["moody", "passthrough"], PixelFormat::Rgb8)]
    {
        let models = models(chain);
        let session = start(&models, chain, InputMode::Video);
        session.apply(map(json!({"do": "as asked"})), false);
        let viewer = session.subscribe(0, 4).unwrap();
        let given = if format == PixelFormat::I420 { picture() } else { picture().to_i420() };
        session.push_input(0, given, Timestamp::now());
        assert_eq!(next(&viewer).image.format(), format, "{chain:?}");
    }
}

#[test]
fn generated_frames_run_freely_and_name_the_update_they_show() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    let viewer = session.subscribe(0, 64).unwrap();
    next(&viewer);
    let applied = session.apply(map(json!({"prompts": ["a cow"], "_id": "t"})), false);
    assert_eq!(applied.id.as_deref(), Some("t"));
    let revisions: Vec<_> = (0..20).map(|_| next(&viewer).revision).collect();
    assert!(revisions.is_sorted());
    assert_eq!(*revisions.last().unwrap(), applied.revision);
}

#[test]
fn free_runners_are_held_back_by_what_is_shown() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    let viewer = session.subscribe(0, 64).unwrap();
    for _ in 0..12 {
        next(&viewer);
    }
    let made = session.core.nodes[0].stats.lock().generated.total();
    let shown = session.core.sinks[0].rate(Timestamp::now()).1;
    assert!(made <= shown + 6, "{made} made, {shown} shown");
}

#[test]
fn a_chain_of_pipelines_keeps_every_frame_of_a_burst() {
    let models = models(&["testcard", "passthrough"]);
    let session = start(&models, &["testcard", "passthrough"], InputMode::Text);
    let viewer = session.subscribe(0, 64).unwrap();
    for _ in 0..9 {
        next(&viewer);
    }
    assert_eq!(session.metrics().drops.compute, 0);
}

#[test]
fn a_node_starts_with_parameters_of_its_own() {
    let models = models(&["color"]);
    let mut graph = Graph::linear(["color", "color"], true, "video");
    let second = graph.nodes.iter_mut().find(|node| node.id == "color_1").unwrap();
    second.params = Some(map(json!({"hue": 90.0, "contrast": 5.0})));
    let session = start_graph(&models, graph, InputMode::Video).unwrap();
    let told = |index: usize| session.core.nodes[index].parameters.lock().sticky().clone();
    assert_eq!(told(0), Map::new());
    assert_eq!(told(1).get("hue"), Some(&json!(90.0)));
    // What is out of range is refused, like in any other message.
    assert_ne!(told(1).get("contrast"), Some(&json!(5.0)));
}

#[test]
fn input_that_comes_too_fast_is_dropped_and_counted_and_latency_stays_bounded() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Video);
    session.apply(map(json!({"delay_ms": 40})), false);
    let viewer = session.subscribe(0, 256).unwrap();
    for _ in 0..300 {
        session.push_input(0, picture(), Timestamp::now());
        std::thread::sleep(Duration::from_millis(1));
    }
    let metrics = session.metrics();
    assert!(metrics.drops.compute > 100, "{:?}", metrics.drops);
    assert!(metrics.queue_frames < 64, "{}", metrics.queue_frames);
    let mut oldest = Duration::ZERO;
    while let Some(frame) = viewer.recv_timeout(Duration::ZERO) {
        oldest = oldest.max(Timestamp::now().since(frame.captured_at));
    }
    assert!(oldest < Duration::from_secs(5), "{oldest:?}");
}

#[test]
fn a_panic_ends_its_session_and_no_other() {
    let models = models(&["moody"]);
    let (sick, well) =
        (start(&models, &["moody"], InputMode::Video), start(&models, &["moody"], InputMode::Video));
    let mut events = sick.events();
    sick.apply(map(json!({"do": "panic"})), false);
    sick.push_input(0, picture(), Timestamp::now());
    wait_for("the end", || sick.stop_reason().is_some());
    let Some(StopReason::Failed { code, message }) = sick.stop_reason() else { panic!("no failure") };
    assert_eq!(code, "pipeline_panicked");
    assert!(message.contains("moody"), "{message}");
    let told = std::iter::from_fn(|| events.try_recv().ok()).last();
    assert!(matches!(told, Some(SessionEvent::Stopped(StopReason::Failed { .. }))), "{told:?}");

    let viewer = well.subscribe(0, 4).unwrap();
    well.push_input(0, picture(), Timestamp::now());
    next(&viewer);
    assert!(well.stop_reason().is_none());
}

#[test]
fn running_out_of_memory_ends_the_session_with_advice_and_a_lasting_error() {
    let models = models(&["moody"]);
    let session = start(&models, &["moody"], InputMode::Video);
    session.apply(map(json!({"do": "oom"})), false);
    session.push_input(0, picture(), Timestamp::now());
    wait_for("the end", || session.stop_reason().is_some());
    let status = models.status();
    assert_eq!(status.error_code.as_deref(), Some("out_of_memory"));
    assert!(status.error.unwrap().contains("smaller size"));
}

#[test]
fn a_failing_chunk_is_reported_and_the_next_one_works() {
    let models = models(&["moody"]);
    let session = start(&models, &["moody"], InputMode::Video);
    let (mut events, viewer) = (session.events(), session.subscribe(0, 4).unwrap());
    session.apply(map(json!({"do": "fail"})), false);
    session.push_input(0, picture(), Timestamp::now());
    wait_for("a report", || matches!(events.try_recv(), Ok(SessionEvent::Error { .. })));
    session.apply(map(json!({"do": "work"})), false);
    wait_for("recovery", || {
        session.push_input(0, picture(), Timestamp::now());
        viewer.recv_timeout(Duration::from_millis(20)).is_some()
    });
}

#[test]
fn a_session_gives_its_model_up_and_resumes_with_the_new_one() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    let viewer = session.subscribe(0, 256).unwrap();
    assert_eq!(next(&viewer).image.width(), 512);
    load(&models, &["testcard"], &map(json!({"width": 256, "height": 256})));
    wait_for("the new size", || next(&viewer).image.width() == 256);
    assert!(session.stop_reason().is_none());
}

#[test]
fn unloading_under_a_session_ends_it_with_the_reason() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    models.unload(None).unwrap();
    assert!(models.wait_settled(Duration::from_secs(20)));
    wait_for("the end", || session.stop_reason().is_some());
    let Some(StopReason::Failed { code, .. }) = session.stop_reason() else { panic!("no failure") };
    assert_eq!(code, "pipeline_unloaded");
}

#[test]
fn pausing_holds_the_picture() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    let viewer = session.subscribe(0, 256).unwrap();
    next(&viewer);
    session.apply(map(json!({"paused": true})), false);
    assert_eq!(session.state(), SessionState::Paused);
    std::thread::sleep(Duration::from_millis(50));
    while viewer.recv_timeout(Duration::ZERO).is_some() {}
    assert!(viewer.recv_timeout(Duration::from_millis(500)).is_none(), "a frame came while paused");
    session.apply(map(json!({"paused": false})), false);
    next(&viewer);
}

#[test]
fn parameters_reach_the_node_they_name_only() {
    let models = models(&["testcard", "moody"]);
    let session = start(&models, &["testcard", "moody"], InputMode::Text);
    session.apply(map(json!({"node_id": "moody", "glow": 1})), false);
    let sticky = |index: usize| session.core.nodes[index].parameters.lock().sticky().clone();
    assert!(sticky(1).contains_key("glow") && !sticky(0).contains_key("glow"));
}

#[test]
fn changes_by_others_are_announced() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    let mut events = session.events();
    session.apply(map(json!({"noise_scale": 0.25})), true);
    let told = std::iter::from_fn(|| events.try_recv().ok())
        .find_map(|event| match event {
            SessionEvent::ParametersUpdated(parameters) => Some(Value::Object(parameters)),
            _ => None,
        })
        .expect("not announced");
    assert_eq!(told, json!({"noise_scale": 0.25}));
}

#[test]
fn a_graph_without_pipelines_passes_input_on() {
    let models = models(&[]);
    let session = start(&models, &[], InputMode::Video);
    let viewer = session.subscribe(0, 4).unwrap();
    session.push_input(0, picture(), Timestamp::now());
    next(&viewer);
}

#[test]
fn a_pipeline_that_is_not_loaded_is_named() {
    let models = models(&[]);
    let graph = Graph::linear(["testcard"], true, "video");
    let error = start_graph(&models, graph, InputMode::Text).err().unwrap();
    assert!(error.to_string().contains("Pipeline not loaded"), "{error}");
}

#[test]
fn quantised_changes_are_scheduled_and_then_applied() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    let mut events = session.events();
    let beat = json!({"bpm": 240.0, "beat_phase": 0.1, "beat_count": 0, "quantize_mode": "beat"});
    session.apply(map(beat), false);
    session.apply(map(json!({"_quantized": true, "noise_scale": 0.125})), false);
    assert_ne!(session.parameters().get("noise_scale"), Some(&json!(0.125)));
    wait_for("the beat", || session.parameters().get("noise_scale") == Some(&json!(0.125)));
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(told.iter().any(|event| matches!(event, SessionEvent::ChangeScheduled(_))), "{told:?}");
}

#[test]
fn a_quantised_change_acts_once_and_on_the_node_that_it_names() {
    let models = models(&["testcard"]);
    let graph = serde_json::from_value(json!({
        "nodes": [
            {"id": "a", "type": "pipeline", "pipeline_id": "testcard"},
            {"id": "b", "type": "pipeline", "pipeline_id": "testcard"},
            {"id": "out", "type": "sink"},
            {"id": "other", "type": "sink"},
        ],
        "edges": [{"from": "a", "to_node": "out"}, {"from": "b", "to_node": "other"}],
    }));
    let session = start_graph(&models, graph.unwrap(), InputMode::Text).unwrap();
    let viewer = session.subscribe(0, 256).unwrap();
    let noise =
        |index: usize| session.core.nodes[index].parameters.lock().sticky().get("noise_scale").cloned();
    let beat = json!({"bpm": 240.0, "beat_phase": 0.1, "beat_count": 0, "quantize_mode": "beat"});
    session.apply(map(beat), false);
    let change = json!({"_quantized": true, "node_id": "a", "noise_scale": 0.125, "reset_cache": true});
    let before = next(&viewer).epoch;
    session.apply(map(change), false);
    wait_for("the beat", || noise(0) == Some(json!(0.125)));
    assert_ne!(noise(1), Some(json!(0.125)));
    let last = (0..12).map(|_| next(&viewer).epoch).max();
    assert_eq!(last, Some(before + 1), "one change, one reset");
}

#[test]
fn stopping_ends_all_threads_and_frees_the_model() {
    let models = models(&["testcard"]);
    for _ in 0..20 {
        let session = start(&models, &["testcard"], InputMode::Text);
        session.stop(StopReason::Requested);
        session.stop(StopReason::Requested);
        assert_eq!(session.state(), SessionState::Stopping);
    }
    models.unload(None).unwrap();
    assert!(models.wait_settled(Duration::from_secs(5)));
}

#[test]
fn a_recording_can_start_and_stop_at_any_time_and_lives_as_long_as_its_session() {
    let models = models(&["testcard"]);
    let session = start(&models, &["testcard"], InputMode::Text);
    let viewer = session.subscribe(0, 64).unwrap();
    next(&viewer);
    let bus = session.recording_bus(None).unwrap();
    assert!(session.recordings().finish(None).unwrap().is_none());
    assert!(session.recordings().start(None, bus, None).unwrap());
    assert!(!session.recordings().start(None, bus, None).unwrap(), "started twice");
    assert!(session.metrics().recording);
    for _ in 0..10 {
        next(&viewer);
    }
    let path = session.recordings().finish(None).unwrap().expect("no file");
    let mut played = scope_media::file::FileSource::open(&path).unwrap();
    let mut frames = 0;
    while played.next_frame().unwrap().is_some() {
        frames += 1;
    }
    assert!(frames >= 8, "{frames} frames recorded");
    drop(session);
    assert!(!path.exists(), "the file outlived its session");
}

#[test]
fn a_kept_recording_outlives_its_session_and_a_killed_server() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { folder: dir.path().join("kept"), name: "show".into() };
    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(&keep.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    };
    let models = models(&["testcard"]);
    for names in [vec!["show.mp4"], vec!["show-1.mp4", "show.mp4"]] {
        let session = start(&models, &["testcard"], InputMode::Text);
        let viewer = session.subscribe(0, 64).unwrap();
        next(&viewer);
        let bus = session.recording_bus(None).unwrap();
        assert!(session.recordings().start(None, bus, Some(keep.clone())).unwrap());
        assert_eq!(session.recordings().kept(None), Some(keep.clone()));
        let writing = keep.folder.join(files().first().expect("nothing is written"));
        assert!(writing.file_name().unwrap().to_str().unwrap().starts_with('.'), "{writing:?}");
        for _ in 0..5 {
            next(&viewer);
        }
        // Nobody stops it: its session just ends.
        drop(session);
        assert_eq!(files(), names);
    }
    assert!(scope_media::file::FileSource::open(keep.folder.join("show-1.mp4")).is_ok());

    std::fs::rename(keep.folder.join("show.mp4"), keep.folder.join(".recording-s_0.mp4")).unwrap();
    std::fs::write(keep.folder.join(".recording-s_1.mp4"), "").unwrap();
    assert_eq!(recover_recordings(&keep.folder).unwrap(), 1);
    assert_eq!(files(), ["recovered.mp4", "show-1.mp4"]);
    assert_eq!(recover_recordings(&dir.path().join("missing")).unwrap(), 0);
}

#[test]
fn a_file_is_played_over_and_over() {
    struct Folder(std::path::PathBuf);
    impl AssetLoader for Folder {
        fn image(&self, _: &str) -> Result<Image, String> {
            Err("no pictures".into())
        }
        fn resolve(&self, path: &str) -> Result<std::path::PathBuf, String> {
            Ok(self.0.join(path))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let recorder =
        scope_media::record::Recorder::start(dir.path().join("clip.mp4"), Default::default()).unwrap();
    for n in 0..6 {
        recorder.push(Frame::new(picture(), Timestamp::from_micros(1_000_000 + n * 40_000)));
        std::thread::sleep(Duration::from_millis(10));
    }
    recorder.stop().unwrap();
    let models = models(&["passthrough"]);
    let graph = serde_json::from_value(json!({
        "nodes": [
            {"id": "file", "type": "source", "source_mode": "video_file", "source_name": "clip.mp4"},
            {"id": "p", "type": "pipeline", "pipeline_id": "passthrough"},
            {"id": "out", "type": "sink"},
        ],
        "edges": [{"from": "file", "to_node": "p"}, {"from": "p", "to_node": "out"}],
    }));
    let spec = SessionSpec {
        score: None,
        id: "s".into(),
        kind: SessionKind::Headless,
        graph: graph.unwrap(),
        mode: InputMode::Video,
        parameters: Map::new(),
        assets: Arc::new(Folder(dir.path().to_owned())),
        recordings_dir: dir.path().join("recordings"),
    };
    let session = Session::start(spec, &models).unwrap();
    let viewer = session.subscribe(0, 64).unwrap();
    let stamps: Vec<_> = (0..14).map(|_| next(&viewer).captured_at).collect();
    assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
}

#[test]
fn a_slow_pipeline_makes_less_effort_and_says_so_unless_that_is_switched_off() {
    let models = models(&["testcard"]);
    let graph = || Graph::linear(["testcard"], false, "video");
    let effort = |session: &Session| session.metrics().effort;

    let session = start_graph(&models, graph(), InputMode::Text).unwrap();
    let mut events = session.events();
    session.apply(map(json!({"delay_ms": 300})), false);
    wait_for("less effort", || effort(&session).is_some_and(|effort| effort.level == 1));
    let warned = std::iter::from_fn(|| events.try_recv().ok()).find_map(|event| match event {
        SessionEvent::Warning { code, message } => Some((code, message)),
        _ => None,
    });
    let (code, message) = warned.expect("nobody was told");
    assert_eq!(code, "quality_reduced");
    assert!(message.contains("half of the delay"), "{message}");
    session.apply(map(json!({"adaptive_quality": false})), false);
    wait_for("all effort", || effort(&session).is_none());
}
