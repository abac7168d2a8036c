//! Convolutions as matrix products over pixels that are read where they are.
//!
//! A row of the left-hand side is the neighbourhood of one pixel. In channels-last pictures the pixels of a kernel row
//! lie side by side, so a row has one segment for each kernel row; only rows at the left or right border are read
//! pixel by pixel, and what lies outside is read from zeros.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{
    Cpu, Tiling,
    dots::{self, Dots},
    gemm::{self, Activate, Finish, Panels, Rows, load},
};

/// Longest kernel in frames.
pub(crate) const MAX_FRAMES: usize = 8;

/// Weights of one phase, in the order in which the pixels of a neighbourhood are read.
#[derive(Clone)]
pub(crate) enum Matrix {
    Panels(Panels),
    Dots(Dots),
}

/// The kernel that makes every `scale`-th pixel of the result.
#[derive(Clone)]
pub(crate) struct Phase {
    pub(crate) matrix: Matrix,
    /// Where the kernel begins, relative to its pixel.
    pub(crate) origin: [isize; 2],
    /// Height and width of the kernel.
    pub(crate) taps: [usize; 2],
}

/// A convolution of pictures whose sizes have been checked.
pub(crate) struct Job<'a> {
    /// For each frame of the result, in order: `scale²` phases, row by row. They repeat.
    pub(crate) phases: &'a [Phase],
    /// For each group of phases, the bias of its columns.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) x: &'a [f32],
    /// Frames in front of `x`, if there are any; before them all is zero.
    pub(crate) past: &'a [f32],
    /// Frames in front of `x` at which the first kernel begins.
    pub(crate) before: usize,
    pub(crate) kernel_frames: usize,
    pub(crate) frame_stride: usize,
    /// Height, width and channels of the input.
    pub(crate) input: [usize; 3],
    /// Height, width and channels of the result.
    pub(crate) output: [usize; 3],
    /// Step from one kernel to the next, in pixels of the input.
    pub(crate) stride: usize,
    /// Pixels of the result for each such step.
    pub(crate) scale: usize,
    pub(crate) reflect: bool,
    /// As many as a kernel row has elements.
    pub(crate) zeros: &'a [f32],
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) activation: Option<Activate>,
}

impl Job<'_> {
    /// Computes all frames of `out` on all threads of `cpu`.
    pub(crate) fn run(&self, cpu: &Cpu, out: &mut [f32]) {
        let [height, width, columns] = self.output;
        let frame = height * width * columns;
        if frame == 0 || out.is_empty() {
            return;
        }
        // Threads share out pixels, or whole lines where those of several phases are woven into one.
        let unit = if self.scale == 1 { 1 } else { width };
        let units = height * width / unit;
        let [_, _, channels] = self.input;
        let taps = self.phases.first().map_or(1, |phase| phase.taps.iter().product());
        let work = 2 * columns * channels * taps * self.kernel_frames;
        let (rows, work) = (out.len() / columns / unit, work * unit);
        let tiling = match self.phases.first().map(|phase| &phase.matrix) {
            Some(Matrix::Panels(panels)) if unit == 1 => panels.tiling(cpu),
            Some(Matrix::Dots(_)) if unit == 1 => dots::TILING,
            _ => Tiling { rows: 1, rest: 0 },
        };
        // Whole lines are many rows as it is.
        let block =
            if unit == 1 { cpu.block_of_tiles(rows, work, tiling) } else { cpu.block_rows(rows, work) };
        let serial = block >= rows;
        // Those of a frame are equally long.
        let block = tiling.round_up(units.div_ceil(units.div_ceil(block)));
        let block = block.min(units) * unit;
        let task = |frame: usize, index: usize, out: &mut [f32]| {
            let first = index * block;
            cpu.arch().dispatch(Task { job: self, frame, first, out });
        };
        if serial {
            for (index, out) in out.chunks_mut(frame).enumerate() {
                task(index, 0, out);
            }
            return;
        }
        cpu.enter(|| {
            out.par_chunks_mut(frame).enumerate().for_each(|(index, out)| {
                out.par_chunks_mut(block * columns)
                    .enumerate()
                    .for_each(|(part, out)| task(index, part, out));
            });
        });
    }

    /// The frames under the kernel of frame `frame` of the result that are not all zero, each with its place in the
    /// kernel.
    fn frames(&self, frame: usize) -> ([(&[f32], usize); MAX_FRAMES], usize) {
        let len = self.input.iter().product::<usize>();
        let groups = self.groups();
        let mut frames = [(&[][..], 0); MAX_FRAMES];
        let mut count = 0;
        for tap in 0..self.kernel_frames {
            // Counted from the first frame that a kernel sees.
            let index = frame / groups * self.frame_stride + tap;
            let start = if let Some(index) = index.checked_sub(self.before) {
                self.x.get(index * len..(index + 1) * len)
            } else {
                let from_end = (self.before - index) * len;
                self.past.len().checked_sub(from_end).map(|start| &self.past[start..start + len])
            };
            if let Some(pixels) = start {
                frames[count] = (pixels, tap);
                count += 1;
            }
        }
        (frames, count)
    }

    /// Frames of the result for each position of the kernel in time.
    fn groups(&self) -> usize {
        self.phases.len() / (self.scale * self.scale)
    }
}

/// A run of pixels of one frame, on one thread.
struct Task<'a> {
    job: &'a Job<'a>,
    /// Which frame of the result.
    frame: usize,
    /// The pixel with which `out` begins.
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { job, frame, first, out } = self;
        let [_, width, columns] = job.output;
        let (frames, count) = job.frames(frame);
        let frames = &frames[..count];
        let group = frame % job.groups();
        let bias = job.bias.map(|bias| &bias[group * columns..][..columns]);
        let frame_len = job.output.iter().product::<usize>();
        let finish = Finishing {
            residual: job.residual.map(|residual| &residual[frame * frame_len..][..frame_len]),
            activation: job.activation,
            columns,
        };
        let pixels = out.len() / columns;
        let scale = job.scale;
        for (index, phase) in job.phases[group * scale * scale..][..scale * scale].iter().enumerate() {
            let (line_phase, column_phase) = (index / scale, index % scale);
            let row_width = width / scale;
            let (start, count) = if scale == 1 {
                (first, pixels)
            } else {
                // The lines of this phase among those of the block.
                let line = (first / width).saturating_sub(line_phase).div_ceil(scale);
                let end = (first + pixels).div_euclid(width).saturating_sub(line_phase).div_ceil(scale);
                (line * row_width, (end - line) * row_width)
            };
            let rows = Neighbourhoods {
                frames,
                zeros: job.zeros,
                input: job.input.map(|dim| dim as i32),
                origin: phase.origin.map(|at| at as i32),
                taps: phase.taps,
                stride: job.stride as i32,
                row_width,
                reflect: job.reflect,
                scale,
                phase: [line_phase, column_phase],
            };
            match &phase.matrix {
                Matrix::Panels(panels) => {
                    let finish = &finish;
                    let rows = &rows;
                    gemm::Block { rows, panels, bias, finish, first: start, count, base: first, out }
                        .with_simd(simd);
                }
                Matrix::Dots(dots) => {
                    let finish = &finish;
                    let rows = &rows;
                    dots::Block { rows, dots, bias, finish, first: start, count, base: first, out }
                        .with_simd(simd);
                }
            }
        }
    }
}

/// The pixels under a kernel, for every pixel of one phase of a frame.
struct Neighbourhoods<'a> {
    /// Frames under the kernel and their places in it.
    frames: &'a [(&'a [f32], usize)],
    zeros: &'a [f32],
    input: [i32; 3],
    origin: [i32; 2],
    taps: [usize; 2],
    stride: i32,
    /// Kernels side by side in a line.
    row_width: usize,
    reflect: bool,
    scale: usize,
    phase: [usize; 2],
}

/// The pixel of the input under a kernel's first element.
#[derive(Clone, Copy)]
struct Place {
    y: i32,
    x: i32,
    /// Where it would begin in the frame; somewhere before it if the pixel lies outside.
    start: isize,
}

/// Pixels of one kernel row in one frame.
#[derive(Clone, Copy)]
struct Run<'a> {
    pixels: &'a [f32],
    /// As many zeros, for runs outside the picture.
    zeros: &'a [f32],
    /// Which of the frames.
    frame: usize,
    y: i32,
    x: i32,
    /// Elements from a kernel's first pixel to the run.
    offset: isize,
    /// Where its weights begin.
    depth: usize,
}

impl<'a> Neighbourhoods<'a> {
    #[inline(always)]
    fn at(&self, y: i32, x: i32) -> Place {
        let [_, width, channels] = self.input.map(|dim| dim as isize);
        Place { y, x, start: (y as isize * width + x as isize) * channels }
    }

    /// The first run in a frame.
    #[inline(always)]
    fn run(&self, frame: usize, whole: bool) -> Option<Run<'a>> {
        let &(pixels, tap) = self.frames.get(frame)?;
        let [height, width] = self.taps;
        let channels = self.input[2] as usize;
        let depth = tap * height * width * channels;
        let zeros = &self.zeros[..if whole { width * channels } else { channels }];
        Some(Run { pixels, zeros, frame, y: 0, x: 0, offset: 0, depth })
    }

    /// Where a run begins whose first pixel lies outside the picture. Apart from the rest, so that the common case
    /// stays short.
    #[cold]
    #[inline(never)]
    fn start_outside(&self, y: i32, x: i32) -> usize {
        if !self.reflect {
            return OUTSIDE;
        }
        let [height, width, channels] = self.input;
        let (y, x) = (mirrored(y, height) as usize, mirrored(x, width) as usize);
        (y * width as usize + x) * channels as usize
    }
}

impl<'a> Rows for Neighbourhoods<'a> {
    type Place = Place;
    type Segment = Run<'a>;

    #[inline(always)]
    fn place(&self, row: usize) -> Place {
        let (y, x) = ((row / self.row_width) as i32, (row % self.row_width) as i32);
        self.at(self.origin[0] + y * self.stride, self.origin[1] + x * self.stride)
    }

    #[inline(always)]
    fn next(&self, place: Place) -> Place {
        let x = place.x + self.stride;
        if x - self.origin[1] < self.row_width as i32 * self.stride {
            Place { x, start: place.start + (self.stride * self.input[2]) as isize, ..place }
        } else {
            self.at(place.y + self.stride, self.origin[1])
        }
    }

    #[inline(always)]
    fn target(&self, row: usize) -> usize {
        if self.scale == 1 {
            return row;
        }
        let (y, x) = (row / self.row_width, row % self.row_width);
        let line = y * self.scale + self.phase[0];
        (line * self.row_width + x) * self.scale + self.phase[1]
    }

    #[inline(always)]
    fn whole(&self, places: &[Place]) -> bool {
        let last = self.input[1] - self.taps[1] as i32;
        places.iter().all(|place| place.x >= 0 && place.x <= last)
    }

    #[inline(always)]
    fn first(&self, whole: bool) -> Option<Run<'a>> {
        self.run(0, whole)
    }

    #[inline(always)]
    fn following(&self, run: Run<'a>, whole: bool) -> Option<Run<'a>> {
        let [height, width] = self.taps;
        let channels = self.input[2] as usize;
        let depth = run.depth + run.zeros.len();
        if !whole && run.x + 1 < width as i32 {
            return Some(Run { x: run.x + 1, offset: run.offset + channels as isize, depth, ..run });
        }
        if run.y + 1 < height as i32 {
            let y = run.y + 1;
            let offset = y as isize * self.input[1] as isize * channels as isize;
            return Some(Run { y, x: 0, offset, depth, ..run });
        }
        self.run(run.frame + 1, whole)
    }

    #[inline(always)]
    fn range(&self, run: Run<'a>) -> Range<usize> {
        run.depth..run.depth + run.zeros.len()
    }

    #[inline(always)]
    fn elements(&self, place: Place, run: Run<'a>) -> &[f32] {
        let (y, x) = (place.y + run.y, place.x + run.x);
        // Negative coordinates are large ones without the sign.
        let start = if (y as u32) < self.input[0] as u32 && (x as u32) < self.input[1] as u32 {
            (place.start + run.offset) as usize
        } else {
            self.start_outside(y, x)
        };
        run.pixels.get(start..start + run.zeros.len()).unwrap_or(run.zeros)
    }

    #[inline(always)]
    fn gather<'b, const MR: usize>(&'b self, places: &[Place; MR], run: Run<'a>, rows: &mut [&'b [f32]; MR]) {
        let (first, last) = (places[0], places[MR - 1]);
        let inside = |place: Place| {
            ((place.y + run.y) as u32) < self.input[0] as u32
                && ((place.x + run.x) as u32) < self.input[1] as u32
        };
        // Of neighbours in one line only the first has to be found.
        let neighbours = first.y == last.y && last.x - first.x == self.stride * (MR as i32 - 1);
        if neighbours && inside(first) && inside(last) {
            let (start, len) = ((first.start + run.offset) as usize, run.zeros.len());
            let step = (self.stride * self.input[2]) as usize;
            if let Some(pixels) = run.pixels.get(start..start + (MR - 1) * step + len) {
                for (m, elements) in rows.iter_mut().enumerate() {
                    *elements = &pixels[m * step..m * step + len];
                }
                return;
            }
        }
        for (elements, &place) in rows.iter_mut().zip(places) {
            *elements = self.elements(place, run);
        }
    }

    #[inline(always)]
    fn zero(&self, places: &[Place], run: Run<'a>) -> bool {
        // Lines above or below the picture.
        let outside = |place: &Place| (place.y + run.y) as u32 >= self.input[0] as u32;
        !self.reflect && places.first().is_some_and(outside) && places.iter().all(outside)
    }
}

/// A place beyond the end of every picture.
const OUTSIDE: usize = usize::MAX / 2;

/// The coordinate reflected at the centres of the first and last pixel.
#[inline(always)]
fn mirrored(at: i32, size: i32) -> i32 {
    let at = at.abs();
    if at < size { at } else { 2 * (size - 1) - at }
}

/// Adds a residual, then applies an activation.
struct Finishing<'a> {
    residual: Option<&'a [f32]>,
    activation: Option<Activate>,
    columns: usize,
}

impl Finish for Finishing<'_> {
    #[inline(always)]
    fn finish<S: Simd>(
        &self,
        simd: S,
        row: usize,
        column: usize,
        count: usize,
        mut sums: S::f32s,
    ) -> S::f32s {
        if let Some(residual) = self.residual {
            sums = simd.add_f32s(sums, load(simd, residual, row * self.columns + column, count));
        }
        match self.activation {
            None => sums,
            Some(activation) => activation.lanes(simd, sums),
        }
    }
}
