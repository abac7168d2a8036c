//! `edges`: outlines, by Canny's detector (*A computational approach to edge detection*, 1986): blurred, the gradient's
//! ridges one pixel wide, weak ones only where they lead on from strong ones.

use super::{BLACK, WHITE, colourless, slider};
use crate::{PipelineSchema, Snapshot, schema::Usage};
use scope_frame::{Image, ImageError};
use serde_json::json;

/// Gradient of a strong edge, as a share of the steepest, unless another is asked for.
const THRESHOLD: f64 = 0.08;

/// Weak edges have at least this share of a strong one's gradient.
const WEAK: f64 = 0.4;

/// A gradient across a step from black to white.
const STEEPEST: f64 = 4.0 * (WHITE - BLACK) as f64;

pub(super) fn schema() -> PipelineSchema {
    let mut schema = PipelineSchema::new("edges", "Edges", "EdgesConfig")
        .with_property("threshold", slider("Threshold", "Less shows finer lines.", [0.0, THRESHOLD, 1.0], 1))
        .with_property(
            "invert",
            json!({
                "default": false, "title": "Light on Dark", "type": "boolean",
                "description": "White lines on black instead of black lines on white.",
                "ui": {"category": "configuration", "is_load_param": false, "order": 2, "section": "general"},
            }),
        );
    schema.description = "Draws outlines: a control video that needs no download.".into();
    schema.usage = vec![Usage::Preprocessor];
    schema
}

pub(super) fn edges(image: &Image, parameters: &Snapshot) -> Result<Image, ImageError> {
    let image = image.to_i420();
    let (width, height) = image.size();
    let threshold = parameters.f64("threshold").unwrap_or(THRESHOLD).clamp(0.0, 1.0);
    let (line, paper) = if parameters.is_true("invert") { (WHITE, BLACK) } else { (BLACK, WHITE) };
    let luma = image.planes().map_or(&[][..], |[luma, ..]| luma);
    let plane = Plane { width: width as usize, height: height as usize };
    let mut picture = vec![paper; luma.len()];
    plane.trace(&plane.ridges(&plane.blurred(luma)), threshold * STEEPEST, |at| picture[at] = line);
    colourless(picture, width, height)
}

/// The size of the planes that are worked on.
#[derive(Clone, Copy)]
struct Plane {
    width: usize,
    height: usize,
}

impl Plane {
    /// Where the neighbour of a pixel lies; beyond the border, the pixel at it.
    fn neighbour(self, x: usize, y: usize, dx: isize, dy: isize) -> usize {
        let x = x.saturating_add_signed(dx).min(self.width - 1);
        let y = y.saturating_add_signed(dy).min(self.height - 1);
        y * self.width + x
    }

    /// Each pixel from its neighbours, line by line.
    fn map(self, mut pixel: impl FnMut(usize, usize) -> i32) -> Vec<i32> {
        let mut out = Vec::with_capacity(self.width * self.height);
        for y in 0..self.height {
            out.extend((0..self.width).map(|x| pixel(x, y)));
        }
        out
    }

    /// Blurred by the binomial kernel of five pixels each way; 256 times as large.
    fn blurred(self, luma: &[u8]) -> Vec<i32> {
        const KERNEL: [(isize, i32); 5] = [(-2, 1), (-1, 4), (0, 6), (1, 4), (2, 1)];
        let lines = self.map(|x, y| {
            KERNEL.iter().map(|&(d, weight)| weight * i32::from(luma[self.neighbour(x, y, d, 0)])).sum()
        });
        self.map(|x, y| KERNEL.iter().map(|&(d, weight)| weight * lines[self.neighbour(x, y, 0, d)]).sum())
    }

    /// The gradient (Sobel's) where it is largest across its edge, elsewhere nothing; in steps of luma, times four.
    fn ridges(self, blurred: &[i32]) -> Vec<f32> {
        let at = |x, y, dx, dy| blurred[self.neighbour(x, y, dx, dy)];
        let sobel = |x: usize, y: usize| {
            let gx = at(x, y, 1, -1) + 2 * at(x, y, 1, 0) + at(x, y, 1, 1)
                - at(x, y, -1, -1)
                - 2 * at(x, y, -1, 0)
                - at(x, y, -1, 1);
            let gy = at(x, y, -1, 1) + 2 * at(x, y, 0, 1) + at(x, y, 1, 1)
                - at(x, y, -1, -1)
                - 2 * at(x, y, 0, -1)
                - at(x, y, 1, -1);
            (gx, gy)
        };
        let mut steepness = Vec::with_capacity(blurred.len());
        let mut across = Vec::with_capacity(blurred.len());
        for y in 0..self.height {
            for x in 0..self.width {
                let (gx, gy) = sobel(x, y);
                steepness.push((gx as f32).hypot(gy as f32) / 256.0);
                // The nearest of the four directions in which a pixel has neighbours: those at less than 22.5° to an axis
                // have a slope below 0.414.
                across.push(match (gx.abs(), gy.abs()) {
                    (x, y) if 1000 * y < 414 * x => (1, 0),
                    (x, y) if 1000 * x < 414 * y => (0, 1),
                    _ if (gx < 0) == (gy < 0) => (1, 1),
                    _ => (1, -1),
                });
            }
        }
        let mut ridges = vec![0.0; steepness.len()];
        for y in 0..self.height {
            for x in 0..self.width {
                let at = y * self.width + x;
                let (dx, dy) = across[at];
                let before = steepness[self.neighbour(x, y, -dx, -dy)];
                let after = steepness[self.neighbour(x, y, dx, dy)];
                // Of two equal neighbours one is enough.
                if steepness[at] > before && steepness[at] >= after {
                    ridges[at] = steepness[at];
                }
            }
        }
        ridges
    }

    /// Draws the ridges that are at least `strong`, and what leads on from them.
    fn trace(self, ridges: &[f32], strong: f64, mut draw: impl FnMut(usize)) {
        let (strong, weak) = (strong as f32, (strong * WEAK) as f32);
        let mut drawn = vec![false; ridges.len()];
        let mut ends: Vec<usize> = Vec::new();
        for start in 0..ridges.len() {
            if ridges[start] > 0.0 && ridges[start] >= strong && !drawn[start] {
                drawn[start] = true;
                ends.push(start);
            }
            while let Some(at) = ends.pop() {
                draw(at);
                for (dx, dy) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
                    let next = self.neighbour(at % self.width, at / self.width, dx, dy);
                    if ridges[next] > 0.0 && ridges[next] >= weak && !drawn[next] {
                        drawn[next] = true;
                        ends.push(next);
                    }
                }
            }
        }
    }
}
