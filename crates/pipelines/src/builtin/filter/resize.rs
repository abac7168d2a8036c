//! `resize`: another size, with bars, cut or stretched.

use super::Process;
use crate::{LoadError, LoadParams, PipelineSchema, schema::Usage};
use scope_frame::{Fit, MAX_DIMENSION};
use serde_json::json;
use std::sync::Arc;

/// The side where none is asked for.
const SIDE: u32 = 512;

const ID: &str = "resize";

pub(super) fn schema() -> PipelineSchema {
    let side = |title: &str| {
        json!({
            "default": SIDE, "minimum": 1, "maximum": MAX_DIMENSION, "title": title, "type": "integer",
            "ui": {"category": "configuration", "component": "resolution", "is_load_param": true, "order": 1,
                "section": "quality"},
        })
    };
    let mut schema = PipelineSchema::new(ID, "Resize", "ResizeConfig")
        .with_property("height", side("Height"))
        .with_property("width", side("Width"))
        .with_property(
            "fit",
            json!({
                "default": "contain", "enum": ["contain", "cover", "stretch"], "title": "Fit", "type": "string",
                "description": "What happens to pictures of another shape: black bars, cut edges, or stretched.",
                "ui": {"category": "configuration", "is_load_param": false, "order": 2, "section": "general"},
            }),
        );
    schema.description = "Brings pictures into another size: with bars, cut, or stretched.".into();
    schema.usage = vec![Usage::Preprocessor, Usage::Postprocessor];
    schema
}

pub(super) fn make(params: &LoadParams) -> Result<Process, LoadError> {
    let (width, height) = (side(params, "width")?, side(params, "height")?);
    Ok(Arc::new(move |image, parameters| {
        let fit = match parameters.get::<String>("fit").as_deref() {
            Some("cover") => Fit::Cover,
            Some("stretch") => Fit::Stretch,
            _ => Fit::Contain,
        };
        image.resized(width, height, fit)
    }))
}

fn side(params: &LoadParams, key: &str) -> Result<u32, LoadError> {
    let Some(value) = params.as_map().get(key) else { return Ok(SIDE) };
    let side = value.as_u64().and_then(|side| u32::try_from(side).ok());
    side.filter(|side| (1..=MAX_DIMENSION).contains(side)).ok_or_else(|| LoadError::InvalidParameter {
        pipeline: ID.into(),
        key: key.into(),
        problem: format!("is {value:.40}; it must be a whole number from 1 to {MAX_DIMENSION}"),
    })
}
