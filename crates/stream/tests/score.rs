//! A performance, noted by its session, is made again frame for frame: without a session, and in another one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use parking_lot::{Condvar, Mutex};
use scope_frame::{Frame, PixelFormat};
use scope_pipelines::{InputMode, LoadParams, NoAssets, Registry};
use scope_stream::offline::{Offline, OfflineSpec};
use scope_stream::render::{Render, RenderError, RenderSpec, RenderState};
use scope_stream::score::Score;
use scope_stream::script::Script;
use scope_stream::{
    FrameTap, Graph, Keep, LoadRequest, ModelManager, Session, SessionEvent, SessionKind, SessionSpec,
    StopReason,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const PIPELINE: &str = "testcard";

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// Every frame that was made, in order.
#[derive(Default)]
struct Reel {
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
}

impl FrameTap for Reel {
    fn push(&self, frame: &Frame) {
        self.frames.lock().push(frame.clone());
        self.more.notify_all();
    }
}

impl Reel {
    /// The first `count` pictures, and the number of changes that each shows.
    fn first(&self, count: usize) -> Vec<Vec<u8>> {
        let mut frames = self.frames.lock();
        while frames.len() < count {
            assert!(!self.more.wait_for(&mut frames, Duration::from_secs(60)).timed_out(), "no more frames");
        }
        frames.iter().take(count).map(|frame| frame.image.data().to_vec()).collect()
    }
}

fn load() -> Map<String, Value> {
    map(json!({"width": 64, "height": 64}))
}

fn models() -> Arc<ModelManager> {
    let models = ModelManager::new(Registry::builtin()).unwrap();
    let params = LoadParams::new(load());
    let request = LoadRequest { node_id: "main".into(), pipeline_id: PIPELINE.into(), params };
    models.load(vec![request]).unwrap();
    assert!(models.wait_settled(Duration::from_secs(60)));
    models
}

/// A session that is paused until told otherwise.
fn session(models: &Arc<ModelManager>, score: Option<Score>) -> (Arc<Session>, Arc<Reel>) {
    let graph: Graph = serde_json::from_value(json!({
        "nodes": [
            {"id": "main", "type": "pipeline", "pipeline_id": PIPELINE},
            {"id": "tape", "type": "record"},
            {"id": "screen", "type": "sink"},
        ],
        "edges": [
            {"from": "main", "from_port": "video", "to_node": "tape", "to_port": "video", "kind": "stream"},
            {"from": "main", "from_port": "video", "to_node": "screen", "to_port": "video", "kind": "stream"},
        ],
    }))
    .unwrap();
    let spec = SessionSpec {
        id: "score".into(),
        kind: SessionKind::Headless,
        graph,
        mode: InputMode::Text,
        parameters: map(json!({"paused": true, "prompts": ["a dog"]})),
        score,
        assets: Arc::new(NoAssets),
        recordings_dir: std::env::temp_dir(),
    };
    let session = Session::start(spec, models).unwrap();
    let reel = Arc::new(Reel::default());
    let bus = session.recording_bus(Some("tape")).unwrap();
    bus.attach(Arc::clone(&reel) as Arc<dyn FrameTap>);
    (session, reel)
}

fn script(score: &Score) -> Script {
    let registry = Registry::builtin();
    let pipeline = registry.get(PIPELINE).unwrap();
    score.script(pipeline.schema()).unwrap()
}

/// A performance with everything in it, and the frames that it made.
fn perform() -> (Score, Vec<Vec<u8>>) {
    let models = models();
    let (session, reel) = session(&models, None);
    session.apply(map(json!({"paused": false})), false);
    let messages = [
        json!({"prompts": ["a cow"], "noise_scale": 0.25}),
        json!({"transition": {"target_prompts": ["a dragon"], "num_steps": 4}}),
        json!({"reset_cache": true}),
        json!({"bpm": 120, "beat_phase": 0.0, "bar_position": 0.0, "beat_count": 0, "is_playing": true,
            "modulations": {"noise_scale": {"enabled": true, "rate": "bar", "depth": 0.8, "shape": "sine"}}}),
        json!({"prompts": [{"text": "a robot", "weight": 30}, {"text": "a fox", "weight": 70}]}),
    ];
    for (index, message) in messages.into_iter().enumerate() {
        reel.first(7 * (index + 1));
        let applied = session.apply(map(message), false);
        assert_eq!(applied.problems, [], "message {index}");
    }
    reel.first(48);
    let score = session.score().unwrap();
    let frames = reel.first(score.frames as usize);
    session.stop(StopReason::Requested);
    (score, frames)
}

#[test]
fn a_performance_is_made_again_frame_for_frame() {
    let (score, frames) = perform();
    assert!(score.exact, "{:?}", score.why_not);
    assert!(score.frames >= 40);
    assert_eq!((score.pipeline_id.as_deref(), &score.load), (Some(PIPELINE), &load()));
    let different = frames.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(different > 20, "only {different} pictures differ from the one before");
    // As a file, it says the same.
    let score = Score::parse(&serde_json::to_vec(&score).unwrap()).unwrap();

    let loaded = Registry::builtin();
    let loaded = loaded.get(PIPELINE).unwrap().load(&LoadParams::new(score.load.clone()), &|_| {}).unwrap();
    let mut run = Offline::new(
        loaded.start().unwrap(),
        OfflineSpec {
            mode: score.mode,
            parameters: Map::new(),
            script: script(&score),
            frame_rate: 15.0,
            clip: None,
            assets: &NoAssets,
            // As sinks and recorders take it.
            format: PixelFormat::I420,
        },
    );
    let mut offline = Vec::new();
    while offline.len() < frames.len() {
        offline
            .extend(run.next_chunk().unwrap().unwrap().frames.into_iter().map(|it| it.image.data().to_vec()));
    }
    assert!(offline[..frames.len()] == frames[..], "offline differs");

    let models = models();
    let (session, reel) = session(&models, Some(score.clone()));
    let mut events = session.events();
    session.apply(map(json!({"paused": false})), false);
    assert!(reel.first(frames.len()) == frames, "the session differs");
    let mut made = 0;
    while let Ok(event) = events.try_recv() {
        if let SessionEvent::Score { made: now, .. } = event {
            made += now;
        }
    }
    assert_eq!(made, script(&score).len());
}

/// The mean difference of two pictures' bytes.
fn distance(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn a_performance_is_rendered_as_a_film_of_the_same_frames_beside_a_running_session() {
    let (score, frames) = perform();
    let dir = tempfile::tempdir().unwrap();
    let models = models();
    let (session, reel) = session(&models, None);
    session.apply(map(json!({"paused": false})), false);
    let spec = |id: &str, frames| RenderSpec {
        id: id.into(),
        score: score.clone(),
        frames,
        clip: None,
        keep: Keep { folder: dir.path().join("films"), name: "film".into() },
        assets: Arc::new(NoAssets),
    };
    let render = Render::start(spec("a", None), &models).unwrap();
    let ended = |render: &Render| loop {
        match render.status().state {
            RenderState::Rendering => std::thread::sleep(Duration::from_millis(5)),
            _ => return render.status(),
        }
    };
    let status = ended(&render);
    assert_eq!((status.frames, status.total_frames, &status.why_not), (score.frames, score.frames, &None));
    let RenderState::Done(path) = status.state else { panic!("{status:?}") };
    assert_eq!(path, dir.path().join("films/film.mp4"));

    let mut film = scope_media::file::FileSource::open(&path).unwrap();
    let mut count = 0;
    while let Some((image, _)) = film.next_frame().unwrap() {
        // The codec loses a little; another frame of this show would be farther away.
        let off = distance(image.to_rgb8().data(), &frames[count]);
        assert!(off < 6.0, "frame {count} is off by {off}");
        count += 1;
    }
    assert_eq!(count, frames.len());
    reel.first(1);
    session.stop(StopReason::Requested);

    let films = || std::fs::read_dir(dir.path().join("films")).unwrap().count();
    let render = Render::start(spec("b", Some(1_000_000)), &models).unwrap();
    render.cancel();
    assert_eq!((ended(&render).state, films()), (RenderState::Cancelled, 1));
    let render = Render::start(spec("c", Some(1_000_000)), &models).unwrap();
    models.unload(None).unwrap();
    assert!(models.wait_settled(Duration::from_secs(60)), "a render keeps the model");
    let RenderState::Failed { code, .. } = ended(&render).state else { panic!("{:?}", render.status()) };
    assert_eq!((code, films()), ("pipeline_unloaded", 1));
    assert!(matches!(Render::start(spec("d", None), &models), Err(RenderError::NotLoaded(_))));
}

#[test]
fn a_score_that_is_cued_counts_from_the_next_chunk_and_can_be_ended() {
    let models = models();
    let (session, reel) = session(&models, None);
    session.apply(map(json!({"paused": false})), false);
    reel.first(9);
    let changes = json!([{"frame": 6, "parameters": {"prompts": ["a fish"]}}, {"frame": 1_000_000_000_u64, "parameters": {"prompts": ["never"]}}]);
    let score = json!({"format": "scope-score", "format_version": "1.0", "changes": changes});
    let mut events = session.events();
    assert_eq!(session.play(&Score::from_value(score).unwrap()), Ok(2));
    let event = loop {
        match events.blocking_recv().unwrap() {
            SessionEvent::Score { frame, made, left } => break (frame, made, left),
            _ => continue,
        }
    };
    assert_eq!(event, (6, 1, 1));
    assert_eq!(session.parameters()["prompts"][0]["text"], "a fish");
    session.end_score();
    session.stop(StopReason::Requested);
}
