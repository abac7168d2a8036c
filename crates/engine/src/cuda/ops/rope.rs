use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    ROPE,
    norm::{PACK, is_packed},
};
use crate::{
    Result, Tensor,
    cuda::{
        Cost, Cuda,
        launch::{Argument, Grid, launch},
    },
    ops::{PlacedFrame, TokenGrid},
    tensor::shape_of,
};

/// A table of angles on the GPUs that asked for it. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct DeviceTable(Arc<Mutex<Vec<OnDevice>>>);

/// The angles of time, height and width on a GPU.
struct OnDevice {
    device: Cuda,
    axes: [Tensor; 3],
}

impl DeviceTable {
    /// The table on this device, copied there at its first use.
    fn on(&self, device: &Cuda, axes: &[Vec<[f32; 2]>; 3]) -> Result<[Tensor; 3]> {
        let mut tables = self.0.lock();
        if let Some(table) = tables.iter().find(|table| table.device.same(device)) {
            return Ok(table.axes.clone());
        }
        let [time, height, width] = axes;
        let upload = |axis: &Vec<[f32; 2]>| {
            let values: &[f32] = axis.as_flattened();
            Tensor::from_f32(&device.clone().into(), &[values.len()], values)
        };
        let axes = [upload(time)?, upload(height)?, upload(width)?];
        tables.push(OnDevice { device: device.clone(), axes: axes.clone() });
        Ok(axes)
    }
}

impl std::fmt::Debug for DeviceTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceTable(on {} devices)", self.0.lock().len())
    }
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Rope {
    axes: [u64; 3],
    columns: [i32; 3],
    start: i32,
    height: i32,
    width: i32,
}

impl Argument for Rope {}

/// Frames whose places fit into a kernel's parameters.
const MOST_FRAMES: usize = 32;

#[derive(Clone, Copy)]
#[repr(C)]
struct Frames {
    slots: [i32; MOST_FRAMES],
    positions: [i32; MOST_FRAMES],
}

impl Argument for Frames {}

/// A table of angles as [`crate::ops::RopeTable`] hands it over: the copies on devices, the angles, complex columns of each axis.
pub(crate) type RopeParts<'a> = (&'a DeviceTable, &'a [Vec<[f32; 2]>; 3], [usize; 3]);

impl Cuda {
    /// A rotation as kernels take it, and what holds its angles.
    pub(super) fn rotation(
        &self,
        op: &'static str,
        (table, axes, columns): RopeParts<'_>,
        grid: TokenGrid,
    ) -> Result<(Rope, [Tensor; 3])> {
        let table = table.on(self, axes)?;
        let mut addresses = [0; 3];
        for (address, axis) in addresses.iter_mut().zip(&table) {
            *address = self.address(op, axis)?;
        }
        let rope = Rope {
            axes: addresses,
            columns: columns.map(|count| count as i32),
            start: grid.start as i32,
            height: grid.height as i32,
            width: grid.width as i32,
        };
        Ok((rope, table))
    }

    /// Rotates `x`, `[tokens, heads, head_dim]`, over itself where nobody else holds it.
    pub(crate) fn rope(
        &self,
        op: &'static str,
        x: &Tensor,
        parts: RopeParts<'_>,
        grid: TokenGrid,
    ) -> Result<Tensor> {
        let x = self.activations(op, x)?;
        // The caller's handle and ours are two; see `reuse`.
        let out = self.empty(x.shape())?;
        let (rope, _table) = self.rotation(op, parts, grid)?;
        let (heads, half) = (x.dim(1), x.dim(2) / 2);
        let count = x.shape().numel() / 2;
        if count > 0 {
            let (source, target) = (self.address(op, &x)?, self.address(op, &out)?);
            launch!(
                self,
                ROPE,
                "rope",
                Grid::over(count),
                [source, target, count as i64, heads as i32, half as i32, rope],
                Cost::moving([&x, &out])
            )?;
        }
        Ok(out)
    }

    /// Frames of `x`, `[frames · tokens, heads, head_dim]`, one after the other, each rotated by its own position in time; `None`
    /// where one kernel does not take these sizes.
    pub(crate) fn rope_frames(
        &self,
        op: &'static str,
        x: &Tensor,
        parts: RopeParts<'_>,
        frames: &[PlacedFrame],
        [height, width]: [usize; 2],
    ) -> Result<Option<Tensor>> {
        let (heads, head, tokens) = (x.dim(1), x.dim(2), height * width);
        let out = self.empty(shape_of(op, &[frames.len() * tokens, heads, head])?)?;
        let (source, target) = (self.address(op, x)?, self.address(op, &out)?);
        let count = out.shape().numel() / PACK;
        let fits = x.dtype() == self.dtype()
            && is_packed(heads * head, &[source, target], self.dtype())
            && head.is_multiple_of(PACK)
            && frames.len() <= MOST_FRAMES;
        if !fits {
            return Ok(None);
        }
        let grid = TokenGrid { start: 0, frames: frames.len(), height, width };
        let (rope, _table) = self.rotation(op, parts, grid)?;
        let mut places = Frames { slots: [0; MOST_FRAMES], positions: [0; MOST_FRAMES] };
        for (index, frame) in frames.iter().enumerate() {
            places.slots[index] = frame.slot as i32;
            places.positions[index] = frame.position as i32;
        }
        if count > 0 {
            let sizes = [heads * head, head, tokens].map(|size| size as i32);
            launch!(
                self,
                ROPE,
                "rope_frames",
                Grid::over(count),
                [source, target, count as i64, sizes[0], sizes[1], sizes[2], rope, places],
                Cost::moving([&out, &out])
            )?;
        }
        Ok(Some(out))
    }
}
