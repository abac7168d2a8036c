//! Memory of a GPU: taken and given back in the order of the stream's work, every byte counted.

use std::{
    ffi::c_void,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result, sys};

use super::{
    Cost, describe, failed,
    profile::{Work, timed},
    transfer::Transfers,
};
use crate::{Error, Result};

/// Memory of one user of a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes in use.
    pub bytes: u64,
    /// The most that were in use at a time.
    pub peak: u64,
}

/// Of all users in this process.
static ALL_IN_USE: AtomicU64 = AtomicU64::new(0);
static ALL_PEAK: AtomicU64 = AtomicU64::new(0);

/// Memory of all GPUs that this process uses; the peak is that since its start.
#[must_use]
pub fn memory_use() -> MemoryUse {
    MemoryUse { bytes: ALL_IN_USE.load(Ordering::Relaxed), peak: ALL_PEAK.load(Ordering::Relaxed) }
}

/// Memory of a GPU that this process could still get: what is free, and what its pool keeps for its next use.
///
/// # Errors
/// The driver's.
pub(super) fn available(context: &CudaContext) -> std::result::Result<u64, DriverError> {
    use sys::CUmemPool_attribute::{
        CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT as RESERVED, CU_MEMPOOL_ATTR_USED_MEM_CURRENT as USED,
    };
    context.bind_to_thread()?;
    let (free, _) = context.mem_get_info()?;
    // SAFETY: the device is that of a live context, and both values are 64-bit numbers.
    let [reserved, used] = unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        let mut values = [0u64; 2];
        for (attribute, value) in [RESERVED, USED].into_iter().zip(&mut values) {
            result::mem_pool::get_attribute(pool, attribute, std::ptr::from_mut(value).cast::<c_void>())?;
        }
        values
    };
    Ok(free as u64 + reserved.saturating_sub(used))
}

/// A stream and what was allocated in its order.
pub(crate) struct Memory {
    in_use: AtomicU64,
    peak: AtomicU64,
    pool: sys::CUmemoryPool,
    transfers: Transfers,
    stream: Arc<CudaStream>,
    context: Arc<CudaContext>,
}

// SAFETY: a memory pool is a handle of the driver, whose functions may be called from every thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(context: Arc<CudaContext>, stream: Arc<CudaStream>) -> Result<Arc<Self>> {
        // SAFETY: the device is that of a live context, and the attribute's value is a 64-bit number.
        let pool = unsafe {
            let pool = result::device::get_default_mem_pool(context.cu_device())
                .map_err(failed("asking for its memory"))?;
            // What is freed stays with us until it is asked back: the next chunk takes it again without a call to the system.
            let mut threshold = u64::MAX;
            result::mem_pool::set_attribute(
                pool,
                sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                (&raw mut threshold).cast::<c_void>(),
            )
            .map_err(failed("keeping freed memory"))?;
            // The driver must not let one stream wait for another for memory that is free there.
            let mut waits = 0i32;
            result::mem_pool::set_attribute(
                pool,
                sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES,
                (&raw mut waits).cast::<c_void>(),
            )
            .map_err(failed("keeping streams apart"))?;
            pool
        };
        let [in_use, peak] = [0, 0].map(AtomicU64::new);
        Ok(Arc::new(Self { in_use, peak, pool, transfers: Transfers::default(), stream, context }))
    }

    /// Another stream of the same GPU, before this one where both have work.
    pub(super) fn beside(&self) -> Result<Arc<Self>> {
        let refused = |error: DriverError| Error::NoGpu(describe(error));
        self.bind()?;
        let (_, highest) = result::stream::get_priority_range().map_err(refused)?;
        let stream = self.context.new_stream_with_priority(highest).map_err(refused)?;
        Self::new(Arc::clone(&self.context), stream)
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(super) fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// Makes the GPU the current one of this thread; every use of the driver begins with it.
    pub(crate) fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(failed("a call from this thread"))
    }

    pub(crate) fn usage(&self) -> MemoryUse {
        MemoryUse { bytes: self.in_use.load(Ordering::Relaxed), peak: self.peak.load(Ordering::Relaxed) }
    }

    pub(crate) fn reset_peak(&self) {
        self.peak.store(self.in_use.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Memory with any content.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], after what waits for its next use went back to the system.
    pub(crate) fn allocate(self: &Arc<Self>, bytes: usize) -> Result<Allocation> {
        self.bind()?;
        let take = || {
            // SAFETY: the stream lives, and all uses of the memory are on it.
            unsafe { result::malloc_async(self.stream.cu_stream(), bytes.max(1)) }
        };
        let ptr = match take() {
            Ok(ptr) => ptr,
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                self.trim();
                let free = self.context.mem_get_info().ok().map(|(free, _)| free as u64);
                take().map_err(|_| Error::OutOfMemory { bytes: bytes as u64, free })?
            }
            Err(error) => return Err(failed("taking memory")(error)),
        };
        for (in_use, peak) in [(&self.in_use, &self.peak), (&ALL_IN_USE, &ALL_PEAK)] {
            let now = in_use.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
            peak.fetch_max(now, Ordering::Relaxed);
        }
        Ok(Allocation { ptr, bytes, memory: Arc::clone(self) })
    }

    /// Gives freed memory back to the system.
    pub(crate) fn trim(&self) {
        // Memory is free once its stream has passed the place where it was dropped. Without either, it stays ours.
        if self.bind().is_ok() && self.context.synchronize().is_ok() {
            // SAFETY: the pool is the device's own and lives as long as the process.
            let _ = unsafe { result::mem_pool::trim_to(self.pool, 0) };
            self.transfers.trim();
        }
    }

    pub(crate) fn synchronize(&self) -> Result<()> {
        self.bind()?;
        self.stream.synchronize().map_err(failed("work that was under way"))
    }

    /// Lets what is put on this stream from now on wait for what is on the other one, of the same GPU.
    pub(super) fn follow(&self, other: &Self) -> Result<()> {
        if self.context.ordinal() != other.context.ordinal() {
            return Err(Error::Elsewhere { op: "to_device" });
        }
        self.bind()?;
        let there = other.stream.record_event(None);
        there.and_then(|place| self.stream.wait(&place)).map_err(failed("waiting for another stream"))
    }

    /// Marks this place of the stream, with its time.
    pub(crate) fn record_event(&self) -> Result<CudaEvent> {
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        self.stream.record_event(timed).map_err(failed("marking a place in its work"))
    }

    /// The time between two events, once both are reached.
    pub(crate) fn milliseconds(&self, start: &CudaEvent, end: &CudaEvent) -> Result<f32> {
        end.synchronize().and_then(|()| start.elapsed_ms(end)).map_err(failed("work that was under way"))
    }

    /// Are samples of the first bytes of two allocations, from all over them, the same?
    pub(crate) fn look_the_same(&self, a: &Allocation, b: &Allocation, bytes: usize) -> Result<bool> {
        const SAMPLE: usize = 32 << 10;
        const SAMPLES: usize = 4;
        let length = bytes.min(SAMPLE);
        let mut both = [vec![0; length], vec![0; length]];
        for sample in 0..SAMPLES {
            let at = (bytes - length) / (SAMPLES - 1) * sample;
            for (host, device) in both.iter_mut().zip([a, b]) {
                self.download(device.ptr + at as u64, host)?;
            }
            if both[0] != both[1] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies to host memory, after everything before it on the stream.
    pub(crate) fn download(&self, source: sys::CUdeviceptr, target: &mut [u8]) -> Result<()> {
        self.bind()?;
        if target.is_empty() {
            return Ok(());
        }
        // SAFETY: callers give the address of as many bytes of a live allocation; the wait ends before `target` does.
        timed(
            &self.stream,
            Work::Copy,
            || "to the host",
            Cost::NOTHING,
            || unsafe { result::memcpy_dtoh_async(target, source, self.stream.cu_stream()) },
        )
        .map_err(failed("copying from it"))?;
        self.synchronize()
    }

    /// Copies from place to place on the device.
    pub(crate) fn copy(
        &self,
        target: sys::CUdeviceptr,
        source: sys::CUdeviceptr,
        bytes: usize,
    ) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: callers give addresses of as many bytes of live allocations of this stream.
        timed(
            &self.stream,
            Work::Copy,
            || "on the device",
            Cost::bytes(2 * bytes),
            || unsafe { result::memcpy_dtod_async(target, source, bytes, self.stream.cu_stream()) },
        )
        .map_err(failed("copying within it"))
    }

    /// Fills with zeros.
    pub(crate) fn clear(&self, target: &Allocation) -> Result<()> {
        self.bind()?;
        // SAFETY: the allocation lives and holds as many bytes.
        unsafe { result::memset_d8_async(target.ptr, 0, target.bytes.max(1), self.stream.cu_stream()) }
            .map_err(failed("clearing memory"))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // What is locked on the host goes back through the context.
        if self.bind().is_ok() {
            self.transfers.trim();
        }
    }
}

/// A block of device memory; it is free again once the stream has passed the place where it was dropped.
pub(crate) struct Allocation {
    ptr: sys::CUdeviceptr,
    bytes: usize,
    memory: Arc<Memory>,
}

impl Allocation {
    pub(crate) fn ptr(&self) -> sys::CUdeviceptr {
        self.ptr
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it memory of another stream of the same GPU, which must have passed this stream's use of it.
    pub(super) fn hand_to(&mut self, memory: &Arc<Memory>) {
        let bytes = self.bytes as u64;
        let now = memory.in_use.fetch_add(bytes, Ordering::Relaxed) + bytes;
        memory.peak.fetch_max(now, Ordering::Relaxed);
        let old = std::mem::replace(&mut self.memory, Arc::clone(memory));
        old.in_use.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        for in_use in [&self.memory.in_use, &ALL_IN_USE] {
            in_use.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        }
        if self.memory.bind().is_ok() {
            // SAFETY: allocated on this stream or handed to it, and dropped once. An error means that the context is gone, and the memory with it.
            let _ = unsafe { result::free_async(self.ptr, self.memory.stream.cu_stream()) };
        }
    }
}
