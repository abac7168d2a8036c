//! `resize`: another size, with bars, cut or stretched.

use super::Process;
use crate::{LoadParams, PipelineSchema, schema::Usage};
use scope_frame::{Fit, MAX_DIMENSION};
use serde_json::json;
use std::sync::Arc;

/// The side where none is asked for.
const SIDE: u64 = 512;

pub(super) fn schema() -> PipelineSchema {
    let side = |title: &str| {
        json!({
            "default": SIDE, "minimum": 1, "maximum": MAX_DIMENSION, "title": title, "type": "integer",
            "ui": {"category": "configuration", "component": "resolution", "is_load_param": true, "order": 1,
                "section": "quality"},
        })
    };
    let mut schema = PipelineSchema::new("resize", "Resize", "ResizeConfig")
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

pub(super) fn make(params: &LoadParams) -> Process {
    let side = |key: &str| params.u64(key).unwrap_or(SIDE).clamp(1, u64::from(MAX_DIMENSION)) as u32;
    let (width, height) = (side("width"), side("height"));
    Arc::new(move |image, parameters| {
        let fit = match parameters.get::<String>("fit").as_deref() {
            Some("cover") => Fit::Cover,
            Some("stretch") => Fit::Stretch,
            _ => Fit::Contain,
        };
        image.resized(width, height, fit)
    })
}
