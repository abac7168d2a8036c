//! Kind `blending`: blends, transitions, and the prompt state machine over a sequence of calls.

use anyhow::{Context, Result, anyhow};
use scope_engine::Tensor;
use scope_models::{
    prompt::{Call, Change, Interpolation, Prompt, PromptState, Transition, blend},
    quirks::Quirks,
};
use serde_json::Value;

use crate::case::{Case, Check};

const TOLERANCE: f32 = 1e-5;

pub(crate) fn blending(case: &Case, check: &mut Check) -> Result<()> {
    for entry in list(case, "blends") {
        let embeddings = entry["embeds"].as_array().into_iter().flatten();
        let embeddings =
            embeddings.map(|index| case.tensor(&format!("e{index}"))).collect::<Result<Vec<_>>>()?;
        let weights: Vec<f64> =
            entry["weights"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let blended = blend(&embeddings, &weights, method(&entry["method"])?)?;
        let name = format!("blend.{}", entry["i"]);
        check.close(&name, &blended.to_vec(), &case.recorded(&name)?.values, TOLERANCE, 0.0);
    }
    for entry in list(case, "transitions") {
        transition(case, check, entry)?;
    }
    scenario(case, check)
}

/// One transition between two recorded embeddings, through the state machine.
fn transition(case: &Case, check: &mut Check, entry: &Value) -> Result<()> {
    // The caller's prompts stay those of the source, to which the reference's conditioning would return.
    let mut state = PromptState::new(Quirks { returning_prompts: false, ..Quirks::reference() });
    let encode = |texts: &[&str]| recorded(case, texts, "");
    let source = [Prompt { text: case.text("transition_source")?.to_owned(), weight: 1.0 }];
    let target = vec![Prompt { text: case.text("transition_target")?.to_owned(), weight: 1.0 }];
    state.advance(&Call { prompts: &source, ..Call::default() }, encode)?;
    let transition = Transition {
        target,
        steps: u32::try_from(entry["num_steps"].as_u64().context("num_steps")?)?,
        method: method(&entry["method"])?,
    };
    let start = Call { prompts: &source, transition: Some(&transition), ..Call::default() };
    let next = Call { prompts: &source, ..Call::default() };
    let mut moving = true;
    let outputs = entry["outputs"].as_u64().context("outputs")?;
    for step in 0..outputs {
        let conditioning = state.advance(if step == 0 { &start } else { &next }, encode)?;
        let name = format!("transition.{}.{step}", entry["i"]);
        check.close(&name, &conditioning.embedding.to_vec(), &case.recorded(&name)?.values, TOLERANCE, 0.0);
        check.holds(&format!("{name} is a step"), conditioning.change == Change::Step && moving);
        moving = conditioning.moving;
    }
    check.holds(&format!("transition {} has {outputs} steps", entry["i"]), !moving);
    Ok(())
}

fn scenario(case: &Case, check: &mut Check) -> Result<()> {
    let mut state = PromptState::new(Quirks::reference());
    // Parameters of a call hold until others come.
    let (mut held, mut spatial) = (Vec::new(), Interpolation::default());
    for entry in list(case, "scenario") {
        let (input, number) = (&entry["input"], &entry["i"]);
        if !input["prompts"].is_null() {
            held = prompts(&input["prompts"])?;
        }
        if !input["spatial_interpolation_method"].is_null() {
            spatial = method(&input["spatial_interpolation_method"])?;
        }
        let transition = match &input["transition"] {
            Value::Null => None,
            value => Some(Transition {
                target: prompts(&value["target_prompts"])?,
                steps: u32::try_from(value["num_steps"].as_u64().context("num_steps")?)?,
                method: method(&value["temporal_interpolation_method"])?,
            }),
        };
        let call = Call {
            prompts: &held,
            transition: transition.as_ref(),
            method: spatial,
            reset: input["init_cache"].as_bool().unwrap_or(false),
        };
        let encode = |texts: &[&str]| recorded(case, texts, "text.");
        let conditioning = state.advance(&call, encode)?;
        let name = format!("scenario.{number}.conditioning_embeds");
        check.close(&name, &conditioning.embedding.to_vec(), &case.recorded(&name)?.values, TOLERANCE, 0.0);
        let flag =
            |key: &str| entry[key].as_bool().with_context(|| format!("scenario {number} has no {key}"));
        let updated = conditioning.change != Change::None;
        check.holds(&format!("scenario {number}: updated"), updated == flag("conditioning_embeds_updated")?);
        check.holds(&format!("scenario {number}: active"), conditioning.moving == flag("transition_active")?);
        check.holds(
            &format!("scenario {number}: current"),
            state.current() == prompts(&entry["current_prompts"])?,
        );
        check.holds(
            &format!("scenario {number}: target"),
            state.target() == prompts(&entry["prompts_after"])?,
        );
    }
    Ok(())
}

/// The recorded embeddings of these texts.
fn recorded(case: &Case, texts: &[&str], prefix: &str) -> Result<Vec<Tensor>, std::io::Error> {
    texts.iter().map(|text| case.tensor(&format!("{prefix}{text}")).map_err(std::io::Error::other)).collect()
}

fn list<'a>(case: &'a Case, key: &str) -> impl Iterator<Item = &'a Value> {
    case.json.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn method(value: &Value) -> Result<Interpolation> {
    match value.as_str() {
        None | Some("linear") => Ok(Interpolation::Linear),
        Some("slerp") => Ok(Interpolation::Slerp),
        Some(other) => Err(anyhow!("no interpolation is called {other:?}")),
    }
}

/// A string, strings, or objects with text and weight.
fn prompts(value: &Value) -> Result<Vec<Prompt>> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    let prompt = |item: &Value| {
        let text =
            item.as_str().or_else(|| item["text"].as_str()).with_context(|| format!("prompt {item}"))?;
        Ok(Prompt { text: text.to_owned(), weight: item["weight"].as_f64().unwrap_or(1.0) })
    };
    items.iter().map(prompt).collect()
}
