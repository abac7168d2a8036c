//! Work on large tensors in host memory, shared by all cores.

use std::sync::{Mutex, PoisonError};

/// Does `work` on every item, on as many threads as there are cores and items.
pub(crate) fn for_each<T: Send>(items: impl ExactSizeIterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = cores.min(items.len());
    let items = Mutex::new(items);
    let take = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(item) = take() {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_met_once() {
        let mut numbers: Vec<usize> = (0..1000).collect();
        for_each(numbers.chunks_mut(7).enumerate(), |(index, chunk)| {
            chunk.iter_mut().for_each(|number| *number += index);
        });
        assert!(numbers.iter().enumerate().all(|(at, &number)| number == at + at / 7));
        for_each(numbers[..0].chunks_mut(7), |_| unreachable!());
    }
}
