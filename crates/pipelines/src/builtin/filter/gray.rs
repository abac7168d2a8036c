//! `gray`: a picture without its colours.

use super::colourless;
use crate::{PipelineSchema, schema::Usage};
use scope_frame::{Image, ImageError};

pub(super) fn schema() -> PipelineSchema {
    let mut schema = PipelineSchema::new("gray", "Grayscale", "GrayConfig");
    schema.description = "Takes the colours away: a control video that leaves them to the model.".into();
    schema.modified = true;
    schema.usage = vec![Usage::Preprocessor];
    schema
}

/// The luma of BT.601 (0.299 red, 0.587 green, 0.114 blue).
pub(super) fn gray(image: &Image) -> Result<Image, ImageError> {
    let image = image.to_i420();
    let (width, height) = image.size();
    let luma = image.planes().map_or(&[][..], |[luma, ..]| luma);
    colourless(luma.to_vec(), width, height)
}
