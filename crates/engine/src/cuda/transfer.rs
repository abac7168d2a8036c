//! Copies between the host and a GPU for which nobody waits before their result is needed.
//!
//! The driver copies without waiting only to and from memory that is locked in place. Locking takes milliseconds, so blocks
//! of it are kept and lent out.

use std::{collections::VecDeque, ffi::c_void, ptr::NonNull, sync::Arc};

use cudarc::driver::{CudaEvent, result, sys};
use parking_lot::Mutex;

use super::{
    Cost, failed,
    memory::{Allocation, Memory},
    profile::{Work, timed},
};
use crate::Result;

/// Blocks that are kept for their next use, at most.
const MOST_BLOCKS: usize = 16;
/// What a block's size is a multiple of.
const GRAIN: usize = 64 << 10;
/// Up to here the driver takes a copy of what is uploaded.
const SMALL_UPLOAD: usize = 64 << 10;
/// Larger uploads go in pieces of this size.
const UPLOAD_PIECE: usize = 4 << 20;
/// Pieces of uploads that may be on their way.
const MOST_UPLOADS: usize = 4;

/// Host memory that stays where it is.
struct Block {
    ptr: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Block {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: from `malloc_host`, freed once; users wait for copies before they let go of a block.
        let _ = unsafe { result::free_host(self.ptr.as_ptr().cast::<c_void>()) };
    }
}

/// The blocks of one [`Memory`].
#[derive(Default)]
pub(super) struct Transfers {
    free: Mutex<Vec<Block>>,
    uploads: Mutex<VecDeque<(CudaEvent, Block)>>,
}

impl Transfers {
    fn take(&self, bytes: usize) -> Result<Block> {
        let bytes = bytes.max(1).next_multiple_of(GRAIN);
        let mut free = self.free.lock();
        if let Some(index) = free.iter().position(|block| block.bytes == bytes) {
            return Ok(free.swap_remove(index));
        }
        // Blocks of sizes that are not asked for any more make room.
        if free.len() >= MOST_BLOCKS {
            free.remove(0);
        }
        drop(free);
        // SAFETY: the caller has made the context current; zero flags are the default.
        let ptr =
            unsafe { result::malloc_host(bytes, 0) }.map_err(failed("taking locked memory of the host"))?;
        let ptr = NonNull::new(ptr.cast::<u8>());
        let ptr = ptr.ok_or_else(|| crate::Error::Gpu {
            what: "taking locked memory of the host".into(),
            detail: "the driver gave none".into(),
        })?;
        Ok(Block { ptr, bytes })
    }

    fn put(&self, block: Block) {
        let mut free = self.free.lock();
        if free.len() < MOST_BLOCKS {
            free.push(block);
        }
    }

    /// Gives everything back to the system that is not in use. The context must be current.
    pub(super) fn trim(&self) {
        for (event, block) in self.uploads.lock().drain(..) {
            if event.synchronize().is_ok() {
                drop(block);
            } else {
                std::mem::forget(block);
            }
        }
        self.free.lock().clear();
    }
}

impl Memory {
    /// Copies from host memory. The source may change as soon as this returns.
    pub(crate) fn upload<T: bytemuck::Pod>(&self, target: &Allocation, source: &[T]) -> Result<()> {
        let source: &[u8] = bytemuck::cast_slice(source);
        debug_assert!(source.len() <= target.bytes());
        self.bind()?;
        if source.len() <= SMALL_UPLOAD {
            // SAFETY: the target holds as many bytes, and the driver has read pageable memory when the call returns.
            return unsafe { result::memcpy_htod_async(target.ptr(), source, self.stream().cu_stream()) }
                .map_err(failed("copying to it"));
        }
        for (index, piece) in source.chunks(UPLOAD_PIECE).enumerate() {
            let block = self.upload_block(piece.len())?;
            // SAFETY: the block is as large and nobody else's, and the target holds as many bytes behind this place. The
            // block is not touched again before the event behind the copy.
            unsafe {
                block.ptr.copy_from_nonoverlapping(NonNull::from(piece).cast::<u8>(), piece.len());
                let locked = std::slice::from_raw_parts(block.ptr.as_ptr(), piece.len());
                let place = target.ptr() + (index * UPLOAD_PIECE) as u64;
                result::memcpy_htod_async(place, locked, self.stream().cu_stream())
                    .map_err(failed("copying to it"))?;
            }
            let done = self.stream().record_event(None).map_err(failed("copying to it"))?;
            self.transfers().uploads.lock().push_back((done, block));
        }
        Ok(())
    }

    /// A block for a piece of an upload, once not too many are on their way.
    fn upload_block(&self, bytes: usize) -> Result<Block> {
        let transfers = self.transfers();
        let mut uploads = transfers.uploads.lock();
        while uploads.len() >= MOST_UPLOADS {
            let Some((done, block)) = uploads.pop_front() else { break };
            if let Err(error) = done.synchronize() {
                std::mem::forget(block);
                return Err(failed("copying to it")(error));
            }
            transfers.put(block);
        }
        drop(uploads);
        transfers.take(bytes)
    }

    /// Begins a copy to host memory, behind everything before it on the stream. The source may be dropped.
    pub(crate) fn begin_download(
        self: &Arc<Self>,
        source: sys::CUdeviceptr,
        bytes: usize,
    ) -> Result<Download> {
        self.bind()?;
        let block = self.transfers().take(bytes)?;
        // SAFETY: callers give the address of as many bytes of a live allocation of this stream; nobody reads or reuses the
        // block before the event behind the copy.
        timed(
            self.stream(),
            Work::Copy,
            || "to the host",
            Cost::NOTHING,
            || unsafe {
                let target = std::slice::from_raw_parts_mut(block.ptr.as_ptr(), bytes);
                result::memcpy_dtoh_async(target, source, self.stream().cu_stream())
            },
        )
        .map_err(failed("copying from it"))?;
        // Those who wait leave their core to others.
        let blocking = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        let done = self.stream().record_event(Some(blocking)).map_err(failed("copying from it"))?;
        Ok(Download { block: Some(block), bytes, done, memory: Arc::clone(self) })
    }
}

/// Bytes on their way to the host.
pub(crate) struct Download {
    block: Option<Block>,
    bytes: usize,
    done: CudaEvent,
    memory: Arc<Memory>,
}

impl Download {
    /// The bytes, once they are there.
    pub(crate) fn wait(&self) -> Result<&[u8]> {
        self.memory.bind()?;
        self.done.synchronize().map_err(failed("work that was under way"))?;
        // SAFETY: the copy filled as many bytes of the block, which lives as long as `self`.
        Ok(self
            .block
            .as_ref()
            .map_or(&[], |block| unsafe { std::slice::from_raw_parts(block.ptr.as_ptr(), self.bytes) }))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        let is_done = self.memory.bind().is_ok() && self.done.synchronize().is_ok();
        if is_done {
            self.memory.transfers().put(block);
        } else {
            // The GPU failed; whether it still writes there is unknown.
            std::mem::forget(block);
        }
    }
}
