use super::*;
use scope_media::still;
use scope_pipelines::{ChunkReport, LoadParams, NoAssets, Registry};
use serde_json::json;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn generator(id: &str) -> Box<dyn Generator> {
    let params = LoadParams::new(map(json!({"width": 64, "height": 64})));
    Registry::builtin().get(id).unwrap().load(&params, &|_| {}).unwrap().start().unwrap()
}

fn spec(mode: InputMode, parameters: Value) -> OfflineSpec<'static> {
    OfflineSpec {
        mode,
        parameters: map(parameters),
        script: Script::default(),
        frame_rate: 15.0,
        clip: None,
        assets: &NoAssets,
        format: PixelFormat::Rgb8,
    }
}

fn clip(frames: u64) -> Clip<'static> {
    Box::new((0..frames).map(|index| {
        let image = Image::solid(64, 64, [index as u8; 3]).unwrap();
        Ok(Frame::new(image, Timestamp::from_micros(index * 40_000)))
    }))
}

fn all(run: &mut Offline<'_>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(chunk) = run.next_chunk().unwrap() {
        frames.extend(chunk.frames);
    }
    frames
}

/// The test card's colour in the middle of the picture.
fn colour(frame: &Frame) -> [u8; 3] {
    frame.image.data()[3 * (32 * 64 + 32)..][..3].try_into().unwrap()
}

#[test]
fn frames_from_text_lie_as_far_apart_as_the_rate_says() {
    let mut run = Offline::new(generator("testcard"), spec(InputMode::Text, json!({"prompts": ["a cow"]})));
    let frames: Vec<Frame> = (0..4).flat_map(|_| run.next_chunk().unwrap().unwrap().frames).collect();
    assert_eq!(frames.len(), 12);
    assert_eq!(frames[9].captured_at, Timestamp::from_micros(600_000));
    assert_eq!((frames[9].chunk, frames[9].epoch, frames[9].revision), (4, 0, 0));
}

#[test]
fn a_change_shows_from_the_first_chunk_that_begins_at_it() {
    let prompts = |text: &str| map(json!({"prompts": [text]}));
    let script = [
        Change::new(Moment::Time(Duration::from_millis(600)), prompts("a robot")),
        Change::new(Moment::Frame(4), prompts("a dragon")),
        Change::new(Moment::Frame(4), map(json!({"reset_cache": true}))),
    ];
    let spec =
        OfflineSpec { script: Script::new(script), ..spec(InputMode::Text, json!({"prompts": ["a cow"]})) };
    let mut run = Offline::new(generator("testcard"), spec);
    let frames: Vec<Frame> = (0..4).flat_map(|_| run.next_chunk().unwrap().unwrap().frames).collect();
    // Chunks of three frames begin at 0, 3, 6 and 9; frame 9 is shown at 0.6 s.
    let changes: Vec<usize> =
        (1..12).filter(|index| colour(&frames[*index]) != colour(&frames[index - 1])).collect();
    assert_eq!(changes, [6, 9]);
    assert_eq!([5, 6, 11].map(|index| frames[index].epoch), [0, 1, 1], "a one-shot is made once");
    assert_eq!([5, 6, 9].map(|index| frames[index].revision), [0, 2, 3]);
}

#[test]
fn a_clip_keeps_its_times_and_its_length() {
    for (id, frames) in [("passthrough", 7), ("testcard", 7), ("testcard", 9), ("testcard", 1)] {
        let spec = OfflineSpec { clip: Some(clip(frames)), ..spec(InputMode::Video, json!({})) };
        let made = all(&mut Offline::new(generator(id), spec));
        let times: Vec<u64> = made.iter().map(|frame| frame.captured_at.as_micros() / 40_000).collect();
        assert_eq!(times, (0..frames).collect::<Vec<_>>(), "{id}");
    }
}

#[test]
fn a_generator_of_video_needs_a_clip() {
    let mut run = Offline::new(generator("passthrough"), spec(InputMode::Text, json!({})));
    assert!(matches!(run.next_chunk(), Err(OfflineError::NoClip)));
}

#[test]
fn a_still_goes_on_for_ever_if_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("still.png");
    std::fs::write(&path, still::encode_png(&Image::solid(8, 8, [9, 8, 7]).unwrap()).unwrap()).unwrap();
    let once: Vec<_> = FileClip::open(&path, false, 20.0).unwrap().collect();
    assert_eq!(once.len(), 1);
    let again: Vec<Frame> = FileClip::open(&path, true, 20.0).unwrap().take(5).map(Result::unwrap).collect();
    assert_eq!(again[4].captured_at, Timestamp::from_micros(200_000));
    assert!(FileClip::open(&directory.path().join("nothing"), true, 20.0).is_err());
}

struct Failing;

impl Generator for Failing {
    fn needs(&self, _: InputMode) -> Needs {
        Needs::Nothing
    }

    fn generate(
        &mut self,
        _: Chunk<'_>,
        _: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        Err(GenerateError::Failed("no idea".into()))
    }

    fn reset(&mut self) {}
}

#[test]
fn a_chunk_that_fails_is_not_tried_again() {
    let mut run = Offline::new(Box::new(Failing), spec(InputMode::Text, json!({})));
    assert_eq!(run.next_chunk().unwrap_err().to_string(), "no idea");
}
