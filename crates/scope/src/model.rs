//! From the options of `scope generate` and `scope bench` to a loaded pipeline and its parameters.

use crate::cli::ModelArgs;
use crate::refusal::Refusal;
use anyhow::Result;
use scope_frame::Image;
use scope_media::still;
use scope_pipelines::{
    AssetLoader, InputMode, LoadParams, LoadedPipeline, ParameterError, Pipeline, PipelineSchema, Registry,
    check_load_parameters, check_parameters,
};
use scope_stream::offline::FileClip;
use scope_stream::script::Moment;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Frames a second where neither the user nor the pipeline has a rate.
pub(crate) const FRAME_RATE: f64 = 16.0;

/// `WIDTHxHEIGHT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once(['x', '×']).and_then(|(width, height)| {
            Some(Self { width: width.parse().ok()?, height: height.parse().ok()? })
        });
        sides
            .filter(|size| size.width > 0 && size.height > 0)
            .ok_or_else(|| "write two numbers, as 256x144".into())
    }
}

/// `KEY=VALUE`; the value is JSON, or a text if it is none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyValue {
    pub(crate) key: String,
    pub(crate) value: Value,
}

impl FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
            }),
            _ => Err("write KEY=VALUE".into()),
        }
    }
}

/// A frame, as `48`, or a time, as `3s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When(pub(crate) Moment);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = |seconds: &str| {
            let seconds = seconds.parse().ok().filter(|seconds| (0.0..1e6).contains(seconds))?;
            Some(Moment::Time(Duration::from_secs_f64(seconds)))
        };
        match text.strip_suffix('s') {
            Some(seconds) => time(seconds),
            None => text.parse().ok().map(Moment::Frame),
        }
        .map(Self)
        .ok_or_else(|| format!("{text:?} is no moment: write a frame, as 48, or a time, as 3s"))
    }
}

/// How many denoising steps, or which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Steps {
    Count(usize),
    Levels(Vec<u64>),
}

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = "write how many, as 3, or their noise levels, as 1000,750";
        match text.parse() {
            Ok(count @ 1..=64) => Ok(Self::Count(count)),
            _ => {
                let levels: Result<Vec<u64>, _> = text.split(',').map(|level| level.trim().parse()).collect();
                Ok(Self::Levels(levels.map_err(|_| wrong)?))
            }
        }
    }
}

impl Steps {
    /// The levels, which for a number are those that the pipeline knows for it.
    fn levels(&self, schema: &PipelineSchema) -> Result<Value, Refusal> {
        let count = match self {
            Self::Levels(levels) => return Ok(json!(levels)),
            Self::Count(count) => *count,
        };
        let property = schema.property("denoising_steps").unwrap_or(&Value::Null);
        let examples = property.get("examples").and_then(Value::as_array).into_iter().flatten();
        let known: Vec<&Vec<Value>> =
            property.get("default").into_iter().chain(examples).filter_map(Value::as_array).collect();
        if let Some(levels) = known.iter().find(|levels| levels.len() == count) {
            return Ok(json!(levels));
        }
        let mut lengths: Vec<String> =
            known.iter().filter(|levels| !levels.is_empty()).map(|levels| levels.len().to_string()).collect();
        lengths.dedup();
        Err(Refusal::usage(match lengths.as_slice() {
            [] => format!(
                "{} has no sets of denoising steps: name their noise levels, as --steps 1000,750",
                schema.id
            ),
            all => format!(
                "{} has no set of {count} denoising steps, but of {}; name noise levels for others, as --steps 1000,750",
                schema.id,
                all.join(", ")
            ),
        }))
    }
}

/// The pipeline called `id`; without a name, the one that newcomers get.
pub(crate) fn pipeline(registry: &Registry, id: Option<&str>) -> Result<Arc<dyn Pipeline>, Refusal> {
    let all = || registry.iter().map(|it| it.schema().id.clone()).collect::<Vec<_>>().join(", ");
    let id = id
        .or_else(|| registry.newcomer())
        .ok_or_else(|| Refusal::usage(format!("say which pipeline: --pipeline ID, with one of {}", all())))?;
    registry
        .get(id)
        .cloned()
        .ok_or_else(|| Refusal::usage(format!("there is no pipeline {id:?}; there are {}", all())))
}

/// Everything that is wrong, one a line.
pub(crate) fn refused(option: &str, problems: &[ParameterError]) -> Refusal {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{option} {problem}")).collect();
    Refusal::usage(lines.join("\nscope: "))
}

/// Load parameters: those of a file, overruled by the command line's.
pub(crate) fn load_parameters(
    args: &ModelArgs,
    schema: &PipelineSchema,
    mut values: Map<String, Value>,
) -> Result<LoadParams, Refusal> {
    for KeyValue { key, value } in &args.load {
        values.insert(key.clone(), value.clone());
    }
    if let Some(Size { width, height }) = args.size {
        values.extend([("width".to_owned(), json!(width)), ("height".to_owned(), json!(height))]);
    }
    if let Some(seed) = args.seed {
        values.insert("base_seed".into(), json!(seed));
    }
    check_load_parameters(values, schema).map_err(|problems| refused("--load", &problems))
}

/// Parameters of the first chunk: those of a file, overruled by the command line's.
pub(crate) fn parameters(
    args: &ModelArgs,
    schema: &PipelineSchema,
    mut values: Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    if let Some(steps) = &args.steps {
        values.insert("denoising_step_list".into(), steps.levels(schema)?);
    }
    for KeyValue { key, value } in &args.param {
        values.insert(key.clone(), value.clone());
    }
    check_parameters(values, schema).map_err(|problems| refused("--param", &problems))
}

/// What drives the pipeline: an input file, if there is one.
pub(crate) fn mode(args: &ModelArgs, schema: &PipelineSchema) -> Result<InputMode, Refusal> {
    let mode = if args.input.is_some() { InputMode::Video } else { InputMode::Text };
    if schema.supported_modes.contains(&mode) {
        return Ok(mode);
    }
    Err(Refusal::usage(match mode {
        InputMode::Text => format!("{} works on video: name a file with --input", schema.id),
        InputMode::Video => format!("{} makes video from text alone: leave --input out", schema.id),
    }))
}

/// The input file's frames.
pub(crate) fn clip(args: &ModelArgs, repeat: bool, frame_rate: f64) -> Result<Option<FileClip>, Refusal> {
    let open = |path: &PathBuf| {
        FileClip::open(path, repeat, frame_rate)
            .map_err(|error| Refusal::input(format!("{}: {error}", path.display())))
    };
    args.input.as_ref().map(open).transpose()
}

/// How long a pipeline took to load.
#[derive(Debug)]
pub(crate) struct LoadTimes {
    pub(crate) whole: Duration,
    /// What it said that it was doing, and for how long.
    pub(crate) stages: Vec<(String, Duration)>,
}

/// Loads, and says how long that took.
pub(crate) fn load(
    pipeline: &dyn Pipeline,
    params: &LoadParams,
) -> Result<(Arc<dyn LoadedPipeline>, LoadTimes)> {
    let began = Instant::now();
    let begun = RefCell::new(Vec::<(String, Instant)>::new());
    let loaded =
        pipeline.load(params, &|stage| begun.borrow_mut().push((stage.to_owned(), Instant::now())))?;
    let ended = Instant::now();
    let begun = begun.into_inner();
    let ends: Vec<Instant> = begun.iter().skip(1).map(|(_, begun)| *begun).chain([ended]).collect();
    let stages = begun.into_iter().zip(ends).map(|((stage, begun), end)| (stage, end - begun)).collect();
    Ok((loaded, LoadTimes { whole: ended - began, stages }))
}

/// Files by the names that the user gives: whoever types a command may read what it names.
pub(crate) struct LocalFiles;

impl AssetLoader for LocalFiles {
    fn image(&self, path: &str) -> Result<Image, String> {
        still::open(path).map_err(|error| format!("{path}: {error}"))
    }

    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        Path::new(path).canonicalize().map_err(|error| format!("{path}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sizes_and_steps_are_read_and_nothing_else() {
        let moment = |text: &str| text.parse::<When>().map(|when| when.0);
        assert_eq!(moment("48"), Ok(Moment::Frame(48)));
        assert_eq!(moment("1.5s"), Ok(Moment::Time(Duration::from_millis(1500))));
        for bad in ["", "s", "-1", "-1s", "1.5", "NaNs", "infs", "3m"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert_eq!("256x144".parse(), Ok(Size { width: 256, height: 144 }));
        for bad in ["", "256", "0x9", "9x", "axb", "-1x9"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!("3".parse(), Ok(Steps::Count(3)));
        assert_eq!("1000, 750".parse(), Ok(Steps::Levels(vec![1000, 750])));
        assert!("two".parse::<Steps>().is_err());
    }

    #[test]
    fn a_value_is_json_or_else_a_text() {
        let value = |text: &str| text.parse::<KeyValue>().map(|pair| pair.value);
        assert_eq!(value("a=0.5"), Ok(json!(0.5)));
        assert_eq!(value("a=[1, 2]"), Ok(json!([1, 2])));
        assert_eq!(value("a=x=y"), Ok(json!("x=y")));
        assert_eq!(value("a="), Ok(json!("")));
        assert!(value("a").is_err() && value("=1").is_err());
    }

    #[test]
    fn a_number_of_steps_is_one_that_the_pipeline_knows() {
        let property = json!({"default": [1000, 500, 250], "examples": [[1000, 500, 250], [1000, 750]]});
        let schema = PipelineSchema::new("x", "X", "XConfig").with_property("denoising_steps", property);
        assert_eq!(Steps::Count(2).levels(&schema).unwrap(), json!([1000, 750]));
        assert_eq!(Steps::Levels(vec![9]).levels(&schema).unwrap(), json!([9]));
        let error = Steps::Count(5).levels(&schema).unwrap_err().to_string();
        assert!(error.contains("but of 3, 2;"), "{error}");
        let plain = PipelineSchema::new("y", "Y", "YConfig");
        assert!(Steps::Count(2).levels(&plain).unwrap_err().to_string().contains("no sets"));
    }
}
