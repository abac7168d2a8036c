//! Buffers that come back: a tensor's memory returns to its device when the last handle is dropped, and the next
//! tensor of about that size takes it. A loop that repeats its shapes therefore allocates nothing.

use std::{
    collections::HashMap,
    marker::PhantomData,
    mem::size_of,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use bytemuck::{Pod, Zeroable};
use parking_lot::Mutex;

use crate::{Error, Result};

/// Freed memory that is kept for reuse, at most: beyond it, freed buffers go back to the system.
const KEPT_BYTES: usize = 1 << 30;

/// Tells how many bytes the system can still give; `None` where it does not say.
pub type FreeMemory = fn() -> Option<u64>;

/// Fewer bytes than this are had without asking how much is free.
const SMALL_BYTES: usize = 1 << 20;

/// What stays free for everything that is no tensor.
const SPARED_BYTES: u64 = 64 << 20;

/// A cache line, which is also the widest vector: one that began elsewhere would touch two lines.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Elements that begin at a cache line.
pub(crate) struct Lines<T> {
    lines: Vec<Line>,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> Lines<T> {
    /// Zeros, if there is memory for them: a system that gives more than it has ends the whole program later.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn zeros(len: usize, free_memory: FreeMemory) -> Result<Self> {
        let bytes = len.saturating_mul(size_of::<T>());
        let free = if bytes < SMALL_BYTES { None } else { free_memory() };
        let refused = || Error::OutOfMemory { bytes: bytes as u64, free };
        if free.is_some_and(|free| free < SPARED_BYTES.saturating_add(bytes as u64)) {
            return Err(refused());
        }
        let count = bytes.div_ceil(size_of::<Line>());
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| refused())?;
        lines.resize(count, Line([0; 64]));
        Ok(Self { lines, len, elements: PhantomData })
    }

    fn scratch(len: usize) -> Self {
        let lines = vec![Line([0; 64]); (len * size_of::<T>()).div_ceil(size_of::<Line>())];
        Self { lines, len, elements: PhantomData }
    }
}

impl<T: Pod> Deref for Lines<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Pod> DerefMut for Lines<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// Where the buffers of one element type wait for their next use.
pub(crate) struct Pool<T> {
    free: Mutex<Free<T>>,
    free_memory: FreeMemory,
}

struct Free<T> {
    by_capacity: HashMap<usize, Vec<Arc<Lines<T>>>>,
    bytes: usize,
}

impl<T: Pod> Pool<T> {
    pub(crate) fn new(free_memory: FreeMemory) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(Free { by_capacity: HashMap::new(), bytes: 0 }), free_memory })
    }

    /// A buffer of at least `len` elements with any content.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], after what waits for its next use went back to the system.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Result<Buffer<T>> {
        let capacity = size_class(len);
        let block = match self.reuse(capacity) {
            Some(block) => block,
            None => Arc::new(Lines::zeros(capacity, self.free_memory).or_else(|_| {
                self.trim();
                Lines::zeros(capacity, self.free_memory)
            })?),
        };
        Ok(Buffer { block: Some(block), pool: Arc::clone(self) })
    }

    /// The same for a kernel's own use, in the midst of its work: little enough to be had without asking.
    pub(crate) fn scratch(self: &Arc<Self>, len: usize) -> Buffer<T> {
        let capacity = size_class(len);
        let block = self.reuse(capacity).unwrap_or_else(|| Arc::new(Lines::scratch(capacity)));
        Buffer { block: Some(block), pool: Arc::clone(self) }
    }

    fn reuse(&self, capacity: usize) -> Option<Arc<Lines<T>>> {
        let mut free = self.free.lock();
        let block = free.by_capacity.get_mut(&capacity).and_then(Vec::pop)?;
        free.bytes -= capacity * size_of::<T>();
        Some(block)
    }

    /// A buffer of these elements.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn collect(self: &Arc<Self>, elements: impl ExactSizeIterator<Item = T>) -> Result<Buffer<T>> {
        let mut buffer = self.take(elements.len())?;
        // Fresh from the pool, it is not shared.
        if let Some(target) = buffer.unique() {
            target.iter_mut().zip(elements).for_each(|(target, element)| *target = element);
        }
        Ok(buffer)
    }

    /// Gives all waiting memory back to the system.
    pub(crate) fn trim(&self) {
        let mut free = self.free.lock();
        free.by_capacity.clear();
        free.bytes = 0;
    }

    fn put(&self, block: Arc<Lines<T>>) {
        let capacity = block.len();
        let bytes = capacity * size_of::<T>();
        if capacity == 0 {
            return;
        }
        let mut free = self.free.lock();
        if free.bytes + bytes <= KEPT_BYTES {
            free.bytes += bytes;
            free.by_capacity.entry(capacity).or_default().push(block);
        }
    }
}

/// The next of eight steps per power of two, so that reuse wastes at most an eighth.
fn size_class(len: usize) -> usize {
    let step = (len.next_power_of_two() / 16).max(16);
    len.div_ceil(step) * step
}

/// Shared memory of `T`s; clones share it, the last one hands it back to its pool.
pub(crate) struct Buffer<T: Pod> {
    block: Option<Arc<Lines<T>>>,
    pool: Arc<Pool<T>>,
}

impl<T: Pod> Buffer<T> {
    /// The elements, if nobody else shares them.
    pub(crate) fn unique(&mut self) -> Option<&mut [T]> {
        self.block.as_mut().and_then(Arc::get_mut).map(|block| &mut **block)
    }
}

impl<T: Pod> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self { block: self.block.clone(), pool: Arc::clone(&self.pool) }
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // `block` is only empty while the buffer is being dropped.
        self.block.as_ref().map_or(&[], |block| block)
    }
}

impl<T: Pod> Drop for Buffer<T> {
    fn drop(&mut self) {
        // Two clones dropped at the same time may both see the other and free the memory instead: no harm.
        if let Some(mut block) = self.block.take()
            && Arc::get_mut(&mut block).is_some()
        {
            self.pool.put(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_handle_goes() {
        let pool = Pool::<f32>::new(|| None);
        let buffer = pool.take(1000).unwrap();
        let address = buffer.as_ptr();
        let second = buffer.clone();
        drop(buffer);
        assert_ne!(pool.take(1000).unwrap().as_ptr(), address, "still held by the clone");
        drop(second);
        assert_eq!(pool.take(990).unwrap().as_ptr(), address);
    }

    #[test]
    fn a_shared_buffer_is_not_writable() {
        let pool = Pool::<u8>::new(|| None);
        let mut buffer = pool.take(8).unwrap();
        let second = buffer.clone();
        assert!(buffer.unique().is_none());
        drop(second);
        assert!(buffer.unique().is_some());
    }

    #[test]
    fn buffers_begin_at_a_cache_line_and_hold_what_was_collected() {
        let pool = Pool::<u8>::new(|| None);
        for len in [0, 1, 63, 64, 65, 1000] {
            let buffer = pool.collect((0..len).map(|index| index as u8)).unwrap();
            assert_eq!(buffer.as_ptr().addr() % 64, 0);
            assert!(buffer.iter().take(len as usize).zip(0..len).all(|(&found, index)| found == index as u8));
        }
    }

    #[test]
    fn what_the_system_has_not_is_refused_and_what_waits_is_given_back_first() {
        use std::sync::atomic::{AtomicU64, Ordering};
        static FREE: AtomicU64 = AtomicU64::new(u64::MAX);
        const BYTES: usize = 8 << 20;
        let pool = Pool::<u8>::new(|| Some(FREE.load(Ordering::Relaxed)));
        let block = pool.take(BYTES).unwrap();
        FREE.store(SPARED_BYTES + BYTES as u64 - 1, Ordering::Relaxed);
        let Err(Error::OutOfMemory { bytes, free: Some(free) }) = pool.take(BYTES) else { panic!() };
        assert_eq!((bytes, free), (BYTES as u64, SPARED_BYTES + BYTES as u64 - 1));
        assert!(pool.take(1000).is_ok(), "little is always had");
        drop(block);
        assert!(pool.take(BYTES).is_ok(), "the one that waits needs no new memory");
        assert_eq!(pool.free.lock().bytes, size_class(1000) + BYTES);
        assert!(pool.take(2 * BYTES).is_err());
        assert_eq!(pool.free.lock().bytes, 0, "all that waited went back before it was refused");
        FREE.store(u64::MAX, Ordering::Relaxed);
        assert!(pool.take(usize::MAX / 4).is_err(), "what no machine has");
        assert!(pool.take(2 * BYTES).is_ok());
    }

    #[test]
    fn size_classes_waste_at_most_an_eighth() {
        for len in 1..100_000usize {
            let class = size_class(len);
            assert!(class >= len && class <= len + (len / 8).max(16), "{len} -> {class}");
            assert_eq!(size_class(class), class);
        }
    }
}
