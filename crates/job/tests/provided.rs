//! Pages hold the same, and lie where they were meant to, whether they come with their contents or not.
//!
//! Calls are switched off for the whole process, and all it traces is looked
//! at, so this is one test and a binary of its own.

mod common;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Result, where_refused};
use firsttouch_job::{InitReport, JobError, PageInit, Placement, Stores};
use firsttouch_memory::{
    HugePageSize, OptionalCall, PageSize, Pod, Policy, Region, simulate_missing,
};
use firsttouch_pool::Pool;
use firsttouch_testing::{Call, skipped};
use firsttouch_topology::Topology;

const ALL_STORES: [Stores; 4] = [Stores::Auto, Stores::Provided, Stores::Cached, Stores::Streaming];

/// Counts events that are more than `debug`.
struct Loud(Arc<AtomicUsize>);

impl std::io::Write for Loud {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn base(len: usize) -> Region {
    Region::builder(len).build().expect("memory for a test")
}

/// A region of 2 MiB pages, or a word on why there is none.
fn huge(len: usize) -> Option<Region> {
    let built = Region::builder(len).page_size(PageSize::Huge(HugePageSize::MIB_2)).build();
    built.inspect_err(|error| skipped("hugetlb pages with contents", error)).ok()
}

/// Whether a provider can be had at all.
fn is_had() -> bool {
    let mut region = base(1);
    // SAFETY: [missing] nothing is touched while it lives.
    unsafe { region.parts().provider() }.is_some()
}

/// Bytes of which no two pages hold the same.
fn numbers(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251 + index / 4096) as u8).collect()
}

/// Initialises regions by each way to write; all must hold the same, and be where they were meant to.
fn check(
    what: &impl Debug,
    mut region: Region,
    placement: &Placement,
    provides: bool,
    expected: &[u8],
    run: impl Fn(PageInit<'_>) -> std::result::Result<InitReport, JobError>,
) -> Result {
    let (len, size) = (region.len(), region.page_size());
    for is_missing in [false, true] {
        simulate_missing(OptionalCall::Userfault, is_missing);
        for stores in ALL_STORES {
            let init = PageInit::new(&mut region).placement(placement.clone()).min_chunk(1 << 16);
            let report = run(init.stores(stores))?;
            assert!(region.as_slice() == expected, "{what:?}: {stores:?} of {size}, {len} bytes");
            let may = provides && !is_missing && matches!(stores, Stores::Auto | Stores::Provided);
            assert_eq!(report.provided, if may { len } else { 0 }, "{what:?}: {stores:?}, {size}");
            if let Some(pages) = report.pages {
                assert_eq!(pages.placed, pages.total(), "{what:?}: {stores:?} of {size}");
            }
        }
    }
    simulate_missing(OptionalCall::Userfault, false);
    Ok(())
}

/// Checks fills with an element, by a value and by a closure that finds zeros.
fn check_fill<T: Pod + Debug + Sync>(
    pool: &Pool,
    element: T,
    build: impl Fn() -> Option<Region>,
) -> Result {
    let Some(region) = build() else { return Ok(()) };
    let (len, size) = (region.len(), size_of::<T>());
    let provides = is_had() && region.page_bytes() % size == 0;
    let mut expected = bytemuck::bytes_of(&element).repeat(len / size);
    expected.resize(len, 0);
    let fill = ("fill", std::any::type_name::<T>());
    check(&fill, region, &Placement::Blocked, provides, &expected, |init| {
        init.fill(pool, element)
    })?;
    let Some(region) = build() else { return Ok(()) };
    let fill = ("fill_with", std::any::type_name::<T>());
    check(&fill, region, &Placement::Blocked, provides, &expected, |init| {
        init.fill_with(pool, |_, elements: &mut [T]| {
            for to in elements {
                assert!(
                    bytemuck::bytes_of(to).iter().all(|&byte| byte == 0),
                    "fresh, and met once"
                );
                *to = element;
            }
        })
    })
}

fn check_kind(pool: &Pool, build: impl Fn() -> Option<Region> + Copy) -> Result {
    let Some(region) = build() else { return Ok(()) };
    let (len, page, provides) = (region.len(), region.page_bytes(), is_had());
    let blocks = Placement::Interleaved { block: page };
    for placement in [Placement::Blocked, blocks, Placement::Interleaved { block: 3 * page }] {
        let Some(region) = build() else { return Ok(()) };
        let zeros = vec![0; len];
        check(&"zero", region, &placement, provides, &zeros, |init| init.zero(pool))?;
        let Some(region) = build() else { return Ok(()) };
        let what = ("fill", &placement);
        let words: Vec<u8> = (0..len).map(|at| if at < len - len % 4 { 0x5A } else { 0 }).collect();
        check(&what, region, &placement, provides, &words, |init| {
            init.fill(pool, 0x5A5A_5A5A_u32)
        })?;
    }
    check_fill(pool, 0xA5_u8, build)?;
    check_fill(pool, 0x0123_4567_u32, build)?;
    check_fill(pool, [1_u64, 2, 3, u64::MAX], build)?;
    check_fill(pool, [1_u8, 2, 3], build)?;
    check_fill(pool, [[7_u8; 512]; 10], build)?;
    // Around the ends of pages and of pieces, which are 256 KiB where a page is not longer.
    let piece = page.max(256 << 10);
    let ends = [0, page, piece, 2 * piece, len].into_iter();
    let lengths = ends.flat_map(|end| [end.saturating_sub(1), end, end + 1]);
    for count in lengths.filter(|&count| count <= len) {
        let Some(region) = build() else { return Ok(()) };
        let mut expected = numbers(count);
        expected.resize(len, 0);
        check(&("copy", count), region, &Placement::Blocked, provides, &expected, |init| {
            init.copy_from(pool, &expected[..count])
        })?;
    }
    Ok(())
}

/// What one piece cannot be provided with, it and the others are filled with all the same.
fn check_what_fails_underway(pool: &Pool) -> Result {
    let (len, half) = (4 << 20, (2 << 20) + 4096);
    let mut region = base(len);
    let nodes = Topology::discover()?.nodes().iter().map(|node| node.id()).collect();
    // Of two policies the region is two mappings, and the piece across them is not provided.
    let _ = region.set_policy(half..len, &Policy::Bind(nodes));
    let is_split = matches!(region.policy_at(half), Ok(Policy::Bind(_)));
    let report = PageInit::new(&mut region).fill(pool, [1_u8, 2])?;
    assert!(region.as_slice_of::<[u8; 2]>().iter().all(|pair| *pair == [1, 2]));
    if is_split && is_had() && report.nodes.len() <= 1 {
        assert!(report.provided < len, "{report:?}");
    } else {
        skipped("pieces of two policies", &"policies are refused, or the job sets its own");
    }
    region.discard(0..len)?;
    assert!(region.as_slice().iter().all(|&byte| byte == 0), "it is the kernel's to clear");
    Ok(())
}

/// A page that was read is one of the kernel's zeros, and no reason for another way.
fn check_what_was_read_before(pool: &Pool) -> Result {
    let mut region = base(4 << 20);
    assert!(region.as_slice().iter().step_by(4096).all(|&byte| byte == 0));
    let report = PageInit::new(&mut region).fill(pool, 3_u8)?;
    assert!(region.as_slice().iter().all(|&byte| byte == 3));
    assert_eq!(report.provided, if is_had() { region.len() } else { 0 });
    Ok(())
}

/// After a closure panics, pages that nobody brought are the kernel's.
fn check_panics(pool: &Pool) {
    let mut region = base(8 << 20);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        PageInit::new(&mut region)
            .fill_with(pool, |_, _: &mut [u8]| std::panic::resume_unwind(Box::new(1)))
    }));
    assert!(panicked.is_err());
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
}

#[test]
fn pages_are_the_same_however_they_come() -> Result {
    let loud = Arc::new(AtomicUsize::new(0));
    let writer = Arc::clone(&loud);
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO);
    let subscriber = subscriber.with_writer(move || Loud(Arc::clone(&writer))).finish();
    tracing::subscriber::set_global_default(subscriber)?;

    let pool = Pool::new()?;
    if !is_had() {
        skipped("provided pages", &"the kernel, or a filter, has no userfaultfd");
    }
    for len in [1, 5000, (1 << 20) + 5] {
        check_kind(&pool, || Some(base(len)))?;
    }
    check_kind(&pool, || huge((6 << 20) + 5))?;
    check_what_fails_underway(&pool)?;
    check_what_was_read_before(&pool)?;
    check_panics(&pool);

    // Last, as a process that is refused the call does not ask again.
    let told = loud.load(Ordering::Relaxed);
    where_refused(&[Call::any(libc::SYS_userfaultfd)], |pool| {
        let mut region = base(5 << 20);
        let report = PageInit::new(&mut region).stores(Stores::Provided).fill(pool, 7_u32)?;
        assert_eq!(report.provided, 0);
        assert!(region.as_slice_of::<u32>().iter().all(|&number| number == 7));
        Ok(())
    });
    assert_eq!(loud.load(Ordering::Relaxed), told, "a refusal is no more than a debug event");
    Ok(())
}
