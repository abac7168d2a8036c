//! The five families at tiny sizes, from files in the real formats.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{FAMILIES, HEIGHT, Models, Session, WIDTH, difference, lora, moving};
use scope_frame::{Image, PixelFormat};
use scope_pipelines::{Compute, InputMode, Needs, Registry};
use scope_store::Role;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

/// One folder for all tests that leave it as it is.
fn models() -> &'static Models {
    static MODELS: OnceLock<Models> = OnceLock::new();
    MODELS.get_or_init(Models::write)
}

/// Pictures of the first chunk and of each later one, from text and from a video.
fn counts(id: &str) -> ([usize; 2], [usize; 2]) {
    if id == "streamdiffusionv2" { ([5, 4], [5, 4]) } else { ([9, 12], [13, 12]) }
}

#[test]
fn schemas_are_what_clients_expect() {
    let facts: Value = serde_json::from_str(include_str!("families.facts.json")).unwrap();
    let registry = Registry::with_models(&models().models(), &Compute::default());
    for id in FAMILIES {
        let mut ours = registry.get(id).unwrap().schema().to_value();
        // What is said to people is our own.
        for key in ["description", "docs_url", "default_prompt", "example_prompts"] {
            assert!(ours.as_object_mut().unwrap().shift_remove(key).is_some(), "{id}: {key}");
        }
        for property in ours["config_schema"]["properties"].as_object_mut().unwrap().values_mut() {
            property.as_object_mut().unwrap().shift_remove("description");
            if let Some(ui) = property.get_mut("ui").and_then(Value::as_object_mut) {
                ui.shift_remove("section");
                ui.shift_remove("multiple_of");
            }
        }
        assert_eq!(ours, facts[id], "{id}");
    }
}

#[test]
fn every_family_loads_from_its_files_and_makes_the_same_video_of_the_same_seed() {
    for id in FAMILIES {
        let loaded = models().load(id, json!({"base_seed": 5})).unwrap();
        let parameters = json!({"prompts": ["a dog"], "denoising_step_list": [1000, 500]});
        let video = |parameters: &Value| {
            let mut session = Session::new(&loaded, parameters.clone());
            let chunks = [session.text(), session.text(), session.text()];
            assert!(session.problems.is_empty());
            chunks
        };
        let first = video(&parameters);
        let ([opening, later], _) = counts(id);
        assert_eq!(first.each_ref().map(Vec::len), [opening, later, later], "{id}");
        let picture = &first[0][0];
        assert_eq!((picture.height() as usize, picture.width() as usize), (HEIGHT, WIDTH));
        assert_eq!(first, video(&parameters), "{id}");
        let mut other = parameters.clone();
        other["base_seed"] = json!(6);
        assert!(difference(&video(&other)[0][0], picture) > 0.5, "{id}");
    }
}

#[test]
fn pictures_leave_and_enter_as_i420_or_rgb_and_are_the_same() {
    let i420 = |pictures: &[Image]| pictures.iter().map(Image::to_i420).collect::<Vec<_>>();
    for id in ["longlive", "streamdiffusionv2"] {
        let loaded = models().load(id, json!({})).unwrap();
        let session = |format| {
            let mut session =
                Session::new(&loaded, json!({"prompts": ["a dog"], "denoising_step_list": [1000, 500]}));
            session.format = format;
            session
        };
        let [mut packed, mut planar] = [PixelFormat::Rgb8, PixelFormat::I420].map(session);
        for _ in 0..2 {
            let (packed, planar) = (packed.text(), planar.text());
            assert!(packed.iter().all(|picture| picture.format() == PixelFormat::Rgb8), "{id}");
            assert_eq!(planar, i420(&packed), "{id}");
        }
        // The picture that a camera's frames stand for is the one that they are in RGB.
        let Needs::Frames { count, .. } = packed.run.needs(InputMode::Video) else { panic!("no video") };
        let frames = |convert: fn(&Image) -> Image| {
            let mut frames = moving(0, count);
            for (index, frame) in frames.iter_mut().enumerate() {
                let pixels = (0..31 * 51 * 3).map(|i| (i * (index + 3) % 251) as u8).collect::<Vec<_>>();
                let image = Image::new(PixelFormat::Rgb8, 31, 51, pixels).unwrap();
                frame.image = convert(&image.to_i420());
            }
            BTreeMap::from([("video".to_owned(), frames)])
        };
        let pictures =
            |shown: Vec<common::Shown>| shown.into_iter().map(|(image, _)| image).collect::<Vec<_>>();
        let as_rgb = pictures(packed.ports(frames(Image::to_rgb8)));
        let as_i420 = pictures(planar.ports(frames(Image::clone)));
        assert_eq!(as_i420, i420(&as_rgb), "{id}");
        assert!(as_rgb[0] != as_rgb[1], "{id}");
    }
}

#[test]
fn a_reset_starts_the_same_video_again() {
    for id in FAMILIES {
        let loaded = models().load(id, json!({})).unwrap();
        let mut session = Session::new(&loaded, json!({"prompts": ["a cat"], "denoising_step_list": [800]}));
        let first = [session.text(), session.text()];
        session.set(json!({"reset_cache": true}));
        assert_eq!([session.text(), session.text()], first, "{id}");
        session.run.reset();
        assert_eq!(session.text(), first[0], "{id}");
    }
}

#[test]
fn input_video_of_any_size_and_number_becomes_the_video_and_keeps_its_times() {
    for id in FAMILIES {
        let loaded = models().load(id, json!({})).unwrap();
        let parameters = json!({"prompts": ["a sea"], "noise_scale": 0.4});
        let mut session = Session::new(&loaded, parameters.clone());
        assert_eq!(session.run.needs(InputMode::Text), Needs::Nothing);
        let (_, [opening, later]) = counts(id);
        let first = session.video("video", 0);
        assert_eq!(first.len(), opening, "{id}");
        // Fewer frames than asked for stand for several each.
        let second = session.ports(BTreeMap::from([("video".to_owned(), moving(100, 3))]));
        assert_eq!(second.len(), later, "{id}");
        let times: Vec<_> = first.iter().chain(&second).map(|(_, time)| time.unwrap()).collect();
        assert!(times.is_sorted() && times[0].as_micros() == 0, "{id}: {times:?}");
        assert_eq!(times.last().unwrap().as_micros(), 102);
        let mut again = Session::new(&loaded, parameters);
        assert_eq!(again.video("video", 0), first, "{id}");
        // From video back to text, the stream starts anew.
        let ([text_opening, _], _) = counts(id);
        assert_eq!(session.text().len(), text_opening, "{id}");
    }
}

#[test]
fn less_noise_lets_more_of_the_input_through() {
    let loaded = models().load("longlive", json!({})).unwrap();
    let first = |noise: f64| {
        let parameters = json!({"prompts": ["x"], "noise_scale": noise, "noise_controller": false});
        Session::new(&loaded, parameters).video("video", 0).remove(0).0
    };
    assert!(difference(&first(0.2), &first(0.9)) > 0.5);
}

#[test]
fn a_new_prompt_changes_the_pictures_without_a_cut_in_text_mode_and_with_one_over_a_video() {
    for id in FAMILIES {
        let loaded = models().load(id, json!({})).unwrap();
        let parameters = json!({"prompts": ["a dog"], "denoising_step_list": [900]});
        let (mut stays, mut moves) =
            (Session::new(&loaded, parameters.clone()), Session::new(&loaded, parameters.clone()));
        assert_eq!((stays.text(), stays.text()), (moves.text(), moves.text()));
        moves.set(json!({"prompts": ["a robot on mars"]}));
        let (old, new) = (stays.text(), moves.text());
        let ([_, later], [opening, _]) = counts(id);
        assert_eq!(new.len(), later, "{id} was not to start anew");
        assert!(difference(&old[later - 1], &new[later - 1]) > 0.05, "{id}");
        let mut video = Session::new(&loaded, parameters);
        video.video("video", 0);
        video.video("video", 12);
        video.set(json!({"prompts": ["a robot on mars"]}));
        assert_eq!(video.video("video", 24).len(), opening, "{id} was to start anew");
    }
}

#[test]
fn transitions_move_in_steps_and_mixes_blend_by_weight() {
    let loaded = models().load("longlive", json!({})).unwrap();
    let parameters = json!({"prompts": ["a dog"], "denoising_step_list": [900]});
    let (mut cuts, mut moves) =
        (Session::new(&loaded, parameters.clone()), Session::new(&loaded, parameters));
    let first = cuts.text();
    assert_eq!(moves.text(), first);
    let target = json!([{"text": "zzz", "weight": 1}]);
    cuts.set(json!({"prompts": target}));
    for method in ["linear", "slerp"] {
        moves.set(json!({"transition": {"target_prompts": target, "num_steps": 3, "temporal_interpolation_method": method}}));
    }
    let (cut, moved) = (cuts.text(), moves.text());
    assert_ne!(cut, moved);
    let mix = |a: f64, b: f64, method: &str| {
        let prompts = json!([{"text": "a dog", "weight": a}, {"text": "zzz", "weight": b}]);
        let parameters =
            json!({"prompts": prompts, "prompt_interpolation_method": method, "denoising_step_list": [900]});
        Session::new(&loaded, parameters).text()
    };
    assert_eq!(mix(2.0, 2.0, "linear"), mix(50.0, 50.0, "linear"));
    assert_ne!(mix(1.0, 1.0, "linear"), mix(1.0, 3.0, "linear"));
    assert_ne!(mix(1.0, 1.0, "linear"), mix(1.0, 1.0, "slerp"));
}

#[test]
fn other_steps_start_anew_unless_the_user_manages_the_cache() {
    let loaded = models().load("longlive", json!({})).unwrap();
    for (manage, expected) in [(true, 9), (false, 12)] {
        let parameters = json!({"prompts": ["a"], "denoising_step_list": [900], "manage_cache": manage});
        let mut session = Session::new(&loaded, parameters);
        session.text();
        session.set(json!({"denoising_step_list": [900, 500]}));
        assert_eq!(session.text().len(), expected);
    }
}

#[test]
fn the_weight_of_the_past_matters_where_the_schema_says_so() {
    for id in ["krea-realtime-video", "longlive"] {
        let loaded = models().load(id, json!({})).unwrap();
        let second = |weight: f64| {
            let parameters =
                json!({"prompts": ["a"], "denoising_step_list": [900], "kv_cache_attention_bias": weight});
            let mut session = Session::new(&loaded, parameters);
            session.text();
            session.text()
        };
        assert_eq!(second(0.05) != second(1.0), id == "krea-realtime-video", "{id}");
    }
}

#[test]
fn control_videos_masks_and_pictures_steer_every_family() {
    for id in FAMILIES {
        let loaded = models().load(id, json!({})).unwrap();
        let parameters = json!({"prompts": ["a"], "denoising_step_list": [900]});
        let plain = Session::new(&loaded, parameters.clone()).text();
        let with = |set: Value, ports: &[&str]| {
            let mut session = Session::new(&loaded, parameters.clone());
            session.set(set);
            let inputs = ports.iter().map(|port| ((*port).to_owned(), moving(7, 12))).collect();
            let shown: Vec<_> = session.ports(inputs).into_iter().map(|(image, _)| image).collect();
            assert!(session.problems.is_empty(), "{id}: {:?}", session.problems);
            shown
        };
        let variants = [
            with(json!({"vace_ref_images": ["red"]}), &[]),
            with(json!({"vace_ref_images": ["red"], "vace_context_scale": 0.3}), &[]),
            with(json!({"vace_ref_images": ["blue"]}), &[]),
            with(json!({"first_frame_image": "red"}), &[]),
            with(json!({"last_frame_image": "blue"}), &[]),
            with(json!({}), &["vace_input_frames"]),
            with(json!({}), &["vace_input_frames", "vace_input_masks"]),
            with(json!({"vace_ref_images": ["red"]}), &["vace_input_frames"]),
        ];
        for (index, variant) in variants.iter().enumerate() {
            assert_eq!(variant.len(), plain.len(), "{id}");
            assert_ne!(*variant, plain, "{id}: variant {index}");
            assert!(variants[..index].iter().all(|other| other != variant), "{id}: variant {index}");
        }
        assert_eq!(with(json!({"vace_ref_images": ["red"], "vace_context_scale": 0.0}), &[]), plain, "{id}");
    }
}

#[test]
fn blocks_for_control_come_when_they_are_first_needed() {
    let parameters = json!({"prompts": ["a"], "denoising_step_list": [900]});
    let set = json!({"vace_ref_images": ["red"]});
    let pictures = |load: Value| {
        let loaded = models().load("longlive", load).unwrap();
        let mut session = Session::new(&loaded, parameters.clone());
        session.text();
        session.set(set.clone());
        let shown = session.text();
        assert!(session.problems.is_empty(), "{:?}", session.problems);
        shown
    };
    assert_eq!(pictures(json!({"vace_enabled": false})), pictures(json!({"vace_enabled": true})));
    let incomplete = Models::write();
    fs::remove_file(incomplete.file("longlive", Role::Vace)).unwrap();
    let loaded = incomplete.load("longlive", json!({"vace_enabled": false})).unwrap();
    let mut session = Session::new(&loaded, parameters);
    session.set(set);
    assert_eq!(session.text().len(), 9);
    let [(key, reason)] = &session.problems[..] else { panic!("{:?}", session.problems) };
    assert!(key == "vace_ref_images" && reason.contains("VACE"), "{reason}");
}

#[test]
fn reference_pictures_named_while_loading_are_shown_from_the_start() {
    let parameters = json!({"prompts": ["a"], "denoising_step_list": [900]});
    let loaded = models().load("memflow", json!({"ref_images": ["red", "nowhere"]})).unwrap();
    let mut session = Session::new(&loaded, parameters.clone());
    let first = session.text();
    assert_eq!(session.problems[0].0, "ref_images");
    session.text();
    assert!(session.problems.is_empty());
    let plain = models().load("memflow", json!({})).unwrap();
    let mut other = Session::new(&plain, parameters);
    other.set(json!({"vace_ref_images": ["red"]}));
    assert_eq!(other.text(), first);
}

#[test]
fn adapters_are_merged_or_follow_their_scale_live() {
    let path = models().path("style.safetensors");
    fs::write(&path, lora("blocks.1.self_attn.q", [48, 48])).unwrap();
    let path = path.to_str().unwrap();
    let parameters = json!({"prompts": ["a"], "denoising_step_list": [900]});
    for id in FAMILIES {
        let plain = Session::new(&models().load(id, json!({})).unwrap(), parameters.clone()).text();
        let merged = json!({"loras": [{"path": path, "scale": 1.5}]});
        let runtime = json!({"loras": [{"path": path, "scale": 0.0}], "lora_merge_mode": "runtime_peft"});
        let merged = models().load(id, merged).unwrap();
        let runtime = models().load(id, runtime).unwrap();
        let mut fixed = Session::new(&merged, parameters.clone());
        let styled = fixed.text();
        assert_ne!(styled, plain, "{id}");
        let mut live = Session::new(&runtime, parameters.clone());
        assert_eq!(live.text(), plain, "{id}");
        live.set(json!({"lora_scales": [{"path": path, "scale": 1.5}]}));
        let changed = live.text();
        assert_eq!(changed.len(), plain.len(), "{id}: a change of scale starts the video anew");
        for (a, b) in changed.iter().zip(&styled) {
            // Merged weights are rounded to bf16.
            assert!(difference(a, b) < difference(b, &plain[0]).max(2.0), "{id}");
        }
        live.set(json!({"manage_cache": false, "lora_scales": [{"path": path, "scale": 0.5}]}));
        let ([_, later], _) = counts(id);
        assert_eq!(live.text().len(), later, "{id}");
        fixed.set(json!({"lora_scales": [{"path": path, "scale": 1}, {"path": "other", "scale": 1}]}));
        fixed.text();
        let reasons: Vec<&str> = fixed.problems.iter().map(|(_, reason)| reason.as_str()).collect();
        assert!(
            reasons[0].contains("runtime_peft") && reasons[1].contains("other is not loaded"),
            "{reasons:?}"
        );
        assert_eq!(runtime.loaded_lora_adapters()[0]["merge_mode"], "runtime_peft");
    }
}

#[test]
fn adapters_of_another_model_are_refused_by_name() {
    let path = models().path("foreign.safetensors");
    fs::write(&path, lora("double_blocks.0.img_attn", [48, 48])).unwrap();
    let load = json!({"loras": [{"path": path.to_str().unwrap()}]});
    let error = models().load("longlive", load).err().unwrap().to_string();
    assert!(error.contains("double_blocks.0.img_attn") && error.contains("foreign.safetensors"), "{error}");
}

#[test]
fn every_autoencoder_and_eight_bit_weights_can_be_chosen() {
    let parameters = json!({"prompts": ["a"], "denoising_step_list": [900]});
    let mut all = Vec::new();
    for load in [
        json!({}),
        json!({"vae_type": "lightvae"}),
        json!({"vae_type": "tae"}),
        json!({"vae_type": "lighttae"}),
        json!({"quantization": "fp8_e4m3fn"}),
    ] {
        let loaded = models().load("reward-forcing", load).unwrap();
        let mut session = Session::new(&loaded, parameters.clone());
        let shown = [session.text(), session.text()];
        assert_eq!(shown.each_ref().map(Vec::len), [9, 12]);
        let mut video = Session::new(&loaded, parameters.clone());
        assert_eq!((video.video("video", 0).len(), video.video("video", 12).len()), (13, 12));
        all.push(shown);
    }
    for index in 1..all.len() {
        assert!(all[..index].iter().all(|other| other != &all[index]), "{index}");
    }
}

#[test]
fn wrong_parameters_are_told_and_the_video_goes_on() {
    let loaded = models().load("longlive", json!({})).unwrap();
    let mut session = Session::new(&loaded, json!({"prompts": ["a"]}));
    session.set(json!({
        "denoising_step_list": "fast", "vace_ref_images": ["nowhere"], "first_frame_image": "gone",
        "lora_scales": [{"path": "x"}],
    }));
    assert_eq!(session.text().len(), 9);
    let keys: Vec<&str> = session.problems.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["denoising_step_list", "vace_ref_images", "first_frame_image", "lora_scales"]);
}

#[test]
fn wrong_load_parameters_name_what_works() {
    for (load, needle) in [
        (json!({"height": 100}), "Use 96"),
        (json!({"width": "wide"}), "multiple of 16"),
        (json!({"vae_type": "best"}), "lighttae"),
        (json!({"quantization": "int4"}), "fp8_e4m3fn"),
        (json!({"vace_context_scale": 7}), "0 to 2"),
        (json!({"base_seed": -1}), "whole number"),
        (json!({"loras": [{"scale": 1}]}), "no path"),
        (json!({"loras": [{"path": "a", "scale": 99}]}), "-10 to 10"),
        (json!({"lora_merge_mode": "glue"}), "runtime_peft"),
        (json!({"denoising_steps": [1, 2]}), "descending"),
    ] {
        let error = models().load("longlive", load.clone()).err().unwrap();
        assert_eq!(error.code(), "invalid_parameters", "{load}");
        assert!(error.to_string().contains(needle), "{error}");
    }
}

#[test]
fn files_that_are_missing_or_of_another_model_are_named() {
    let empty = tempfile::TempDir::new().unwrap();
    let registry = Registry::with_models(&scope_store::ModelFolder::new(empty.path()), &Compute::default());
    let error =
        registry.get("krea-realtime-video").unwrap().load(&Default::default(), &|_| {}).err().unwrap();
    assert!(error.to_string().contains("krea-realtime-video-14b.safetensors"), "{error}");
    let swapped = Models::write();
    let vae = swapped.file("longlive", Role::Vae);
    fs::copy(vae, swapped.file("longlive", Role::Generator)).unwrap();
    let error = swapped.load("longlive", json!({})).err().unwrap().to_string();
    assert!(
        error.contains("missing") && error.contains("unexpected") && error.contains("longlive_base.pt"),
        "{error}"
    );
    let error = swapped.load("memflow", json!({})).err();
    assert!(error.is_none(), "{error:?}");
}

#[test]
fn made_up_weights_need_no_files() {
    let empty = tempfile::TempDir::new().unwrap();
    let registry = Registry::with_models(&scope_store::ModelFolder::new(empty.path()), &Compute::default());
    for id in FAMILIES {
        for (vae, lora) in [("wan", true), ("lightvae", false), ("tae", true), ("lighttae", false)] {
            let params = json!({"random_weights": "tiny", "height": 32, "width": 32, "vae_type": vae, "vace_enabled": lora});
            let params = scope_pipelines::LoadParams::new(common::map(params));
            let loaded = registry.get(id).unwrap().load(&params, &|_| {}).unwrap();
            let mut session = Session::new(&loaded, json!({"prompts": ["a"], "vace_ref_images": ["red"]}));
            let shown = session.text();
            assert!(session.problems.is_empty());
            assert!(shown[0].data().iter().any(|&byte| byte != shown[0].data()[0]), "{id} {vae}");
        }
    }
}
