use super::{
    NORM_ROPE,
    norm::{MOST_PACKS, PACK, is_packed, is_parameter_packed, row_teams},
    rope::{Rope, RopeParts},
};
use crate::{
    DType, Result, Tensor,
    cuda::{
        Cost, Cuda, Norm,
        launch::{Argument, Grid, launch},
    },
    ops::TokenGrid,
    tensor::shape_of,
};

/// Frames whose places fit into a kernel's parameters.
const MOST_FRAMES: usize = 32;

#[derive(Clone, Copy)]
#[repr(C)]
struct NormRope {
    x: u64,
    out: u64,
    weight: u64,
    eps: f32,
    f8_factor: f32,
    rows: i32,
    features: i32,
    stride: i32,
    head: i32,
    rotates: i32,
    rope: Rope,
    frame_rows: i32,
    places: [i32; MOST_FRAMES],
}

/// Queries, keys and values of the same rows.
const MOST_JOBS: usize = 3;

#[derive(Clone, Copy)]
#[repr(C)]
struct Jobs([NormRope; MOST_JOBS]);

impl Argument for Jobs {}

impl Jobs {
    /// Of the first of them: all of their rows go in and out.
    fn cost(&self, count: usize, activations: DType) -> Cost {
        let of = |job: &NormRope| {
            let out = if job.f8_factor == 0.0 { activations } else { DType::F8E4M3 };
            let each = activations.size_bytes() + out.size_bytes();
            Cost::bytes(job.rows as usize * job.features as usize * each)
        };
        self.0.iter().take(count).map(of).sum()
    }
}

/// Queries, keys and values side by side, `[tokens, 3 · heads · head_dim]`, and what is done to the first two.
#[derive(Clone, Copy)]
pub(crate) struct JoinedJob<'a> {
    pub(crate) x: &'a Tensor,
    /// Heads, and features of each.
    pub(crate) heads: [usize; 2],
    /// Of the norms of queries and keys.
    pub(crate) weights: [&'a Tensor; 2],
    pub(crate) eps: f32,
    /// How queries and keys are rotated.
    pub(crate) ropes: [Option<(RopeParts<'a>, TokenGrid)>; 2],
    pub(crate) fp8_scales: [Option<f32>; 2],
}

/// What is normed and rotated, and how: `x` is `[tokens, heads, head_dim]`, the weight has one number for each feature.
#[derive(Clone, Copy)]
pub(crate) struct NormRopeJob<'a> {
    pub(crate) x: &'a Tensor,
    pub(crate) weight: &'a Tensor,
    pub(crate) eps: f32,
    pub(crate) rope: Option<(RopeParts<'a>, TokenGrid)>,
    /// Results are e4m3 numbers: what comes out over this.
    pub(crate) fp8_scale: Option<f32>,
}

impl Cuda {
    /// The normed and rotated rows.
    pub(crate) fn norm_rope(&self, op: &'static str, job: NormRopeJob<'_>) -> Result<Tensor> {
        let x = self.activations(op, job.x)?;
        let dtype = if job.fp8_scale.is_some() { DType::F8E4M3 } else { self.dtype() };
        let out = self.empty_of(dtype, x.shape())?;
        if self.norm_rope_to(op, NormRopeJob { x: &x, ..job }, &out, None)? {
            return Ok(out);
        }
        let shape = x.shape();
        let rows = x.reshape(&[x.dim(0), x.dim(1) * x.dim(2)])?;
        let normed = self.norm(op, &rows, &Norm::Rms(job.weight), job.eps)?.reshape(&shape)?;
        let rotated = match job.rope {
            Some((parts, grid)) => self.rope(op, &normed, parts, grid)?,
            None => normed,
        };
        match job.fp8_scale {
            Some(scale) => {
                let largest = [-f32::MAX, f32::MAX];
                self.cast(op, &self.affine_clamped(op, &rotated, [1.0 / scale, 0.0], largest)?, DType::F8E4M3)
            }
            None => Ok(rotated),
        }
    }

    /// The normed and rotated rows to places of `memory`, frame by frame; a frame without a place goes nowhere.
    pub(crate) fn norm_rope_into(
        &self,
        op: &'static str,
        job: NormRopeJob<'_>,
        memory: &mut Tensor,
        places: &[Option<usize>],
    ) -> Result<()> {
        let x = self.activations(op, job.x)?;
        self.unshare(op, memory)?;
        let rows = x.dim(0) / places.len().max(1);
        let wanted = if job.fp8_scale.is_some() { DType::F8E4M3 } else { self.dtype() };
        if memory.dtype() == wanted
            && self.norm_rope_to(op, NormRopeJob { x: &x, ..job }, memory, Some((places, rows)))?
        {
            return Ok(());
        }
        let normed = self.norm_rope(op, job)?;
        for (frame, place) in places.iter().enumerate() {
            if let Some(place) = place {
                memory.write(place * rows, &normed.narrow(frame * rows, rows)?)?;
            }
        }
        Ok(())
    }

    /// The queries of `job`; keys and values go to places of their memories, frame by frame.
    pub(crate) fn norm_rope_joined(
        &self,
        op: &'static str,
        job: JoinedJob<'_>,
        [keys, values]: [&mut Tensor; 2],
        places: &[Option<usize>],
    ) -> Result<Tensor> {
        let x = self.activations(op, job.x)?;
        let [heads, head] = job.heads;
        let (tokens, features) = (x.dim(0), heads * head);
        let frame_rows = tokens / places.len().max(1);
        let shape = shape_of(op, &[tokens, heads, head])?;
        let dtype = |scale: Option<f32>| if scale.is_some() { DType::F8E4M3 } else { self.dtype() };
        let fits = self.fits(&x, features, head, places.len())
            && keys.dtype() == dtype(job.fp8_scales[1])
            && values.dtype() == self.dtype();
        let weights = [self.singles(op, job.weights[0])?, self.singles(op, job.weights[1])?];
        let addresses = [self.address(op, &weights[0])?, self.address(op, &weights[1])?];
        if !fits || !addresses.into_iter().all(is_parameter_packed) {
            return self.norm_rope_apart(op, &job, [keys, values], places);
        }
        self.unshare(op, keys)?;
        self.unshare(op, values)?;
        let queries = self.empty_of(dtype(job.fp8_scales[0]), shape)?;
        let source = self.address(op, &x)?;
        let part = |index: usize| source + (index * features * self.dtype().size_bytes()) as u64;
        let mut held = Vec::new();
        let base = NormRope {
            rows: tokens as i32,
            features: features as i32,
            stride: 3 * features as i32,
            head: head as i32,
            eps: job.eps,
            ..NormRope::default()
        };
        let mut with = |index: usize, out: &Tensor, places: Option<(&[Option<usize>], usize)>| -> Result<_> {
            let weight = addresses.get(index).copied().unwrap_or(0);
            let scale = job.fp8_scales.get(index).copied().flatten();
            let mut arguments = base;
            (arguments.x, arguments.out, arguments.weight) = (part(index), self.address(op, out)?, weight);
            arguments.f8_factor = scale.map_or(0.0, |scale| 1.0 / scale);
            if let Some((parts, grid)) = job.ropes.get(index).copied().flatten() {
                held.push(arguments.rotate(self.rotation(op, parts, grid)?));
            }
            arguments.place(places);
            Ok(arguments)
        };
        let to = Some((places, frame_rows));
        let jobs = Jobs([with(0, &queries, None)?, with(1, keys, to)?, with(2, values, to)?]);
        if tokens > 0 {
            self.launch_norm_rope(&jobs, MOST_JOBS)?;
        }
        Ok(queries)
    }

    /// The same by operators of their own.
    fn norm_rope_apart(
        &self,
        op: &'static str,
        job: &JoinedJob<'_>,
        [keys, values]: [&mut Tensor; 2],
        places: &[Option<usize>],
    ) -> Result<Tensor> {
        let [heads, head] = job.heads;
        let (tokens, features) = (job.x.dim(0), heads * head);
        let part = |index: usize| {
            let flat = self.take_channels(op, job.x, index * features, shape_of(op, &[tokens, features])?)?;
            flat.reshape(&[tokens, heads, head])
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let of = |index: usize, x| NormRopeJob {
            x,
            weight: job.weights[index],
            eps: job.eps,
            rope: job.ropes[index],
            fp8_scale: job.fp8_scales[index],
        };
        self.norm_rope_into(op, of(1, &k), keys, places)?;
        let rows = tokens / places.len().max(1);
        for (frame, place) in places.iter().enumerate() {
            if let Some(place) = place {
                values.write(place * rows, &v.narrow(frame * rows, rows)?)?;
            }
        }
        self.norm_rope(op, of(0, &q))
    }

    /// Does the kernel take such rows?
    fn fits(&self, x: &Tensor, features: usize, head: usize, frames: usize) -> bool {
        let address = self.address("norm", x).unwrap_or(1);
        is_packed(features, &[address], self.dtype())
            && head.is_multiple_of(PACK)
            && features / PACK <= MOST_PACKS
            && frames <= MOST_FRAMES
    }

    fn launch_norm_rope(&self, jobs: &Jobs, count: usize) -> Result<()> {
        let first = &jobs.0[0];
        let (grid, long) = row_teams(first.rows as usize, first.features as usize / PACK);
        let grid = Grid { blocks: [grid.blocks[0], count as u32, 1], ..grid };
        let name = if long { "norm_rope_long" } else { "norm_rope" };
        launch!(self, NORM_ROPE, name, grid, [*jobs], jobs.cost(count, self.dtype()))
    }

    /// By one kernel; `false` if it does not take these sizes.
    fn norm_rope_to(
        &self,
        op: &'static str,
        job: NormRopeJob<'_>,
        out: &Tensor,
        places: Option<(&[Option<usize>], usize)>,
    ) -> Result<bool> {
        let (rows, heads, head) = (job.x.dim(0), job.x.dim(1), job.x.dim(2));
        let features = heads * head;
        let weight = self.singles(op, job.weight)?;
        let weights = self.address(op, &weight)?;
        let frames = places.map_or(0, |(places, _)| places.len());
        let target = self.address(op, out)?;
        if !self.fits(job.x, features, head, frames)
            || !is_packed(features, &[target], self.dtype())
            || !is_parameter_packed(weights)
        {
            return Ok(false);
        }
        let mut arguments = NormRope {
            x: self.address(op, job.x)?,
            out: target,
            weight: weights,
            eps: job.eps,
            f8_factor: job.fp8_scale.map_or(0.0, |scale| 1.0 / scale),
            rows: rows as i32,
            features: features as i32,
            stride: features as i32,
            head: head as i32,
            ..NormRope::default()
        };
        let mut held = None;
        if let Some((parts, grid)) = job.rope {
            held = Some(arguments.rotate(self.rotation(op, parts, grid)?));
        }
        arguments.place(places);
        if rows > 0 && features > 0 {
            self.launch_norm_rope(&Jobs([arguments; MOST_JOBS]), 1)?;
        }
        drop(held);
        Ok(true)
    }
}

impl Default for NormRope {
    fn default() -> Self {
        Self {
            x: 0,
            out: 0,
            weight: 0,
            eps: 0.0,
            f8_factor: 0.0,
            rows: 0,
            features: 0,
            stride: 0,
            head: 0,
            rotates: 0,
            rope: Rope::default(),
            frame_rows: 0,
            places: [-1; MOST_FRAMES],
        }
    }
}

impl NormRope {
    /// Adds a rotation, and gives back what holds its angles.
    fn rotate(&mut self, (rope, table): (Rope, [Tensor; 3])) -> [Tensor; 3] {
        (self.rotates, self.rope) = (1, rope);
        table
    }

    fn place(&mut self, places: Option<(&[Option<usize>], usize)>) {
        if let Some((places, frame_rows)) = places {
            self.frame_rows = frame_rows as i32;
            for (target, place) in self.places.iter_mut().zip(places) {
                *target = place.map_or(-1, |place| place as i32);
            }
        }
    }
}
