//! Pipelines that run in a process of their own.
//!
//! Scope starts the plugin's program and talks to it over its standard input and output: JSON messages with a length in
//! front ([`wire`], [`protocol`]). Pictures do not travel through the pipes; they lie in two files in memory that both sides
//! have open ([`frames`]). A plugin answers one request at a time, in the order in which they come.
//!
//! A pipeline in Rust implements [`guest::Plugin`], [`guest::Loaded`] and [`guest::Session`] and calls [`guest::serve`] in its
//! `main`:
//!
//! ```no_run
//! use scope_plugin::guest::{Chunk, Failure, Loaded, Needs, Output, Plugin, Report, Session, serve};
//! use serde_json::{Map, Value, json};
//!
//! struct Negative;
//!
//! impl Plugin for Negative {
//!     fn name(&self) -> &str { "negative" }
//!     fn version(&self) -> &str { "1.0.0" }
//!     fn pipelines(&self) -> Vec<Value> {
//!         vec![json!({"id": "negative", "name": "Negative", "supported_modes": ["video"]})]
//!     }
//!     fn load(&mut self, _: &str, _: &Map<String, Value>, _: &mut dyn FnMut(&str)) -> Result<Box<dyn Loaded>, Failure> {
//!         Ok(Box::new(Self))
//!     }
//! }
//!
//! impl Loaded for Negative {
//!     fn start(&mut self) -> Result<Box<dyn Session>, Failure> { Ok(Box::new(Self)) }
//! }
//!
//! impl Session for Negative {
//!     fn needs(&self) -> Needs { Needs::frames(1) }
//!     fn generate(&mut self, chunk: &Chunk, output: &mut Output<'_>) -> Result<Report, Failure> {
//!         for (index, picture) in chunk.pictures("video").iter().enumerate() {
//!             let pixels: Vec<u8> = picture.pixels.iter().map(|value| 255 - value).collect();
//!             output.picture("video", picture.width, picture.height, &pixels, Some(index))?;
//!         }
//!         Ok(Report::default())
//!     }
//! }
//!
//! fn main() -> Result<(), scope_plugin::guest::ServeError> { serve(Negative) }
//! ```

pub mod frames;
pub mod guest;
pub mod protocol;
pub mod wire;
