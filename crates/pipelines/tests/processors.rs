//! Processors with networks, at tiny sizes, from files in the real formats.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Session, Tensors, TorchValue, map, torch};
use scope_engine::{Cpu, Device, Tensor, ops};
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_models::checkpoint::{Checkpoint, NetworkDescription};
use scope_models::frames::flow_colors;
use scope_models::processors::{
    ContourConfig, ContourNet, DepthConfig, DepthMemory, DepthNet, Interpolator, Raft, RaftConfig, RifeConfig,
};
use scope_models::weights::{Loader, Precision};
use scope_pipelines::{Compute, LoadError, LoadParams, LoadedPipeline, Registry};
use scope_store::ModelFolder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const CONTOURS: ContourConfig = ContourConfig { widths: [8, 8, 16] };
const RIFE: RifeConfig = RifeConfig { widths: [16, 16, 8, 8] };
const SCRIBBLE_FILE: &str = "VACE-Annotators/scribble/anime_style/netG_A_latest.pth";
const RIFE_FILE: &str = "RIFE/flownet.pkl";
const SMALL_FLOW_FILE: &str = "RAFT/raft_small_C_T_V2-01064c6d.pth";
const LARGE_FLOW_FILE: &str = "RAFT/raft_large_C_T_SKHT_V2-ff5fadd5.pth";

const DEPTH_FILE: &str = "Video-Depth-Anything-Small/video_depth_anything_vits.pth";
const DEPTH: DepthConfig = DepthConfig {
    dim: 64,
    dim_ffn: 32,
    blocks: 4,
    grid: 3,
    widths: [4, 8, 32, 32],
    features: 32,
    last: 8,
    moments: 4,
};

fn flow(large: bool) -> RaftConfig {
    RaftConfig {
        features: [8, 8, 8, 8, 16],
        context: [8, 8, 8, 8, 20],
        radius: if large { 2 } else { 1 },
        seen: if large { vec![8, 12] } else { vec![8] },
        flow: [8, 4],
        motion: 12,
        hidden: 8,
        head: 8,
        mask: large.then_some(8),
    }
}

/// Counters are whole numbers.
fn with_counters(tensors: Tensors) -> Tensors {
    let value = |name: &str, value| match name.ends_with("num_batches_tracked") {
        true => TorchValue::tensor("LongStorage", 8, &[], vec![7, 0, 0, 0, 0, 0, 0, 0]),
        false => value,
    };
    tensors.into_iter().map(|(name, old)| (name.clone(), value(&name, old))).collect()
}

fn put(folder: &TempDir, name: &str, bytes: &[u8]) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A models folder as the published repositories make it.
fn models() -> TempDir {
    let folder = TempDir::new().unwrap();
    put(&folder, SCRIBBLE_FILE, &torch(&CONTOURS.description(), 1, |tensors| tensors));
    let mut training = NetworkDescription::new("only for training");
    training.tensor("conv.weight", &[2, 2, 1, 1]);
    let rife = torch(&RIFE.description(), 2, |tensors| {
        let extra: Vec<_> =
            tensors[..3].iter().cloned().map(|(name, value)| (format!("teacher.{name}"), value)).collect();
        let all = tensors.into_iter().chain(extra);
        all.map(|(name, value)| (format!("module.{name}"), value)).collect()
    });
    put(&folder, RIFE_FILE, &rife);
    put(&folder, SMALL_FLOW_FILE, &torch(&flow(false).description(), 3, with_counters));
    put(&folder, DEPTH_FILE, &torch(&DEPTH.description(), 5, |tensors| tensors));
    put(&folder, LARGE_FLOW_FILE, &torch(&flow(true).description(), 4, with_counters));
    folder
}

fn load(folder: &Path, id: &str) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
    load_with(folder, id, json!({}))
}

fn load_with(folder: &Path, id: &str, params: Value) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
    let registry = Registry::with_models(&ModelFolder::new(folder), &Compute::default());
    registry.get(id).unwrap().load(&LoadParams::new(map(params)), &|_| {})
}

fn picture(width: u32, height: u32, step: u32) -> Image {
    let at = |x: u32, y: u32| [(x * 5 + step * 9) as u8, (y * 7) as u8, (x * y + step) as u8];
    let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| at(x, y))).collect::<Vec<u8>>();
    Image::new(PixelFormat::Rgb8, width, height, data).unwrap()
}

fn chunk(session: &mut Session, image: Image, micros: u64) -> Vec<(Image, u64)> {
    let frame = Frame::new(image, Timestamp::from_micros(micros));
    let shown = session.ports(BTreeMap::from([("video".to_owned(), vec![frame])]));
    shown.into_iter().map(|(image, at)| (image, at.unwrap().as_micros())).collect()
}

fn tensor(device: &Device, images: &[Image]) -> Tensor {
    let (width, height) = images[0].size();
    let values: Vec<f32> =
        images.iter().flat_map(Image::data).map(|&value| f32::from(value) / 255.0).collect();
    Tensor::from_f32(device, &[images.len(), height as usize, width as usize, 3], &values).unwrap()
}

fn close(image: &Image, expected: impl Iterator<Item = f32>) {
    let mut count = 0;
    for (&byte, value) in image.data().iter().zip(expected) {
        assert!((f32::from(byte) - value.clamp(0.0, 1.0) * 255.0).abs() < 0.6, "{byte} for {value}");
        count += 1;
    }
    assert_eq!(count, image.data().len());
}

#[test]
fn schemas_are_what_clients_expect() {
    let facts: Value = serde_json::from_str(include_str!("passthrough.facts.json")).unwrap();
    let folder = TempDir::new().unwrap();
    let registry = Registry::with_models(&ModelFolder::new(folder.path()), &Compute::default());
    let rife_page = json!("https://github.com/hzwer/Practical-RIFE");
    let flow_page = json!("https://pytorch.org/vision/main/models/raft.html");
    let depth_page = json!("https://github.com/DepthAnything/Video-Depth-Anything");
    let depth = ("video-depth-anything", "Video Depth Anything", "VideoDepthAnythingConfig");
    for (id, name, title, usage, page) in [
        (depth.0, depth.1, depth.2, "preprocessor", depth_page),
        ("scribble", "Scribble", "ScribbleConfig", "preprocessor", Value::Null),
        ("optical-flow", "Optical Flow", "OpticalFlowConfig", "preprocessor", flow_page),
        ("rife", "RIFE", "RIFEConfig", "postprocessor", rife_page),
    ] {
        let mut facts = facts.clone();
        for (key, value) in [
            ("id", json!(id)),
            ("name", json!(name)),
            ("modified", json!(true)),
            ("requires_models", json!(true)),
            ("usage", json!([usage])),
            ("docs_url", page),
        ] {
            facts[key] = value;
        }
        facts["config_schema"]["title"] = title.into();
        let mut ours = registry.get(id).unwrap().schema().to_value();
        ours.as_object_mut().unwrap().remove("description");
        if id == depth.0 {
            facts["estimated_vram_gb"] = json!(1.0);
        }
        if id == "optical-flow" {
            facts["config_schema"]["properties"]["model_size"] = json!({
                "default": "small", "enum": ["small", "large"], "title": "Model Size", "type": "string",
            });
            let ours = ours["config_schema"]["properties"]["model_size"].as_object_mut().unwrap();
            assert!(ours.remove("ui").is_some() && ours.remove("description").is_some());
        }
        assert_eq!(ours, facts);
    }
}

#[test]
fn scribble_draws_each_picture_as_the_network_does() {
    let folder = models();
    let loaded = load(folder.path(), "scribble").unwrap();
    let mut session = Session::new(&loaded, json!({}));
    let device = Device::from(Cpu::new(None).unwrap());
    let file = Checkpoint::open(folder.path().join(SCRIBBLE_FILE)).unwrap();
    let network = ContourNet::load(&Loader::new(&file, &device, Precision::F32), CONTOURS).unwrap();
    // Sizes may change from picture to picture, and need not be multiples of anything.
    for (step, size) in [(0, (32, 24)), (1, (32, 24)), (2, (21, 37))] {
        let image = picture(size.0, size.1, step);
        let drawn = network.draw(&tensor(&device, std::slice::from_ref(&image))).unwrap().to_vec();
        let shown = chunk(&mut session, image.clone(), 40 + u64::from(step));
        assert_eq!(shown.len(), 1);
        assert_eq!((shown[0].0.size(), shown[0].1), (size, 40 + u64::from(step)));
        close(&shown[0].0, drawn.iter().flat_map(|&value| [value; 3]));
        // Decoded video is what it is in RGB.
        let [planar, packed] = [image.to_i420(), image.to_i420().to_rgb8()];
        assert_eq!(chunk(&mut session, planar, 0), chunk(&mut session, packed, 0));
    }
}

#[test]
fn rife_puts_a_picture_between_two_at_the_time_between() {
    let folder = models();
    let loaded = load(folder.path(), "rife").unwrap();
    let mut session = Session::new(&loaded, json!({}));
    let (first, second) = (picture(40, 28, 0), picture(40, 28, 3));
    assert_eq!(chunk(&mut session, first.clone(), 100), [(first.clone(), 100)]);
    let shown = chunk(&mut session, second.clone(), 140);
    assert_eq!(shown.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [120, 140]);
    assert_eq!(shown[1].0, second, "what came in goes out as it is");

    let device = Device::from(Cpu::new(None).unwrap());
    let file =
        Checkpoint::open(folder.path().join(RIFE_FILE)).unwrap().select(&RifeConfig::PUBLISHED).unwrap();
    let network = Interpolator::load(&Loader::new(&file, &device, Precision::F32), RIFE).unwrap();
    let three = network.double(&tensor(&device, &[first, second.clone()])).unwrap();
    close(&shown[0].0, three.narrow(1, 1).unwrap().to_vec().into_iter());

    // Between pictures of two sizes, and after a cut, there is nothing.
    assert_eq!(chunk(&mut session, picture(24, 28, 0), 180).len(), 1);
    assert_eq!(chunk(&mut session, picture(24, 28, 1), 220).len(), 2);
    session.run.reset();
    assert_eq!(chunk(&mut session, picture(24, 28, 2), 260).len(), 1);
    // Sessions share the network and nothing else.
    assert_eq!(chunk(&mut Session::new(&loaded, json!({})), second, 0).len(), 1);
}

#[test]
fn optical_flow_shows_how_each_picture_moved_from_the_one_before() {
    let folder = models();
    let device = Device::from(Cpu::new(None).unwrap());
    for (params, name, large) in [
        (json!({}), SMALL_FLOW_FILE, false),
        (json!({"model_size": "small"}), SMALL_FLOW_FILE, false),
        (json!({"model_size": "large"}), LARGE_FLOW_FILE, true),
    ] {
        let loaded = load_with(folder.path(), "optical-flow", params).unwrap();
        let file = Checkpoint::open(folder.path().join(name)).unwrap();
        assert_eq!(RaftConfig::of(&file).unwrap(), flow(large));
        let network = Raft::load(&Loader::new(&file, &device, Precision::F32), &flow(large)).unwrap();
        let features = |image: &Image| {
            let (width, height) = image.size();
            let bytes = [1, height as usize, width as usize, 3];
            let bytes = Tensor::from_u8(&device, &bytes, image.data()).unwrap();
            network.features(&ops::resize_bytes(&bytes, [512, 512], [0.0, 1.0]).unwrap()).unwrap()
        };
        let mut session = Session::new(&loaded, json!({}));
        let pictures: Vec<Image> = (0..3).map(|step| picture(80, 60, step * 2)).collect();
        let white = Image::solid(80, 60, [255; 3]).unwrap();
        assert_eq!(chunk(&mut session, pictures[0].clone(), 100), [(white.clone(), 100)]);
        for (index, at) in [(1, 140), (2, 180)] {
            let shown = chunk(&mut session, pictures[index].clone(), at);
            assert_eq!((shown.len(), shown[0].1), (1, at));
            let moved = network.flow(&features(&pictures[index - 1]), &features(&pictures[index])).unwrap();
            let colours = flow_colors(&moved).unwrap();
            let colours = Tensor::from_u8(&device, &[1, 512, 512, 3], &colours).unwrap();
            let expected = ops::resize_bytes(&colours, [60, 80], [0.0, 1.0]).unwrap().to_vec();
            close(&shown[0].0, expected.into_iter());
            assert_ne!(shown[0].0, white);
        }
        // Nothing moves from a picture of another size, nor after a cut.
        let shown = chunk(&mut session, picture(30, 20, 0), 220);
        assert_eq!(shown, [(Image::solid(30, 20, [255; 3]).unwrap(), 220)]);
        assert_ne!(chunk(&mut session, picture(30, 20, 5), 260)[0].0, shown[0].0);
        session.run.reset();
        assert_eq!(chunk(&mut session, picture(30, 20, 9), 300)[0].0, shown[0].0);
        // Sessions share the network and nothing else.
        let other = chunk(&mut Session::new(&loaded, json!({})), pictures[1].clone(), 0);
        assert_eq!(other, [(white, 0)]);
    }
}

#[test]
fn depth_remembers_its_stream_and_nothing_else() {
    let folder = models();
    let loaded = load(folder.path(), "video-depth-anything").unwrap();
    let device = Device::from(Cpu::new(None).unwrap());
    let file = Checkpoint::open(folder.path().join(DEPTH_FILE)).unwrap();
    assert_eq!(DepthConfig::of(&file).unwrap(), DEPTH);
    let network = DepthNet::load(&Loader::new(&file, &device, Precision::F32), DEPTH).unwrap();
    let mut session = Session::new(&loaded, json!({}));
    let mut memory = DepthMemory::default();
    let mut range: Option<[f32; 2]> = None;
    let mut firsts = Vec::new();
    let expect =
        |session: &mut Session, memory: &mut DepthMemory, range: &mut Option<[f32; 2]>, image: Image| {
            let depth =
                network.next(memory, &tensor(&device, std::slice::from_ref(&image))).unwrap().to_vec();
            let own = depth.iter().fold([f32::MAX, f32::MIN], |[low, high], &v| [low.min(v), high.max(v)]);
            assert!(own[1] > own[0], "nothing to see: {own:?}");
            // The first picture's own range, which then follows those of the others a sixteenth of the way.
            let [low, high] = match *range {
                None => own,
                Some(kept) => [0, 1].map(|end| kept[end] + (own[end] - kept[end]) / 16.0),
            };
            *range = Some([low, high]);
            let size = image.size();
            let shown = chunk(session, image, 100);
            assert_eq!((shown.len(), shown[0].0.size(), shown[0].1), (1, size, 100));
            close(&shown[0].0, depth.iter().flat_map(|v| [(v - low) / (high - low); 3]));
            shown[0].0.clone()
        };
    for step in 0..3 {
        let shown = expect(&mut session, &mut memory, &mut range, picture(60, 40, 5 * step));
        firsts.push(shown);
    }
    // The same picture looks otherwise to those who know others.
    let again = expect(&mut session, &mut memory, &mut range, picture(60, 40, 0));
    assert_ne!(again, firsts[0]);
    session.run.reset();
    (memory, range) = (DepthMemory::default(), None);
    assert_eq!(expect(&mut session, &mut memory, &mut range, picture(60, 40, 0)), firsts[0]);
    // A picture of another size is one of another video, even if the network sees both in one size.
    for image in [picture(40, 60, 1), picture(80, 120, 1)] {
        (memory, range) = (DepthMemory::default(), None);
        expect(&mut session, &mut memory, &mut range, image);
    }
    // Sessions share the network and nothing else.
    assert_eq!(chunk(&mut Session::new(&loaded, json!({})), picture(60, 40, 0), 9), [(firsts[0].clone(), 9)]);
}

#[test]
fn sizes_that_no_network_has_are_refused() {
    let folder = models();
    for size in [json!("medium"), json!(2), json!(["small"])] {
        let error = load_with(folder.path(), "optical-flow", json!({"model_size": size})).err().unwrap();
        assert_eq!(error.code(), "invalid_parameters");
        assert!(error.to_string().contains("small, large"), "{error}");
    }
    // It means nothing to the others.
    assert!(load_with(folder.path(), "scribble", json!({"model_size": "medium"})).is_ok());
    fs::remove_file(folder.path().join(LARGE_FLOW_FILE)).unwrap();
    assert!(load(folder.path(), "optical-flow").is_ok());
    let error = load_with(folder.path(), "optical-flow", json!({"model_size": "large"})).err().unwrap();
    assert!(error.to_string().contains("raft_large"), "{error}");
}

#[test]
fn files_that_are_missing_or_of_another_network_are_named() {
    let empty = TempDir::new().unwrap();
    for (id, name) in [
        ("scribble", "netG_A_latest.pth"),
        ("optical-flow", "raft_small_C_T_V2-01064c6d.pth"),
        ("video-depth-anything", "video_depth_anything_vits.pth"),
        ("rife", "flownet.pkl"),
    ] {
        let error = load(empty.path(), id).err().unwrap();
        assert_eq!(error.code(), "models_missing");
        let error = error.to_string();
        assert!(error.contains(id) && error.contains(name), "{error}");
    }
    let folder = models();
    put(&folder, SCRIBBLE_FILE, &torch(&RIFE.description(), 1, |tensors| tensors));
    let error = load(folder.path(), "scribble").err().unwrap().to_string();
    assert!(error.contains("model0.1.weight"), "{error}");
    put(&folder, SMALL_FLOW_FILE, &torch(&CONTOURS.description(), 1, |tensors| tensors));
    let error = load(folder.path(), "optical-flow").err().unwrap().to_string();
    assert!(error.contains("feature_encoder") || error.contains("update_block"), "{error}");
    for wrong in [
        DepthConfig { dim: 32, ..DEPTH },
        DepthConfig { blocks: 3, ..DEPTH },
        DepthConfig { moments: 3, ..DEPTH },
        DepthConfig { features: 16, ..DEPTH },
        DepthConfig { widths: [4, 8, 16, 32], ..DEPTH },
    ] {
        put(&folder, DEPTH_FILE, &torch(&wrong.description(), 1, |tensors| tensors));
        let error = load(folder.path(), "video-depth-anything").err().unwrap().to_string();
        assert!(error.contains("pretrained") || error.contains("motion_modules"), "{error}");
    }
    put(&folder, DEPTH_FILE, &torch(&CONTOURS.description(), 1, |tensors| tensors));
    let error = load(folder.path(), "video-depth-anything").err().unwrap().to_string();
    assert!(error.contains("pretrained.cls_token"), "{error}");
    let mut narrow = flow(false);
    narrow.context[4] = narrow.hidden;
    put(&folder, SMALL_FLOW_FILE, &torch(&narrow.description(), 1, |tensors| tensors));
    let error = load(folder.path(), "optical-flow").err().unwrap().to_string();
    assert!(error.contains("context_encoder.conv"), "{error}");
    let mut wrong = CONTOURS.description();
    wrong.tensor("extra.weight", &[1]);
    put(&folder, SCRIBBLE_FILE, &torch(&wrong, 1, |tensors| tensors));
    let error = load(folder.path(), "scribble").err().unwrap().to_string();
    assert!(error.contains("extra.weight"), "{error}");
}

#[test]
fn noise_for_weights_needs_no_files() {
    let empty = TempDir::new().unwrap();
    let registry = Registry::with_models(&ModelFolder::new(empty.path()), &Compute::default());
    for id in ["scribble", "optical-flow", "rife"] {
        let params = LoadParams::new(map(json!({"random_weights": true})));
        let loaded = registry.get(id).unwrap().load(&params, &|_| {}).unwrap();
        let mut session = Session::new(&loaded, json!({}));
        chunk(&mut session, picture(64, 48, 0), 0);
        let shown = chunk(&mut session, picture(64, 48, 3), 1000);
        let pixels = shown[0].0.data();
        assert!(pixels.iter().any(|&byte| byte != pixels[0]), "{id}");
    }
}
