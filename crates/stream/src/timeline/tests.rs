use super::*;
use scope_pipelines::Registry;

const TIMELINE: &str = include_str!("fixtures/timeline.json");
const WORKFLOW: &str = include_str!("fixtures/workflow.json");

fn parse(text: &str) -> Result<Timeline, TimelineError> {
    Timeline::parse(text.as_bytes())
}

/// The timeline with the value at `pointer` replaced; `null` removes nothing, it is a value too.
fn with(document: &str, pointer: &str, value: Value) -> Result<Timeline, TimelineError> {
    let mut document: Value = serde_json::from_str(document).unwrap();
    *document.pointer_mut(pointer).unwrap() = value;
    parse(&document.to_string())
}

fn texts(prompts: &[Prompt]) -> Vec<(&str, f64)> {
    prompts.iter().map(|prompt| (prompt.text.as_str(), prompt.weight)).collect()
}

#[test]
fn a_timeline_of_either_version_is_read() {
    for version in ["2.0", "2.1"] {
        let timeline = with(TIMELINE, "/version", json!(version)).unwrap();
        assert_eq!(timeline.pipeline_id.as_deref(), Some("pocket"));
        assert_eq!(timeline.mode, Some(InputMode::Text));
        assert_eq!(timeline.settings["denoising_step_list"], json!([1000, 857, 600]));
        assert_eq!((&timeline.settings["width"], &timeline.settings["base_seed"]), (&json!(256), &json!(7)));
        assert_eq!(timeline.loras, [json!({"path": "style.safetensors", "scale": 0.5})]);
        assert_eq!(timeline.duration(), Duration::from_secs(9));
        let blocks: Vec<_> = timeline.blocks.iter().map(|block| texts(&block.prompts)).collect();
        assert_eq!(
            blocks,
            [
                vec![("a dog walking in grass", 1.0)],
                vec![("a cat", 0.75), ("a cow", 0.25)],
                vec![("the sea", 1.0)]
            ]
        );
        assert_eq!(timeline.blocks[1].start, Duration::from_millis(2500));
        let transition = Transition { steps: 4, method: Some(Interpolation::Slerp) };
        assert_eq!(timeline.blocks[1].transition, Some(transition));
        assert_eq!(timeline.blocks[2].transition, None);
    }
}

#[test]
fn a_workflow_of_the_same_prompts_plays_the_same() {
    let (timeline, workflow) = (parse(TIMELINE).unwrap(), parse(WORKFLOW).unwrap());
    assert_eq!(workflow.blocks, timeline.blocks);
    assert_eq!(workflow.script(), timeline.script());
    assert_eq!(workflow.pipeline_id.as_deref(), Some("pocket"), "the main pipeline, not the one before it");
    assert_eq!(workflow.settings["vae_type"], "light", "settings outside the known ones are kept");
    assert_eq!(workflow.settings["prompt_interpolation_method"], "linear");
    assert_eq!(workflow.mode, Some(InputMode::Text));
    assert_eq!(texts(&workflow.opening), [("overruled by the first entry", 1.0)]);
}

#[test]
fn a_script_begins_with_the_first_block_and_moves_as_the_blocks_say() {
    let script = with(TIMELINE, "/prompts/0/startTime", json!(1.5)).unwrap().script();
    let changes: Vec<Value> =
        script.iter().map(|change| json!([format!("{:?}", change.at), change.parameters])).collect();
    assert_eq!(
        Value::from(changes),
        json!([
            ["Time(0ns)", {"prompts": [{"text": "a dog walking in grass", "weight": 1.0}]}],
            ["Time(2.5s)", {"transition": {
                "target_prompts": [{"text": "a cat", "weight": 0.75}, {"text": "a cow", "weight": 0.25}],
                "num_steps": 4, "temporal_interpolation_method": "slerp",
            }}],
            ["Time(6s)", {"prompts": [{"text": "the sea", "weight": 1.0}]}],
        ])
    );
}

#[test]
fn a_workflow_without_a_timeline_shows_its_prompts() {
    let workflow = with(WORKFLOW, "/timeline", Value::Null).unwrap();
    let script = workflow.script();
    assert_eq!(script.len(), 1);
    let prompts = &script.iter().next().unwrap().parameters["prompts"];
    assert_eq!(*prompts, json!([{"text": "overruled by the first entry", "weight": 1.0}]));
    let empty = with(WORKFLOW, "/pipelines", json!([])).unwrap();
    assert_eq!((empty.pipeline_id, empty.blocks.len()), (None, 3));
}

#[test]
fn settings_are_sorted_by_where_a_pipeline_reads_them() {
    let registry = Registry::builtin();
    let timeline = parse(TIMELINE).unwrap();
    let settings = timeline.settings_for(registry.get("testcard").unwrap().schema());
    let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&settings.load), ["height", "width", "base_seed", "noise_controller"]);
    assert_eq!(keys(&settings.parameters), ["denoising_step_list", "noise_scale", "manage_cache"]);
    assert_eq!(settings.unused, ["quantization", "kv_cache_attention_bias"]);
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_was_expected() {
    let cases = [
        (TIMELINE, "/version", json!("3.0"), "version: expected \"2.0\" or \"2.1\", found \"3.0\""),
        (TIMELINE, "/prompts", Value::Null, "neither a timeline nor a workflow"),
        (TIMELINE, "/prompts", json!({}), "prompts: invalid type: map, expected a sequence"),
        (
            TIMELINE,
            "/prompts/1/endTime",
            json!("x"),
            "prompts[1].endTime: invalid type: string \"x\", expected f64",
        ),
        (
            TIMELINE,
            "/prompts/1/endTime",
            json!(-1),
            "prompts[1].endTime: expected seconds from 0 to 604800, found -1",
        ),
        (
            TIMELINE,
            "/prompts/1/endTime",
            json!(1),
            "prompts[1].endTime: expected at least the start, 2.5 s, found 1 s",
        ),
        (TIMELINE, "/prompts/1/startTime", json!(1e9), "prompts[1].startTime: expected seconds"),
        (
            TIMELINE,
            "/prompts/1/prompts/0/weight",
            json!(-3),
            "prompts[1].prompts[0].weight: expected a weight",
        ),
        (TIMELINE, "/prompts/1/prompts/0", json!({}), "prompts[1].prompts[0]: missing field `text`"),
        (
            TIMELINE,
            "/prompts/1/transitionSteps",
            json!(1001),
            "prompts[1].transitionSteps: expected 0 to 1000 chunks",
        ),
        (TIMELINE, "/prompts/1/temporalInterpolationMethod", json!("cubic"), "expected `linear` or `slerp`"),
        (
            TIMELINE,
            "/settings/resolution",
            json!({"height": 1}),
            "settings.resolution: missing field `width`",
        ),
        (TIMELINE, "/settings/denoisingSteps", json!([1, "a"]), "settings.denoisingSteps[1]: invalid type"),
        (WORKFLOW, "/format", json!("other"), "format: expected \"scope-workflow\", found \"other\""),
        (WORKFLOW, "/format_version", json!(2), "format_version: expected \"1.0\", found 2"),
        (
            WORKFLOW,
            "/timeline/entries/0/end_time",
            json!(null),
            "timeline.entries[0].end_time: invalid type: null",
        ),
        (WORKFLOW, "/pipelines/1/role", json!("star"), "pipelines[1].role: unknown variant `star`"),
        (
            WORKFLOW,
            "/pipelines/1/params/input_mode",
            json!("dance"),
            "pipelines[1].params.input_mode: unknown variant",
        ),
    ];
    for (document, pointer, value, expected) in cases {
        let error = with(document, pointer, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{pointer}: {error}");
    }
    for text in ["", "[]", "3", "{}", "{\"prompts\"", "\"a\""] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn files_are_bounded_in_every_direction() {
    let long = "a".repeat(scope_pipelines::prompt::MAX_PROMPT_BYTES + 1);
    let block = json!({"startTime": 0, "endTime": 1, "prompts": [{"text": "a"}]});
    let cases = [
        ("/prompts/0/prompts/0/text", json!(long), "at most 8192 bytes"),
        ("/prompts", Value::from(vec![block; MAX_BLOCKS + 1]), "at most 10000 entries, found 10001"),
        ("/prompts/0/prompts", Value::from(vec![json!({"text": "a"}); 51]), "at most 50 entries"),
    ];
    for (pointer, value, expected) in cases {
        let error = with(TIMELINE, pointer, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(Timeline::parse(&vec![b' '; MAX_BYTES + 1]), Err(TimelineError::TooLong(MAX_BYTES + 1)));
    assert!(parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn blocks_without_length_or_prompts_are_left_out_and_the_rest_is_put_in_order() {
    let blocks = json!([
        {"startTime": 5, "endTime": 6, "prompts": [{"text": "late", "weight": 0}, {"text": "too", "weight": 0}]},
        {"startTime": 4, "endTime": 4, "prompts": [{"text": "never"}]},
        {"startTime": 3, "endTime": 4, "prompts": [{"text": "  "}]},
        {"startTime": 0, "endTime": 2, "text": "alone", "isLive": true, "color": "#fff"},
    ]);
    let timeline = with(TIMELINE, "/prompts", blocks).unwrap();
    let shown: Vec<_> = timeline.blocks.iter().map(|block| texts(&block.prompts)).collect();
    assert_eq!(shown, [vec![("alone", 1.0)], vec![("late", 0.5), ("too", 0.5)]]);
}

#[test]
fn no_part_of_a_file_is_taken_for_a_whole_one_or_panics() {
    for document in [TIMELINE, WORKFLOW] {
        let whole = document.trim_end();
        for length in 0..whole.len() {
            assert!(Timeline::parse(&whole.as_bytes()[..length]).is_err(), "{length} bytes");
            let mut damaged = whole.as_bytes().to_vec();
            for byte in [b'"', b'}', b'0', b'-', 0xff] {
                damaged[length] = byte;
                if let Ok(timeline) = Timeline::parse(&damaged) {
                    assert!(timeline.script().len() <= timeline.blocks.len().max(1));
                }
            }
        }
    }
}
