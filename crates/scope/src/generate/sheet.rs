//! A contact sheet: frames that lie evenly over a video, side by side.

use crate::model::Size;
use scope_frame::{Fit, Image, MAX_DIMENSION, PixelFormat};

/// Frames kept for each picture of the sheet: a picture lies at most a sixteenth of a gap from its place.
const KEPT: usize = 8;

/// Frames of a video whose length is not known yet. When too many are kept, every other one goes, so that what is left is
/// always spread evenly over what has been seen.
pub(super) struct Sheet {
    grid: Size,
    /// Width and height of a picture on the sheet; decided by the first.
    cell: Option<(u32, u32)>,
    kept: Vec<(u64, Image)>,
    /// Frames from one that is kept to the next.
    stride: u64,
    last: Option<(u64, Image)>,
}

impl Sheet {
    pub(super) const fn new(grid: Size) -> Self {
        Self { grid, cell: None, kept: Vec::new(), stride: 1, last: None }
    }

    const fn cells(&self) -> usize {
        self.grid.width as usize * self.grid.height as usize
    }

    /// Takes frame `index`, which is one more than the one before.
    pub(super) fn add(&mut self, index: u64, image: &Image) -> Result<(), String> {
        let (width, height) = *self.cell.get_or_insert_with(|| cell(image.size(), self.grid));
        let image = image.resized(width, height, Fit::Cover).map_err(|error| error.to_string())?;
        if index.is_multiple_of(self.stride) {
            if self.kept.len() >= KEPT * self.cells().max(2) {
                self.stride *= 2;
                self.kept.retain(|(index, _)| index.is_multiple_of(self.stride));
            }
            if index.is_multiple_of(self.stride) {
                self.kept.push((index, image.clone()));
            }
        }
        self.last = Some((index, image));
        Ok(())
    }

    /// The frames on the sheet, first and last among them.
    fn chosen(&self) -> Vec<&(u64, Image)> {
        let Some(last) = &self.last else { return Vec::new() };
        let cells = (self.cells() as u64).min(last.0 + 1);
        (0..cells)
            .filter_map(|cell| {
                let ideal = if cells == 1 { 0.0 } else { cell as f64 * last.0 as f64 / (cells - 1) as f64 };
                let distance = |frame: &&(u64, Image)| (frame.0 as f64 - ideal).abs();
                self.kept.iter().chain([last]).min_by(|a, b| distance(a).total_cmp(&distance(b)))
            })
            .collect()
    }

    /// Row after row, in order of time; what is left over is black.
    pub(super) fn draw(&self) -> Result<Image, String> {
        let (width, height) = self.cell.ok_or("there is no frame")?;
        let row_bytes = (self.grid.width * width) as usize * 3;
        let mut pixels = vec![0; row_bytes * (self.grid.height * height) as usize];
        for (place, (_, image)) in self.chosen().into_iter().enumerate() {
            let (column, row) = (place % self.grid.width as usize, place / self.grid.width as usize);
            let cell_bytes = width as usize * 3;
            for (line, source) in image.data().chunks_exact(cell_bytes).enumerate() {
                let start = (row * height as usize + line) * row_bytes + column * cell_bytes;
                pixels[start..start + cell_bytes].copy_from_slice(source);
            }
        }
        Image::new(PixelFormat::Rgb8, self.grid.width * width, self.grid.height * height, pixels)
            .map_err(|error| error.to_string())
    }
}

/// The size of a picture on the sheet: its own, or less if the sheet would be too large.
fn cell((width, height): (u32, u32), grid: Size) -> (u32, u32) {
    let scale = |side: u32, count: u32| f64::from(MAX_DIMENSION) / (f64::from(side) * f64::from(count));
    let scale = scale(width, grid.width).min(scale(height, grid.height)).min(1.0);
    let side = |side: u32| ((f64::from(side) * scale) as u32).max(1);
    (side(width), side(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(columns: u32, rows: u32, frames: u64) -> Sheet {
        let mut sheet = Sheet::new(Size { width: columns, height: rows });
        for index in 0..frames {
            sheet.add(index, &Image::solid(2, 2, [index as u8; 3]).unwrap()).unwrap();
        }
        sheet
    }

    #[test]
    fn the_first_and_the_last_frame_are_there_and_the_rest_lies_evenly_between() {
        for (columns, rows, frames) in
            [(4, 3, 12), (4, 3, 96), (4, 3, 600), (1, 1, 9), (2, 1, 5000), (5, 4, 99_999)]
        {
            let sheet = sheet(columns, rows, frames);
            let chosen: Vec<u64> = sheet.chosen().iter().map(|(index, _)| *index).collect();
            let cells = u64::from(columns * rows);
            assert_eq!(chosen.len() as u64, cells);
            assert_eq!(chosen[0], 0);
            if cells > 1 {
                assert_eq!(chosen[cells as usize - 1], frames - 1);
                let gap = (frames - 1) as f64 / (cells - 1) as f64;
                for (cell, index) in chosen.iter().enumerate() {
                    assert!((*index as f64 - cell as f64 * gap).abs() <= gap / 8.0 + 0.5, "{chosen:?}");
                }
            }
            assert!(sheet.kept.len() <= KEPT * (cells as usize).max(2));
        }
    }

    #[test]
    fn a_short_video_leaves_places_black() {
        let drawn = sheet(2, 2, 3).draw().unwrap();
        assert_eq!(drawn.size(), (4, 4));
        let at = |x: usize, y: usize| drawn.data()[3 * (y * 4 + x)];
        assert_eq!([at(0, 0), at(2, 0), at(0, 2), at(2, 2)], [0, 1, 2, 0]);
        assert!(sheet(2, 2, 0).draw().is_err());
    }

    #[test]
    fn large_pictures_are_made_smaller_until_the_sheet_fits() {
        assert_eq!(cell((256, 144), Size { width: 4, height: 3 }), (256, 144));
        assert_eq!(cell((4096, 2048), Size { width: 4, height: 4 }), (1024, 512));
        let (width, height) = cell((4096, 1), Size { width: 32, height: 32 });
        assert!(width * 32 <= MAX_DIMENSION && height == 1);
    }
}
