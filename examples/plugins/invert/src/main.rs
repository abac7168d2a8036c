//! A whole plugin: shows the negative of its input, more or less of it.

use scope_plugin::guest::{
    Chunk, Failure, Loaded, Needs, Output, Plugin, Report, ServeError, Session, serve,
};
use serde_json::{Map, Value, json};

struct Invert;

impl Plugin for Invert {
    fn name(&self) -> &'static str {
        "invert"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn pipelines(&self) -> Vec<Value> {
        vec![json!({
            "id": "invert",
            "name": "Invert",
            "description": "The negative of the input.",
            "supported_modes": ["video"],
            "usage": ["postprocessor"],
            "config_schema": {"type": "object", "properties": {
                "amount": {
                    "type": "number", "minimum": 0.0, "maximum": 1.0, "default": 1.0, "title": "Amount",
                    "ui": {"category": "configuration", "is_load_param": false, "order": 1},
                },
            }},
        })]
    }

    fn load(
        &mut self,
        _pipeline: &str,
        _parameters: &Map<String, Value>,
        _progress: &mut dyn FnMut(&str),
    ) -> Result<Box<dyn Loaded>, Failure> {
        Ok(Box::new(Self))
    }
}

impl Loaded for Invert {
    fn start(&mut self) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(Self))
    }
}

impl Session for Invert {
    fn needs(&self) -> Needs {
        Needs::frames(1)
    }

    fn generate(&mut self, chunk: &Chunk, output: &mut Output<'_>) -> Result<Report, Failure> {
        let mut report = Report::default();
        let amount = match chunk.parameters.get("amount").map(Value::as_f64) {
            None => 1.0,
            Some(Some(amount)) if (0.0..=1.0).contains(&amount) => amount,
            Some(_) => {
                report.problems.insert("amount".into(), "must be a number from 0 to 1".into());
                1.0
            }
        };
        for (index, picture) in chunk.pictures("video").iter().enumerate() {
            let mix = |value: &u8| {
                let value = f64::from(*value);
                ((255.0 - value) * amount + value * (1.0 - amount)).round() as u8
            };
            let pixels: Vec<u8> = picture.pixels.iter().map(mix).collect();
            output.picture("video", picture.width, picture.height, &pixels, Some(index))?;
        }
        Ok(report)
    }
}

fn main() -> Result<(), ServeError> {
    serve(Invert)
}
