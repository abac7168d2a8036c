use super::*;
use crate::{Chunk, InputMode, NoAssets, Output, ParameterStore};
use proptest::prelude::*;
use scope_frame::MAX_DIMENSION;
use serde_json::Map;
use std::collections::BTreeMap;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("not an object") };
    map
}

/// What the filter `id` makes of a picture.
fn filtered(id: &str, load: Value, parameters: Value, image: &Image) -> Image {
    let filter = Filter::all().into_iter().find(|filter| filter.schema.id == id).unwrap();
    let loaded = filter.load(&LoadParams::new(object(load)), &|_| {}).unwrap();
    let mut run = loaded.start().unwrap();
    let mut store = ParameterStore::new(&Map::new());
    store.merge(&object(parameters), 1);
    let captured_at = Timestamp::from_micros(7);
    let frames = vec![Frame::new(image.clone(), captured_at)];
    let chunk = Chunk {
        index: 1,
        mode: InputMode::Video,
        parameters: &store.take(),
        inputs: BTreeMap::from([("video".into(), frames)]),
        assets: &NoAssets,
        now: Timestamp::from_micros(9),
        effort: 0,
        format: PixelFormat::Rgb8,
    };
    let mut made = Vec::new();
    run.generate(chunk, &mut |output| match output {
        Output::Frame { image, captured_at: Some(at), .. } if at == captured_at => made.push(image),
        other => panic!("{other:?}"),
    })
    .unwrap();
    assert_eq!(made.len(), 1);
    made.remove(0)
}

fn rgb(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Image {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let data: Vec<u8> = places.flat_map(|(x, y)| pixel(x, y)).collect();
    Image::new(PixelFormat::Rgb8, width, height, data).unwrap()
}

fn at(image: &Image, x: u32, y: u32) -> [u8; 3] {
    let rgb = image.to_rgb8();
    let start = ((y * image.width() + x) * 3) as usize;
    rgb.data()[start..start + 3].try_into().unwrap()
}

fn near(a: [u8; 3], b: [u8; 3], most: u8) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= most)
}

#[test]
fn the_gray_schema_is_what_clients_expect() {
    let mut facts: Value =
        serde_json::from_str(include_str!("../../../tests/passthrough.facts.json")).unwrap();
    facts["id"] = "gray".into();
    facts["name"] = "Grayscale".into();
    facts["modified"] = true.into();
    facts["usage"] = json!(["preprocessor"]);
    facts["config_schema"]["title"] = "GrayConfig".into();
    let mut ours = gray::schema().to_value();
    ours.as_object_mut().unwrap().remove("description");
    assert_eq!(ours, facts);
}

#[test]
fn gray_is_the_luma_of_each_pixel() {
    let colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [20, 40, 60]];
    for colour in colours {
        let gray = filtered("gray", json!({}), json!({}), &rgb(8, 6, |_, _| colour));
        let [r, g, b] = colour.map(f64::from);
        let luma = (0.299 * r + 0.587 * g + 0.114 * b).round() as u8;
        assert!(near(at(&gray, 3, 3), [luma; 3], 3), "{colour:?}: {:?}, not {luma}", at(&gray, 3, 3));
    }
}

#[test]
fn edges_are_closed_outlines_one_pixel_wide() {
    let square =
        rgb(64, 48, |x, y| if (20..44).contains(&x) && (12..36).contains(&y) { [255; 3] } else { [0; 3] });
    let drawn = filtered("edges", json!({}), json!({}), &square);
    let dark = |x, y| at(&drawn, x, y)[0] < 128;
    // Along a line through the middle there are two edges, where the square begins and ends.
    let across: Vec<u32> = (0..64).filter(|&x| dark(x, 24)).collect();
    let down: Vec<u32> = (0..48).filter(|&y| dark(32, y)).collect();
    assert!(matches!(across[..], [19 | 20, 43 | 44]), "{across:?}");
    assert!(matches!(down[..], [11 | 12, 35 | 36]), "{down:?}");
    // Nothing but the outline.
    let count = (0..48).flat_map(|y| (0..64).map(move |x| (x, y))).filter(|&(x, y)| dark(x, y)).count();
    assert!((80..=96).contains(&count), "{count} dark pixels of an outline of 4 × 24");
    let inverted = filtered("edges", json!({}), json!({"invert": true}), &square);
    for (x, y) in [(0, 0), (across[0], 24), (32, down[1]), (32, 24)] {
        assert!(near(at(&inverted, x, y), at(&drawn, x, y).map(|value| 255 - value), 2));
    }
}

#[test]
fn a_threshold_separates_strong_edges_from_weak_ones() {
    // A step of 40 at a third of the width, one of 200 at two thirds.
    let steps = rgb(60, 20, |x, _| [[10, 50, 250][(x / 20) as usize]; 3]);
    let edges_at = |threshold: f64| {
        let drawn = filtered("edges", json!({}), json!({"threshold": threshold}), &steps);
        (0..60).filter(|&x| at(&drawn, x, 10)[0] < 128).collect::<Vec<_>>()
    };
    assert_eq!(edges_at(0.05).len(), 2);
    assert!(matches!(edges_at(0.3)[..], [39 | 40]), "{:?}", edges_at(0.3));
    assert!(edges_at(1.0).is_empty());
    let flat = filtered("edges", json!({}), json!({"threshold": 0.0}), &rgb(9, 9, |_, _| [90; 3]));
    assert!(near(at(&flat, 4, 4), [255; 3], 2), "a flat picture has no edges");
}

#[test]
fn colour_left_alone_is_the_same_picture_and_without_saturation_gray() {
    let image = rgb(16, 16, |x, y| [(x * 16) as u8, (y * 16) as u8, 100]).to_i420();
    assert_eq!(filtered("color", json!({}), json!({}), &image), image);
    let gray = filtered("gray", json!({}), json!({}), &image);
    assert_eq!(filtered("color", json!({}), json!({"saturation": 0}), &image), gray);
}

#[test]
fn colour_settings_do_what_they_say() {
    let red = rgb(8, 8, |_, _| [200, 60, 60]);
    let adjusted = |parameters: Value| at(&filtered("color", json!({}), parameters, &red), 4, 4);
    let plain = adjusted(json!({}));
    assert!(near(adjusted(json!({"brightness": 0.1})), plain.map(|value| value + 26), 4));
    assert!(near(adjusted(json!({"brightness": -1, "saturation": 0})), [0; 3], 2));
    assert!(near(adjusted(json!({"brightness": 1, "saturation": 0})), [255; 3], 2));
    assert!(near(adjusted(json!({"contrast": 0, "saturation": 0})), [128; 3], 3));
    // A half turn makes the opposite colour, with the same luma.
    let [r, g, b] = adjusted(json!({"hue": 180}));
    assert!(g > r && b > r && g.abs_diff(b) < 20, "{:?}", [r, g, b]);
    let there = filtered("color", json!({}), json!({"hue": 120}), &red.to_i420());
    let back = filtered("color", json!({}), json!({"hue": -120}), &there);
    assert!(near(at(&back, 4, 4), plain, 4), "{:?}", at(&back, 4, 4));
    // What is out of range is used as far as it goes.
    assert_eq!(adjusted(json!({"contrast": 9})), adjusted(json!({"contrast": 2})));
}

#[test]
fn resize_fits_pictures_in_three_ways() {
    let wide = rgb(80, 40, |x, _| if x < 40 { [255, 0, 0] } else { [0, 0, 255] });
    let size = json!({"width": 40, "height": 40});
    let fit = |fit: &str| filtered("resize", size.clone(), json!({"fit": fit}), &wide);
    let contained = filtered("resize", size.clone(), json!({}), &wide);
    assert_eq!(contained, fit("contain"));
    for image in [&contained, &fit("cover"), &fit("stretch")] {
        assert_eq!(image.size(), (40, 40));
        assert!(near(at(image, 5, 20), [255, 0, 0], 6) && near(at(image, 35, 20), [0, 0, 255], 6));
    }
    assert_eq!(at(&contained, 5, 4), [0; 3], "a bar above");
    assert_eq!(at(&contained, 35, 35), [0; 3], "a bar below");
    assert!(near(at(&fit("cover"), 5, 4), [255, 0, 0], 6));
}

#[test]
fn resize_refuses_sizes_that_are_none() {
    let filter = Filter::all().into_iter().find(|filter| filter.schema.id == "resize").unwrap();
    let load = |size: serde_json::Value| {
        let params = LoadParams::new(size.as_object().unwrap().clone());
        filter.load(&params, &|_| {}).map(|_| ())
    };
    for (key, value) in [
        ("width", json!(0)),
        ("height", json!(MAX_DIMENSION + 1)),
        ("height", json!(u64::MAX)),
        ("width", json!(-4)),
        ("width", json!(12.5)),
        ("height", json!("large")),
    ] {
        let error = load(json!({key: value})).unwrap_err();
        assert_eq!(error.code(), "invalid_parameters", "{key} {value}");
        let text = error.to_string();
        assert!(text.contains(key) && text.contains(&value.to_string()), "{text}");
    }
    assert_eq!(load(json!({"width": 1, "height": MAX_DIMENSION})), Ok(()));
    assert_eq!(load(json!({})), Ok(()));
}

proptest! {
    #[test]
    fn every_filter_takes_every_size(w in 1u32..40, h in 1u32..40, packed: bool, threshold in 0.0f64..1.0) {
        let image = rgb(w, h, |x, y| [(x * 37) as u8, (y * 91) as u8, (x * y) as u8]);
        let image = if packed { image } else { image.to_i420() };
        let parameters = json!({"threshold": threshold, "hue": 50, "saturation": 2, "contrast": 1.5, "fit": "contain"});
        for filter in Filter::all() {
            let id = filter.schema.id.as_str();
            let made = filtered(id, json!({"width": 21, "height": 10}), parameters.clone(), &image);
            prop_assert_eq!(made.size(), if id == "resize" { (21, 10) } else { (w, h) });
        }
    }
}
