//! Ranges of bytes moved batch by batch, so that what has moved is known where a later batch fails.

use std::ops::Range;

use firsttouch_memory::{MemoryError, MigrateError, Migrated};

/// Bytes of one batch; more where a page has more.
///
/// What a call that moves pages costs by itself is nothing beside the copying
/// of that much, and it is no more than one call to the kernel moves of base pages.
pub(crate) const BATCH: usize = 64 << 20;

/// Moves ranges in batches of so many bytes, whole pages, and adds what came of each to `came`, also of the one that fails.
///
/// Each range starts on a page, and so ends but for the last page of a region.
pub(crate) fn migrate(
    ranges: impl IntoIterator<Item = Range<usize>>,
    batch_bytes: usize,
    page_bytes: usize,
    came: &mut Migrated,
    mut migrate: impl FnMut(Vec<Range<usize>>) -> Result<Migrated, MigrateError>,
) -> Result<(), MemoryError> {
    let mut migrate = |batch| match migrate(batch) {
        Ok(pages) => {
            came.merge(&pages);
            Ok(())
        }
        Err(error) => {
            came.merge(&error.pages);
            Err(error.source)
        }
    };
    let most = batch_bytes.max(page_bytes) / page_bytes * page_bytes;
    let mut batch = Vec::new();
    let mut room = most;
    for mut range in ranges {
        while !range.is_empty() {
            let end = range.end.min(range.start + room);
            room = room.saturating_sub((end - range.start).next_multiple_of(page_bytes));
            batch.push(range.start..end);
            range.start = end;
            if room == 0 {
                migrate(std::mem::take(&mut batch))?;
                room = most;
            }
        }
    }
    if batch.is_empty() { Ok(()) } else { migrate(batch) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The first byte of a range, and the one past its last.
    type Ends = (usize, usize);

    /// Moves ranges of 10-byte pages in batches of 4; of the batch with this number one page moves and the others fail. Returns all batches, and the pages.
    fn run(ranges: &[Ends], fails: usize) -> (Vec<Vec<Ends>>, Migrated, bool) {
        let (mut batches, mut came) = (Vec::new(), Migrated::default());
        let ranges = ranges.iter().map(|&(start, end)| start..end);
        let ended = migrate(ranges, 49, 10, &mut came, |batch| {
            let mut pages = Migrated::default();
            pages.moved = batch.iter().map(|range| range.len().div_ceil(10) as u64).sum();
            batches.push(batch.into_iter().map(|range| (range.start, range.end)).collect());
            if batches.len() <= fails {
                return Ok(pages);
            }
            pages.failed = std::mem::replace(&mut pages.moved, 1) - 1;
            Err(MigrateError::new(pages, MemoryError::ZeroLength))
        });
        (batches, came, ended.is_ok())
    }

    #[test]
    fn every_page_is_in_one_batch_and_each_batch_is_full_but_the_last() {
        let ranges = [(0, 30), (50, 60), (100, 210), (300, 317)];
        let (batches, came, is_ok) = run(&ranges, usize::MAX);
        let expected = [
            vec![(0, 30), (50, 60)],
            vec![(100, 140)],
            vec![(140, 180)],
            vec![(180, 210), (300, 310)],
            vec![(310, 317)],
        ];
        assert_eq!(batches, expected);
        assert_eq!((came.moved, came.total(), is_ok), (17, 3 + 1 + 11 + 2, true));
    }

    #[test]
    fn a_page_larger_than_a_batch_is_one() {
        let mut sizes = Vec::new();
        let moved = migrate(std::iter::once(0..35), 4, 10, &mut Migrated::default(), |batch| {
            sizes.extend(batch.iter().map(Range::len));
            Ok(Migrated::default())
        });
        assert_eq!((sizes, moved.is_ok()), (vec![10, 10, 10, 5], true));
    }

    #[test]
    fn what_came_of_pages_up_to_an_error_is_counted() {
        for fails in 0..3 {
            let (batches, came, is_ok) = run(&[(0, 100), (200, 220)], fails);
            assert_eq!((batches.len(), is_ok), (fails + 1, false));
            assert_eq!((came.moved, came.failed), (4 * fails as u64 + 1, 3));
        }
    }
}
