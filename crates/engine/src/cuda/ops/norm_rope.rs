use super::{
    NORM_ROPE,
    norm::{MOST_PACKS, PACK, is_packed, is_parameter_packed, row_teams},
    rope::{Rope, RopeParts},
};
use crate::{
    DType, Result, Tensor,
    cuda::{
        Cuda, Norm,
        launch::{Argument, launch},
    },
    ops::TokenGrid,
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
    head: i32,
    rotates: i32,
    rope: Rope,
    frame_rows: i32,
    places: [i32; MOST_FRAMES],
    padding: u32,
}

impl Argument for NormRope {}

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
        let (source, target) = (self.address(op, job.x)?, self.address(op, out)?);
        let packs = features / PACK;
        let weights = self.address(op, &weight)?;
        let fits = is_packed(features, &[source, target], self.dtype())
            && is_parameter_packed(weights)
            && head.is_multiple_of(PACK)
            && packs <= MOST_PACKS
            && places.is_none_or(|(places, _)| places.len() <= MOST_FRAMES);
        if !fits {
            return Ok(false);
        }
        let mut arguments = NormRope {
            x: source,
            out: target,
            weight: weights,
            eps: job.eps,
            f8_factor: job.fp8_scale.map_or(0.0, |scale| 1.0 / scale),
            rows: rows as i32,
            features: features as i32,
            head: head as i32,
            rotates: i32::from(job.rope.is_some()),
            rope: Rope::default(),
            frame_rows: 0,
            places: [-1; MOST_FRAMES],
            padding: 0,
        };
        let mut held = None;
        if let Some((parts, grid)) = job.rope {
            let (rope, table) = self.rotation(op, parts, grid)?;
            arguments.rope = rope;
            held = Some(table);
        }
        if let Some((places, frame_rows)) = places {
            arguments.frame_rows = frame_rows as i32;
            for (target, place) in arguments.places.iter_mut().zip(places) {
                *target = place.map_or(-1, |place| place as i32);
            }
        }
        if rows > 0 && packs > 0 {
            let (grid, long) = row_teams(rows, packs);
            launch!(self, NORM_ROPE, if long { "norm_rope_long" } else { "norm_rope" }, grid, [arguments])?;
        }
        drop(held);
        Ok(true)
    }
}
