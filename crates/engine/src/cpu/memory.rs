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

/// Freed memory that is kept for reuse, at most: beyond it, freed buffers go back to the system.
const KEPT_BYTES: usize = 1 << 30;

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
    pub(crate) fn zeros(len: usize) -> Self {
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
}

struct Free<T> {
    by_capacity: HashMap<usize, Vec<Arc<Lines<T>>>>,
    bytes: usize,
}

impl<T: Pod> Pool<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(Free { by_capacity: HashMap::new(), bytes: 0 }) })
    }

    /// A buffer of at least `len` elements with any content.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer<T> {
        let capacity = size_class(len);
        let reused = {
            let mut free = self.free.lock();
            let block = free.by_capacity.get_mut(&capacity).and_then(Vec::pop);
            if block.is_some() {
                free.bytes -= capacity * size_of::<T>();
            }
            block
        };
        let block = reused.unwrap_or_else(|| Arc::new(Lines::zeros(capacity)));
        Buffer { block: Some(block), pool: Arc::clone(self) }
    }

    /// A buffer of these elements.
    pub(crate) fn collect(self: &Arc<Self>, elements: impl ExactSizeIterator<Item = T>) -> Buffer<T> {
        let mut buffer = self.take(elements.len());
        // Fresh from the pool, it is not shared.
        if let Some(target) = buffer.unique() {
            target.iter_mut().zip(elements).for_each(|(target, element)| *target = element);
        }
        buffer
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
        let pool = Pool::<f32>::new();
        let buffer = pool.take(1000);
        let address = buffer.as_ptr();
        let second = buffer.clone();
        drop(buffer);
        assert_ne!(pool.take(1000).as_ptr(), address, "still held by the clone");
        drop(second);
        assert_eq!(pool.take(990).as_ptr(), address);
    }

    #[test]
    fn a_shared_buffer_is_not_writable() {
        let pool = Pool::<u8>::new();
        let mut buffer = pool.take(8);
        let second = buffer.clone();
        assert!(buffer.unique().is_none());
        drop(second);
        assert!(buffer.unique().is_some());
    }

    #[test]
    fn buffers_begin_at_a_cache_line_and_hold_what_was_collected() {
        let pool = Pool::<u8>::new();
        for len in [0, 1, 63, 64, 65, 1000] {
            let buffer = pool.collect((0..len).map(|index| index as u8));
            assert_eq!(buffer.as_ptr().addr() % 64, 0);
            assert!(buffer.iter().take(len as usize).zip(0..len).all(|(&found, index)| found == index as u8));
        }
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
