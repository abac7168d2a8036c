//! With the model that the program was built with, or the one in the folder `SCOPE_POCKET_DIR`; without either there is
//! nothing to test.

use super::*;
use crate::{Chunk, Compute, InputMode, Needs, NoAssets, Output, ParameterStore, Registry};
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

fn pipeline() -> Option<Pocket> {
    match std::env::var_os("SCOPE_POCKET_DIR") {
        Some(folder) => Some(Pocket::new(PocketFiles::open(folder.as_ref()).unwrap(), Compute::default())),
        None => Pocket::built_in(Compute::default()).unwrap(),
    }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

struct Session {
    run: Box<dyn Generator>,
    store: ParameterStore,
    index: u64,
    effort: usize,
    format: PixelFormat,
    stages: Vec<(&'static str, Duration)>,
}

impl Session {
    fn new(loaded: &Arc<dyn LoadedPipeline>, parameters: Value) -> Self {
        Self {
            run: loaded.start().unwrap(),
            store: ParameterStore::new(&map(parameters)),
            index: 0,
            effort: 0,
            format: PixelFormat::Rgb8,
            stages: Vec::new(),
        }
    }

    fn chunk(&mut self, inputs: Vec<Frame>) -> Vec<(Image, Option<Timestamp>)> {
        self.index += 1;
        let chunk = Chunk {
            index: self.index,
            mode: if inputs.is_empty() { InputMode::Text } else { InputMode::Video },
            parameters: &self.store.take(),
            inputs: if inputs.is_empty() {
                BTreeMap::new()
            } else {
                BTreeMap::from([("video".into(), inputs)])
            },
            assets: &NoAssets,
            now: Timestamp::default(),
            effort: self.effort,
            format: self.format,
        };
        let mut pictures = Vec::new();
        let mut emit = |output: Output| {
            if let Output::Frame { image, captured_at, .. } = output {
                pictures.push((image, captured_at));
            }
        };
        self.stages = self.run.generate(chunk, &mut emit).unwrap().stages;
        pictures
    }

    fn pictures(&mut self, chunks: usize) -> Vec<Image> {
        (0..chunks).flat_map(|_| self.chunk(Vec::new())).map(|(image, _)| image).collect()
    }
}

fn small() -> LoadParams {
    LoadParams::new(map(json!({"width": 96, "height": 64})))
}

/// Mean difference of two pictures, in steps of 255.
fn difference(a: &Image, b: &Image) -> f64 {
    let sum: u64 = a.data().iter().zip(b.data()).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
    sum as f64 / a.data().len() as f64
}

#[test]
fn a_seed_makes_the_same_video_and_a_reset_starts_it_again() {
    let Some(pipeline) = pipeline() else { return };
    let loaded = pipeline.load(&small(), &|_| {}).unwrap();
    let parameters = json!({"prompts": ["a dog walking in grass"], "base_seed": 7});
    let mut session = Session::new(&loaded, parameters.clone());
    let first = session.pictures(3);
    assert_eq!(first.len(), 12);
    assert_eq!((first[0].width(), first[0].height()), (96, 64));
    assert_eq!(Session::new(&loaded, parameters).pictures(3), first);
    session.store.merge(&map(json!({"reset_cache": true})), 0);
    assert_eq!(session.pictures(3), first);
    session.run.reset();
    session.store.merge(&map(json!({"base_seed": 8})), 0);
    assert!(difference(&session.pictures(1)[0], &first[0]) > 2.0);
}

#[test]
fn prompts_change_the_picture_and_transitions_take_their_time() {
    let Some(pipeline) = pipeline() else { return };
    let loaded = pipeline.load(&small(), &|_| {}).unwrap();
    let start = json!({"prompts": ["a dog walking in grass"], "denoising_step_list": [1000, 750]});
    let (mut stays, mut cuts) = (Session::new(&loaded, start.clone()), Session::new(&loaded, start.clone()));
    let mut moves = Session::new(&loaded, start);
    assert_eq!(stays.pictures(2), cuts.pictures(2));
    moves.pictures(2);
    cuts.store.merge(&map(json!({"prompts": ["a robot walking on mars"]})), 0);
    let target =
        json!({"target_prompts": [{"text": "a robot walking on mars", "weight": 1}], "num_steps": 50});
    moves.store.merge(&map(json!({"transition": target})), 0);
    let (stays, cuts, moves) = (stays.pictures(4), cuts.pictures(4), moves.pictures(4));
    assert!(difference(&stays[15], &cuts[15]) > 2.0);
    assert!(difference(&stays[3], &moves[3]) < difference(&stays[3], &cuts[3]));
}

#[test]
fn input_video_shines_through_and_keeps_its_times() {
    let Some(pipeline) = pipeline() else { return };
    let loaded = pipeline.load(&small(), &|_| {}).unwrap();
    let mut session =
        Session::new(&loaded, json!({"prompts": ["the sea"], "noise_scale": 0.1, "noise_controller": false}));
    assert_eq!(session.run.needs(InputMode::Text), Needs::Nothing);
    let colour = [200, 60, 40];
    for chunk in 0..3 {
        let frame = |index: u64| {
            let image = Image::solid(40, 30, colour).unwrap();
            Frame::new(image, Timestamp::from_micros(1000 * chunk + index))
        };
        let pictures = session.chunk((0..4).map(frame).collect());
        let times: Vec<_> = pictures.iter().map(|(_, time)| *time).collect();
        let expected: Vec<_> =
            (0..4).map(|index| Some(Timestamp::from_micros(1000 * chunk + index))).collect();
        assert_eq!(times, expected);
        let input = Image::solid(96, 64, colour).unwrap();
        assert!(difference(&pictures[3].0, &input) < 25.0, "{}", difference(&pictures[3].0, &input));
    }
}

#[test]
fn less_effort_is_two_steps_and_then_the_trained_size_enlarged() {
    let Some(pipeline) = pipeline() else { return };
    let names = |size: Value, parameters: Value| -> Vec<String> {
        let loaded = pipeline.load(&LoadParams::new(map(size)), &|_| {}).unwrap();
        let session = Session::new(&loaded, parameters);
        let efforts = session.run.efforts(InputMode::Text, &session.store.clone().take());
        efforts.into_iter().map(|effort| effort.name).collect()
    };
    assert_eq!(names(json!({}), json!({})), ["3 steps", "2 steps"]);
    assert_eq!(names(json!({}), json!({"denoising_step_list": [1000, 750, 500]})), ["3 steps"]);
    let large = json!({"width": 320, "height": 192});
    let all = ["3 steps", "2 steps", "3 steps at 256×144", "2 steps at 256×144"];
    assert_eq!(names(large.clone(), json!({})), all);

    let loaded = pipeline.load(&LoadParams::new(map(large)), &|_| {}).unwrap();
    let mut session = Session::new(&loaded, json!({"prompts": ["a dog walking in grass"]}));
    session.format = PixelFormat::I420;
    // What is enlarged leaves the model in full colour.
    for (effort, format) in [(3, PixelFormat::Rgb8), (1, PixelFormat::I420)] {
        session.effort = effort;
        let pictures = session.pictures(1);
        assert!(pictures.iter().all(|picture| picture.format() == format));
        assert_eq!((pictures.len(), pictures[0].size()), (4, (320, 192)));
    }
    // Fewer steps alone go on with the same video.
    let loaded = pipeline.load(&small(), &|_| {}).unwrap();
    let parameters = json!({"prompts": ["a dog walking in grass"]});
    let (mut usual, mut cheap) =
        (Session::new(&loaded, parameters.clone()), Session::new(&loaded, parameters));
    assert_eq!(usual.pictures(3), cheap.pictures(3));
    cheap.effort = 1;
    let (usual, cheap) = (usual.pictures(2), cheap.pictures(2));
    assert_ne!(usual[7], cheap[7]);
    assert!(difference(&usual[7], &cheap[7]) < 30.0, "{}", difference(&usual[7], &cheap[7]));
}

#[test]
fn a_chunk_tells_where_its_time_went() {
    let Some(pipeline) = pipeline() else { return };
    let loaded = pipeline.load(&small(), &|_| {}).unwrap();
    let mut session = Session::new(&loaded, json!({"prompts": ["the sea"]}));
    for frames in [0, 4] {
        let image = Image::solid(96, 64, [9; 3]).unwrap();
        let began = Instant::now();
        session.chunk(vec![Frame::new(image, Timestamp::default()); frames]);
        let whole = began.elapsed();
        let names: Vec<_> = session.stages.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["text", "encode", "control", "denoise", "decode", "clean"]);
        assert!(session.stages[3].1 > Duration::ZERO && session.stages[4].1 > Duration::ZERO);
        assert!(session.stages.iter().map(|(_, time)| *time).sum::<Duration>() <= whole);
    }
}

#[test]
fn every_number_of_threads_makes_the_same_video() {
    let videos = [1, 2, 3, 5].map(|threads| {
        let registry =
            Registry::builtin_on(Compute { threads: NonZeroUsize::new(threads), ..Compute::default() });
        let loaded = registry.get(ID)?.load(&small(), &|_| {}).unwrap();
        Some(Session::new(&loaded, json!({"prompts": ["a dog walking in grass"]})).pictures(3))
    });
    assert!(videos.iter().all(|video| *video == videos[0]));
}

#[test]
fn sizes_off_the_grid_name_the_nearest_that_works() {
    let Some(pipeline) = pipeline() else { return };
    for (size, nearest) in [(150, "144"), (9000, "512"), (1, "64")] {
        let params = LoadParams::new(map(json!({"height": size})));
        let error = pipeline.load(&params, &|_| {}).err().unwrap();
        assert!(error.to_string().contains(nearest), "{error}");
    }
}

#[test]
fn it_is_registered_when_the_program_was_built_with_it() {
    let there = Pocket::built_in(Compute::default()).unwrap().is_some();
    assert_eq!(Registry::builtin().get(ID).is_some(), there);
    assert_eq!(Registry::builtin().newcomer(), there.then_some(ID));
}
