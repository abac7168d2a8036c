use super::*;
use proptest::prelude::*;
use serde_json::json;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn score(changes: &Value) -> Result<Score, ScoreError> {
    Score::from_value(json!({"format": "scope-score", "format_version": "1.0", "changes": changes}))
}

#[test]
fn what_is_no_score_is_refused_with_the_reason() {
    assert_eq!(Score::parse(b"{}"), Err(ScoreError::Format));
    assert!(matches!(Score::parse(b"{"), Err(ScoreError::Shape(_))));
    assert!(matches!(Score::parse(&vec![b' '; MAX_BYTES + 1]), Err(ScoreError::TooLong(_))));
    let wrong = |change: Value| score(&json!([{"frame": 0}, change])).unwrap_err().to_string();
    assert_eq!(wrong(json!({})), "change 1 of the score needs either a frame or seconds");
    assert_eq!(
        wrong(json!({"frame": 1, "seconds": 1})),
        "change 1 of the score needs either a frame or seconds"
    );
    assert_eq!(wrong(json!({"seconds": -1})), "change 1 of the score is at a time outside of a week");
    assert!(wrong(json!({"frame": 1, "parameter": {}})).contains("unknown field `parameter`"));
    assert!(wrong(json!({"frame": 1, "effort": 65})).contains("effort above 64"));
    let many = vec![json!({"frame": 0}); MAX_CHANGES + 1];
    assert_eq!(score(&json!(many)), Err(ScoreError::TooMany(MAX_CHANGES + 1)));
}

fn schema() -> PipelineSchema {
    scope_pipelines::Registry::builtin().get("testcard").unwrap().schema().clone()
}

#[test]
fn a_change_that_the_pipeline_refuses_is_named() {
    let changes = |second: Value| {
        score(&json!([{"seconds": 1.5, "parameters": {"noise_scale": 1}}, {"frame": 8, "once": second}]))
    };
    let wrong = |second| changes(second).unwrap().script(&schema()).unwrap_err().to_string();
    assert!(
        wrong(json!({"noise_scale": 7})).starts_with("change 1 of the score cannot be made: noise_scale")
    );
    let session = "change 1 of the score cannot be made: paused is no parameter of a pipeline";
    assert_eq!(wrong(json!({"paused": true})), session);
    let script = changes(json!({"noise_scale": 0.5})).unwrap().script(&schema()).unwrap();
    let moments: Vec<_> = script.iter().map(|change| change.at).collect();
    assert_eq!(moments, [Moment::Time(Duration::from_millis(1500)), Moment::Frame(8)]);
}

#[test]
fn a_full_journal_ends_the_exactness_and_not_the_show() {
    let mut journal = Journal::default();
    let long = "x".repeat(1 << 20);
    for frame in 0..40 {
        journal.merge(&map(json!({"text": format!("{frame}{long}")})), frame);
        assert_eq!(journal.take(frame).revision(), frame);
    }
    let score = journal.score("a", InputMode::Text, 40);
    assert!(!score.exact && score.why_not.is_some());
    assert!(score.changes.len() < 20 && serde_json::to_vec(&score).unwrap().len() < 20 << 20);
}

#[test]
fn a_new_generator_begins_with_what_holds() {
    let mut journal = Journal::default();
    journal.merge(&map(json!({"a": 1, "reset_cache": true})), 1);
    journal.take(0);
    journal.merge(&map(json!({"b": 2, "reset_cache": true})), 2);
    journal.begin(&LoadParams::new(map(json!({"width": 64}))));
    let first = journal.take(0);
    assert_eq!(*first.as_map(), map(json!({"a": 1, "b": 2, "reset_cache": true})));
    let score = journal.score("p", InputMode::Text, 1);
    assert_eq!(score.changes.len(), 1);
    assert_eq!(score.changes[0].parameters, *first.as_map());
    assert_eq!(score.load, map(json!({"width": 64})));
    assert!(score.exact);
}

/// Messages as clients send them.
fn message() -> impl Strategy<Value = Value> {
    let prompts = "[ab]".prop_map(|text| json!({"prompts": [{"text": text, "weight": 1.0}]}));
    let transition = ("[ab]", 0..4u8).prop_map(|(text, steps)| {
        json!({"transition": {"target_prompts": [{"text": text, "weight": 1.0}], "num_steps": steps}})
    });
    let lora = ("[ab]", 0..3u8)
        .prop_map(|(path, scale)| json!({"lora_scales": [{"path": path, "scale": f64::from(scale)}]}));
    prop_oneof![
        prompts,
        transition,
        lora,
        any::<bool>().prop_map(|reset| json!({"reset_cache": reset})),
        (0..9u8).prop_map(|value| json!({"noise_scale": f64::from(value) / 8.0})),
        (-3..3i8).prop_map(|x| json!({"ctrl_input": {"button": ["KeyW"], "mouse": [x, 0]}})),
        (-3..3i8).prop_map(|x| json!({"ctrl_input": {"button": [], "mouse": [x, 0]}})),
    ]
}

proptest! {
    /// Whatever was sent between chunks: a pipeline that is told what the score says sees the same in every chunk.
    #[test]
    fn a_score_repeats_what_every_chunk_saw(
        chunks in prop::collection::vec((prop::collection::vec(message(), 0..5), prop::option::of(0..9u8), 0..3usize), 1..12)
    ) {
        let mut journal = Journal::default();
        let mut seen = Vec::new();
        let mut revision = 0;
        for (index, (messages, fleeting, effort)) in chunks.iter().enumerate() {
            for message in messages {
                revision += 1;
                journal.merge(&map(message.clone()), revision);
            }
            let frame = index as u64 * 3;
            let mut snapshot = journal.take(frame);
            if let Some(value) = fleeting {
                snapshot.set("noise_scale", json!(f64::from(*value) / 8.0));
            }
            journal.moved(frame, &snapshot, *effort);
            seen.push((snapshot.as_map().clone(), *effort));
        }
        let text = serde_json::to_vec(&journal.score("p", InputMode::Text, u64::MAX)).unwrap();
        let mut script = Score::parse(&text).unwrap().script(&schema()).unwrap();
        let (mut store, mut effort) = (ParameterStore::default(), 0);
        for (index, (values, wanted)) in seen.into_iter().enumerate() {
            let due = script.due(index as u64 * 3, Duration::ZERO);
            for change in &due {
                store.merge(&change.parameters, 0);
            }
            let mut snapshot = store.take();
            for change in due {
                effort = change.effort.unwrap_or(effort);
                for (key, value) in change.once {
                    snapshot.set(&key, value);
                }
            }
            prop_assert_eq!(snapshot.as_map().clone(), values, "chunk {}", index);
            prop_assert_eq!(effort, wanted);
        }
        prop_assert!(script.is_empty());
    }

    #[test]
    fn arbitrary_json_never_panics(text in "\\PC{0,200}") {
        let _ = Score::parse(text.as_bytes());
    }
}
