//! Threads by hand: each takes the next piece of a range until none is left.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a piece where nothing else is said: enough for the calls not to count.
pub(crate) const PIECE: usize = 8 << 20;

/// Calls `f` for each piece of the range from 0 up to `len`, on the caller and so many threads less one.
///
/// The threads are started for the call, and kept to no CPU. Each piece is
/// handed out once; a thread stops at its first error, and one of those is
/// returned once all threads have ended.
pub(crate) fn for_each_piece<E: Send>(
    len: usize,
    piece: usize,
    threads: NonZeroUsize,
    f: impl Fn(Range<usize>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let take_pieces = || {
        loop {
            // Relaxed: it hands out numbers; the scope's end publishes what was done.
            let start = next.fetch_add(piece, Ordering::Relaxed);
            if start >= len {
                return Ok(());
            }
            f(start..(start + piece).min(len))?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(take_pieces)).collect();
        let mut outcome = take_pieces();
        for thread in others {
            let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and(ended);
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn pieces_cover_the_range_once_and_errors_are_told() {
        let threads = NonZeroUsize::new(3).expect("three is not zero");
        for len in [0, 1, 10, 11, 1000] {
            let seen = Mutex::new(Vec::new());
            let note = |piece: Range<usize>| -> Result<(), ()> {
                seen.lock().expect("nobody panics").extend(piece);
                Ok(())
            };
            for_each_piece(len, 10, threads, note).expect("nothing fails");
            let mut seen = seen.into_inner().expect("nobody panics");
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..len), "{len}");
        }
        let failed = for_each_piece(100, 10, threads, |piece| match piece.start {
            50 => Err("fifty"),
            _ => Ok(()),
        });
        assert_eq!(failed, Err("fifty"));
    }
}
