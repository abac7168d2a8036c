//! `scope generate` and `scope bench` as a user runs them.

#![cfg(unix)]
// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use scope_media::file::FileSource;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn scope(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scope"));
    // Nothing of the machine's own set-up may matter.
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(home);
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    scope(home).args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON that a run prints; it has to succeed.
fn document(home: &Path, arguments: &[&str]) -> Value {
    let output = run(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(home: &Path, arguments: &[&str], code: i32, texts: &[&str]) {
    let output = run(home, arguments);
    let error = errors(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    for text in texts {
        assert!(error.contains(text), "{arguments:?}: {error}");
    }
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

/// Runs with the test card.
fn card<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let start = ["generate", "--pipeline", "testcard", "--size", "64x64", "--json"];
    [&start[..], more].concat()
}

/// Whether the program was built with the pocket model.
fn has_pocket(home: &Path) -> bool {
    let output = run(home, &["pipelines"]);
    let found = String::from_utf8_lossy(&output.stdout).contains("pocket");
    if !found {
        println!("skipped: built without the pocket model");
    }
    found
}

#[test]
fn the_same_words_make_the_same_video_with_any_number_of_threads() {
    let home = tempfile::tempdir().unwrap();
    if !has_pocket(home.path()) {
        return;
    }
    let make = |more: &[&str]| {
        let start =
            ["generate", "--pipeline", "pocket", "--size", "96x64", "--frames", "8", "--hash-only", "--json"];
        document(home.path(), &[&start[..], more].concat())
    };
    let first = make(&["--prompt", "a dog walking in grass", "--threads", "1"]);
    assert_eq!((&first["frames"], &first["width"], &first["threads"]), (&json!(8), &json!(96), &json!(1)));
    let again = make(&["--prompt", "a dog walking in grass", "--threads", "2"]);
    assert!(first["sha256"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(first["sha256"], again["sha256"]);
    for other in [
        &["--seed", "7"][..],
        &["--steps", "2"],
        &["--change", "4", "a cat"],
        &["--weight", "1", "--prompt", "a cat", "--weight", "3"],
    ] {
        let other = make(&[&["--prompt", "a dog walking in grass"], other].concat());
        assert_ne!(first["sha256"], other["sha256"]);
    }
}

#[test]
fn a_video_a_sheet_and_every_frame_come_from_one_run() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let outputs = ["-o", "a.mp4", "-o", "a.png", "-o", "frames/%03d.png", "--sheet", "2x2"];
    let made = document(home, &card(&[&["--frames", "31"], &outputs[..]].concat()));
    assert_eq!(made["outputs"].as_array().unwrap().len(), 3);
    let mut video = FileSource::open(home.join("a.mp4")).unwrap();
    let mut frames = 0;
    while let Some((image, _)) = video.next_frame().unwrap() {
        assert_eq!(image.size(), (64, 64));
        frames += 1;
    }
    assert_eq!((frames, video.info().duration.unwrap().as_millis() / 10), (31, 206));
    assert_eq!(scope_media::still::open(home.join("a.png")).unwrap().size(), (128, 128));
    assert_eq!(std::fs::read_dir(home.join("frames")).unwrap().count(), 31);
    // The hash is that of the frames' bytes.
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for index in 0..31 {
        digest.update(scope_media::still::open(home.join(format!("frames/{index:03}.png"))).unwrap().data());
    }
    let hex: String = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(made["sha256"], format!("sha256:{hex}"));
}

#[test]
fn an_existing_file_is_replaced_only_by_force() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for name in ["a.mp4", "a.png"] {
        let line = card(&["--frames", "3", "-o", name]);
        document(home, &line);
        refused(home, &line, 4, &[name, "exists already", "--force"]);
        document(home, &[&line[..], &["--force"]].concat());
    }
    refused(home, &card(&["--frames", "3", "-o", "no/such/folder.mp4"]), 4, &["no/such/folder.mp4"]);
}

#[test]
fn an_input_clip_is_taken_frame_by_frame() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    document(home, &card(&["--frames", "10", "-o", "clip.mp4"]));
    let pass = ["generate", "--pipeline", "passthrough", "--input", "clip.mp4", "--hash-only", "--json"];
    let (first, again) = (document(home, &pass), document(home, &pass));
    assert_eq!((&first["frames"], &first["sha256"]), (&json!(10), &again["sha256"]));
    // A video that is longer than its clip begins the clip again.
    assert_eq!(document(home, &[&pass[..], &["--frames", "25"]].concat())["frames"], 25);
    let over = document(home, &card(&["--input", "clip.mp4", "-o", "over.mp4"]));
    assert_eq!(over["frames"], 10);
    document(home, &card(&["--frames", "1", "-o", "still.png", "--sheet", "1x1"]));
    let still = [
        "generate",
        "--pipeline",
        "passthrough",
        "--input",
        "still.png",
        "--frames",
        "4",
        "--hash-only",
        "--json",
    ];
    assert_eq!(document(home, &still)["frames"], 4);
}

#[test]
fn a_timeline_plays_as_the_same_changes_do_on_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let timeline = json!({
        "version": "2.1",
        "settings": {"pipelineId": "testcard", "resolution": {"height": 64, "width": 64}, "noiseScale": 0.4, "seed": 3},
        "prompts": [
            {"startTime": 0, "endTime": 1, "prompts": [{"text": "a cow", "weight": 100}]},
            {"startTime": 1, "endTime": 2, "prompts": [{"text": "a cat", "weight": 100}], "transitionSteps": 2},
        ],
    });
    std::fs::write(home.join("t.json"), timeline.to_string()).unwrap();
    let played = document(home, &["generate", "--timeline", "t.json", "--hash-only", "--json"]);
    assert_eq!((&played["pipeline"], &played["frames"]), (&json!("testcard"), &json!(30)));
    let words =
        ["--prompt", "a cow", "--change", "1s", "a cat", "--transition", "2", "--param", "noise_scale=0.4"];
    let typed = document(home, &card(&[&words[..], &["--frames", "30", "--hash-only"]].concat()));
    assert_eq!(played["sha256"], typed["sha256"]);
    std::fs::write(home.join("bad.json"), timeline.to_string().replace("\"endTime\":2", "\"endTime\":-2"))
        .unwrap();
    let line = ["generate", "--timeline", "bad.json", "--hash-only"];
    refused(home, &line, 3, &["bad.json: prompts[1].endTime: expected seconds from 0"]);
}

#[test]
fn a_score_plays_as_the_same_changes_do_on_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let score = json!({
        "format": "scope-score", "format_version": "1.0", "pipeline_id": "testcard", "mode": "text",
        "load": {"width": 64, "height": 64, "loras": []}, "frames": 30, "exact": true,
        "changes": [
            {"frame": 0, "parameters": {"prompts": ["a cow"], "noise_scale": 0.4}},
            {"frame": 15, "parameters": {"transition": {"target_prompts": ["a cat"], "num_steps": 2}}},
        ],
    });
    std::fs::write(home.join("s.json"), score.to_string()).unwrap();
    let played = document(home, &["generate", "--score", "s.json", "--hash-only", "--json"]);
    assert_eq!((&played["pipeline"], &played["frames"]), (&json!("testcard"), &json!(30)));
    let words =
        ["--prompt", "a cow", "--change", "1s", "a cat", "--transition", "2", "--param", "noise_scale=0.4"];
    let typed = document(home, &card(&[&words[..], &["--frames", "30", "--hash-only"]].concat()));
    assert_eq!(played["sha256"], typed["sha256"]);
    std::fs::write(home.join("bad.json"), score.to_string().replace("\"frame\":15", "\"frame\":-1")).unwrap();
    let line = ["generate", "--score", "bad.json", "--hash-only"];
    refused(home, &line, 3, &["bad.json: not a score"]);
}

#[test]
fn families_take_every_load_parameter_and_noise_for_weights() {
    let home = tempfile::tempdir().unwrap();
    for id in ["streamdiffusionv2", "longlive", "krea-realtime-video", "reward-forcing", "memflow"] {
        let video = |load: &[&str]| {
            let start = ["generate", "--pipeline", id, "--size", "32x32", "--frames", "5", "--steps", "900"];
            let tiny = ["--load", "random_weights=tiny", "--hash-only", "--json"];
            document(home.path(), &[&start[..], &tiny, load].concat())["sha256"].clone()
        };
        let plain = video(&["--load", "vace_enabled=false"]);
        assert_eq!(
            video(&["--load", "lora_merge_mode=runtime_peft", "--load", "ref_images=[]"]),
            plain,
            "{id}"
        );
        assert_ne!(video(&["--load", "base_seed=7"]), plain, "{id}");
        let size = ["bench", "--pipeline", id, "--size", "32x32", "--chunks", "1", "--warmup", "0"];
        let measured =
            document(home.path(), &[&size[..], &["--load", "random_weights=tiny", "--json"]].concat());
        assert!(measured["stages_ms"].as_array().is_some_and(|stages| !stages.is_empty()), "{measured}");
        let loras = ["generate", "--pipeline", id, "--hash-only", "--load", r#"loras=[{"scale":1}]"#];
        refused(home.path(), &loras, 1, &["loras", "no path"]);
        let start = ["generate", "--pipeline", id, "--hash-only"];
        refused(
            home.path(),
            &[&start[..], &["--load", "lora=a"]].concat(),
            2,
            &["loras (a list of", "random_weights"],
        );
    }
}

#[test]
fn what_is_wrong_is_told_with_what_would_be_right() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let hash = |more: &[&'static str]| card(&[more, &["--hash-only"]].concat());
    refused(
        home,
        &["generate", "--pipeline", "dream", "--hash-only"],
        2,
        &["\"dream\"", "passthrough, testcard"],
    );
    refused(home, &card(&[]), 2, &["--output", "--hash-only"]);
    refused(home, &card(&["-o", "a.gif"]), 2, &["a.gif", ".mp4", "%05d.png"]);
    let two = hash(&["--param", "glitter=1", "--param", "noise_scale=7"]);
    refused(
        home,
        &two,
        2,
        &[
            "--param glitter is no parameter",
            "noise_scale (0.0…1.0)",
            "--param noise_scale is 7, outside 0…1",
        ],
    );
    refused(
        home,
        &hash(&["--load", "colour=1"]),
        2,
        &["--load colour is no load parameter", "height (64…2048)"],
    );
    refused(
        home,
        &hash(&["--prompt", "a", "--weight", "1", "--weight", "2"]),
        2,
        &["1 prompts and 2 weights"],
    );
    refused(home, &hash(&["--change", "soon", "a"]), 2, &["\"soon\"", "3s"]);
    refused(home, &hash(&["--input", "nothing.mp4"]), 3, &["nothing.mp4", "No such file"]);
    refused(home, &["generate", "--pipeline", "passthrough", "--hash-only"], 2, &["--input"]);
    let prompts = ["generate", "--pipeline", "passthrough", "--input", "x", "--prompt", "a", "--hash-only"];
    refused(home, &prompts, 2, &["passthrough uses no prompts"]);
    std::fs::write(home.join("text.mp4"), "no video").unwrap();
    let line = hash(&["--input", "text.mp4"]);
    assert_eq!(run(home, &line).status.code(), Some(3));
    let odd = ["generate", "--pipeline", "testcard", "--load", "width=100", "--hash-only"];
    refused(home, &odd, 1, &["width is 100", "multiple of 16. Use 96"]);
}

#[test]
fn an_interrupted_video_plays_up_to_where_it_got() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    // Without an end: only the signal stops it.
    let line = card(&["--frames", "1000000", "--param", "delay_ms=20", "-o", "a.mp4", "-o", "frames/%d.png"]);
    let child = scope(home).args(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !home.join("frames/4.png").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", errors(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["interrupted"], true);
    let frames = FileSource::open(home.join("a.mp4")).unwrap().map(Result::unwrap).count();
    assert_eq!(made["frames"], frames);
    assert!(frames >= 5);
}

#[test]
fn the_suite_measures_every_row_and_prints_a_table() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let tiny = [
        "--device",
        "cpu",
        "--size",
        "32x32",
        "--load",
        "random_weights=tiny",
        "--chunks",
        "1",
        "--warmup",
        "0",
    ];
    let document = document(home, &[&["bench", "--suite", "--json"], &tiny[..]].concat());
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.len() >= 9);
    for row in rows {
        assert!(row["report"]["fps"].as_f64().is_some_and(|fps| fps > 0.0), "{row}");
        assert!(row["report"]["prompt_seconds"].as_f64().is_some_and(|time| time > 0.0), "{row}");
    }
    // What does not fit is told in its row, and the others go on.
    let output = scope(home).args(["bench", "--suite", "--size", "33x32"]).args(&tiny[4..]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text.lines().filter(|line| line.contains("33×32") && line.contains("width")).count(),
        rows.len(),
        "{text}"
    );
}

#[test]
fn a_measurement_has_every_number() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let bench = |more: &[&str]| {
        let start = ["bench", "--pipeline", "testcard", "--size", "64x64", "--chunks", "5", "--warmup", "1"];
        [&start[..], more].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let strings = bench(&["--json"]);
    let report = document(home, &strings.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((&report["chunks"], &report["frames"]), (&json!(5), &json!(15)));
    assert!(report["fps"].as_f64().unwrap() > 0.0 && report["chunk_ms"]["median"].is_number());
    if cfg!(target_os = "linux") {
        let memory = |name: &str| report["memory"][name].as_f64().unwrap();
        assert!(memory("peak_mib") >= memory("current_mib") && memory("current_mib") > 1.0);
    }
    let output = scope(home).args(bench(&[])).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("frames a second"), "{}", errors(&output));
    let strings = bench(&["--random-weights"]);
    let line: Vec<&str> = strings.iter().map(String::as_str).collect();
    refused(home, &line, 2, &["--random-weights is not supported by testcard"]);
    if has_pocket(home) {
        let line = [
            "bench",
            "--pipeline",
            "pocket",
            "--size",
            "96x64",
            "--steps",
            "2",
            "--chunks",
            "3",
            "--warmup",
            "1",
            "--json",
        ];
        let report = document(home, &line);
        let names: Vec<_> =
            report["stages_ms"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        assert_eq!(names, ["text", "encode", "control", "denoise", "decode", "clean"]);
        assert!(report["threads"].as_u64().unwrap() >= 1);
    }
}

#[test]
fn shells_get_their_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(home.path(), &["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && script.contains("hash-only"), "{shell}");
    }
}
