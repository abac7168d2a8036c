//! Buffers that come back: a tensor's memory returns to its device when the last handle is dropped, and the next
//! tensor of about that size takes it. A loop that repeats its shapes therefore allocates nothing.

use std::{collections::HashMap, mem::size_of, ops::Deref, sync::Arc};

use parking_lot::Mutex;

/// Freed memory that is kept for reuse, at most: beyond it, freed buffers go back to the system.
const KEPT_BYTES: usize = 1 << 30;

/// Where the buffers of one element type wait for their next use.
pub(crate) struct Pool<T> {
    free: Mutex<Free<T>>,
}

struct Free<T> {
    by_capacity: HashMap<usize, Vec<Arc<Vec<T>>>>,
    bytes: usize,
}

impl<T: Copy + Default> Pool<T> {
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
        let block = reused.unwrap_or_else(|| Arc::new(vec![T::default(); capacity]));
        Buffer { block: Some(block), pool: Arc::clone(self) }
    }

    /// A buffer around memory that already holds the data. Not kept for reuse unless its size is a class of the pool.
    pub(crate) fn adopt(self: &Arc<Self>, data: Vec<T>) -> Buffer<T> {
        Buffer { block: Some(Arc::new(data)), pool: Arc::clone(self) }
    }

    /// Gives all waiting memory back to the system.
    pub(crate) fn trim(&self) {
        let mut free = self.free.lock();
        free.by_capacity.clear();
        free.bytes = 0;
    }

    fn put(&self, block: Arc<Vec<T>>) {
        let capacity = block.len();
        let bytes = capacity * size_of::<T>();
        if capacity == 0 || capacity != size_class(capacity) {
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
pub(crate) struct Buffer<T: Copy + Default> {
    block: Option<Arc<Vec<T>>>,
    pool: Arc<Pool<T>>,
}

impl<T: Copy + Default> Buffer<T> {
    /// The elements, if nobody else shares them.
    pub(crate) fn unique(&mut self) -> Option<&mut [T]> {
        self.block.as_mut().and_then(Arc::get_mut).map(Vec::as_mut_slice)
    }
}

impl<T: Copy + Default> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self { block: self.block.clone(), pool: Arc::clone(&self.pool) }
    }
}

impl<T: Copy + Default> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // `block` is only empty while the buffer is being dropped.
        self.block.as_ref().map_or(&[], |block| block.as_slice())
    }
}

impl<T: Copy + Default> Drop for Buffer<T> {
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
    fn size_classes_waste_at_most_an_eighth() {
        for len in 1..100_000usize {
            let class = size_class(len);
            assert!(class >= len && class <= len + (len / 8).max(16), "{len} -> {class}");
            assert_eq!(size_class(class), class);
        }
    }
}
