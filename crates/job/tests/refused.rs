//! Operations on memory where single calls are refused, as container engines do.

mod common;

use common::where_refused;
use firsttouch_job::{
    JobError, Locality, PageMigration, PagePin, PageRelease, Placement, Replicate,
};
use firsttouch_memory::Region;
use firsttouch_testing::Call;

fn full(len: usize) -> Region {
    let mut region = Region::builder(len).build().expect("memory for a test");
    region.as_mut_slice().fill(1);
    region
}

#[test]
fn pinning_without_locks_is_an_error_that_touches_nothing() {
    where_refused(&[Call::any(libc::SYS_mlock2)], |pool| {
        let mut region = Region::builder(4 << 20).build()?;
        let error = PagePin::new(&mut region).run(pool).expect_err("mlock2 is refused");
        assert!(matches!(error, JobError::Lock(_)) && error.is_refused(), "{error}");
        assert!(region.is_fresh());
        Ok(())
    });
}

#[test]
fn migration_without_moves_is_an_error_and_contents_stay() {
    where_refused(&[Call::any(libc::SYS_move_pages)], |pool| {
        let mut region = full(4 << 20);
        let placement = Placement::Interleaved { block: 64 << 10 };
        let migration = PageMigration::new(&mut region).placement(placement);
        let error = migration.run(pool).expect_err("move_pages is refused");
        assert!(error.is_refused());
        let JobError::Migrate { pages, .. } = error else { panic!("{error}") };
        assert_eq!((pages.total(), pages.unsettled()), ((4 << 20) / 4096, (4 << 20) / 4096));
        assert!(pages.failed > 0, "{pages:?}");
        assert!(region.as_slice().iter().all(|&byte| byte == 1));
        Ok(())
    });
}

/// The last call of a migration by one thread is refused, as it has fewer addresses than the others.
#[test]
fn every_page_is_counted_once_where_a_call_is_refused_midway() {
    const REST: usize = 100;
    const CALLS: &[Call] = &[Call::with(libc::SYS_move_pages, 1, REST as u32)];
    where_refused(CALLS, |pool| {
        if pool.topology().allowed().nodes().len() != 1 {
            return Ok(());
        }
        let page = Region::builder(1).build()?.page_bytes();
        let mut region = Region::builder((3 * (16 << 10) + REST) * page).build()?;
        region.as_mut_slice()[..5 * page].fill(1);
        let (len, all) = (region.len(), (region.len() / page) as u64);
        let migration = PageMigration::new(&mut region).min_chunk(len);
        let error = migration.run(pool).expect_err("the last call is refused");
        assert!(error.is_refused());
        let JobError::Migrate { pages, .. } = error else { panic!("{error}") };
        assert_eq!((pages.already, pages.failed, pages.not_tried), (5, REST as u64, 0));
        assert_eq!((pages.absent, pages.total()), (all - 5 - REST as u64, all));
        Ok(())
    });
}

#[test]
fn locality_without_answers_is_an_error() {
    where_refused(&[Call::any(libc::SYS_move_pages)], |pool| {
        let error = Locality::of(pool, &[1_u8; 5000]).expect_err("move_pages is refused");
        assert!(matches!(error, JobError::Locate(_)) && error.is_refused(), "{error}");
        Ok(())
    });
}

#[test]
fn replicas_without_numa_calls_are_copies_all_the_same() {
    const CALLS: &[Call] = &[
        Call::any(libc::SYS_mbind),
        Call::any(libc::SYS_get_mempolicy),
        Call::any(libc::SYS_set_mempolicy),
        Call::any(libc::SYS_move_pages),
    ];
    where_refused(CALLS, |pool| {
        let source = vec![7_u16; 1 << 20];
        let replicas = Replicate::new(&source).run(pool)?;
        assert!(replicas.nodes().all(|node| replicas.on(node) == Some(&source)));
        assert!(replicas.report().replicas.iter().all(|copy| copy.is_placed().is_none()));
        Ok(())
    });
}

#[test]
fn release_without_numa_calls_or_advice_still_unmaps() {
    where_refused(&[Call::any(libc::SYS_move_pages)], |pool| {
        assert_eq!(PageRelease::new(full(20 << 20)).run(pool).kept, 0);
        Ok(())
    });
    let region = || std::sync::Mutex::new(Some(full(20 << 20)));
    let (first, second) = (region(), region());
    where_refused(&[Call::any(libc::SYS_madvise)], |pool| {
        let taken = [&first, &second].into_iter().find_map(|region| region.lock().ok()?.take());
        let region = taken.ok_or("one for each errno")?;
        assert_eq!(PageRelease::new(region).run(pool).kept, 20 << 20);
        Ok(())
    });
}
