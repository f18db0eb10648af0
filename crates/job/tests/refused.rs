//! Operations on memory where single calls are refused, as container engines do.

use std::error::Error;
use std::io::{self, Write as _};
use std::thread;

use firsttouch_job::{
    JobError, Locality, PageMigration, PagePin, PageRelease, Placement, Replicate,
};
use firsttouch_memory::Region;
use firsttouch_pool::Pool;

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// Has the kernel answer some calls of the calling thread, and of those it makes, with an errno from now on.
fn refuse(calls: &[libc::c_long], errno: i32) -> io::Result<()> {
    let statement =
        |code: u32, value: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: value };
    // The call's number is the first word of what a filter sees.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (index, &call) in calls.iter().enumerate() {
        // On a match, over the comparisons that are left and the permission.
        let mut compare = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32);
        compare.jt = (calls.len() - index) as u8;
        program.push(compare);
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the command sets a flag of the thread.
    let answer = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel copies the filter, which lives until the call returns.
    let answer = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER as libc::c_ulong,
            &raw const filter,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs a check on a thread, and a pool of its own, whose calls are refused.
fn where_refused(calls: &'static [libc::c_long], check: impl Fn(&Pool) -> Result + Send + Copy) {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let checked = thread::scope(|scope| {
            // A filter is its thread's, and goes with it.
            let thread = scope.spawn(move || match refuse(calls, errno) {
                Ok(()) => check(&Pool::new()?),
                Err(error) => {
                    // A lost message is no reason for a test to fail.
                    let _ = writeln!(io::stderr(), "not checked: refused calls: {error}");
                    Ok(())
                }
            });
            thread.join()
        });
        checked.expect("the thread's assertions hold").expect("it is as it should be");
    }
}

fn full(len: usize) -> Region {
    let mut region = Region::builder(len).build().expect("memory for a test");
    region.as_mut_slice().fill(1);
    region
}

#[test]
fn pinning_without_locks_is_an_error_that_touches_nothing() {
    where_refused(&[libc::SYS_mlock2], |pool| {
        let mut region = Region::builder(4 << 20).build()?;
        let error = PagePin::new(&mut region).run(pool).expect_err("mlock2 is refused");
        assert!(matches!(error, JobError::Lock(_)) && error.is_refused(), "{error}");
        assert!(region.is_fresh());
        Ok(())
    });
}

#[test]
fn migration_without_moves_is_an_error_and_contents_stay() {
    where_refused(&[libc::SYS_move_pages], |pool| {
        let mut region = full(4 << 20);
        let placement = Placement::Interleaved { block: 64 << 10 };
        let migration = PageMigration::new(&mut region).placement(placement);
        let error = migration.run(pool).expect_err("move_pages is refused");
        assert!(matches!(error, JobError::Migrate { moved: 0, .. }), "{error}");
        assert!(error.is_refused());
        assert!(region.as_slice().iter().all(|&byte| byte == 1));
        Ok(())
    });
}

#[test]
fn locality_without_answers_is_an_error() {
    where_refused(&[libc::SYS_move_pages], |pool| {
        let error = Locality::of(pool, &[1_u8; 5000]).expect_err("move_pages is refused");
        assert!(matches!(error, JobError::Locate(_)) && error.is_refused(), "{error}");
        Ok(())
    });
}

#[test]
fn replicas_without_numa_calls_are_copies_all_the_same() {
    const CALLS: &[libc::c_long] =
        &[libc::SYS_mbind, libc::SYS_get_mempolicy, libc::SYS_set_mempolicy, libc::SYS_move_pages];
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
    where_refused(&[libc::SYS_move_pages], |pool| {
        assert_eq!(PageRelease::new(full(20 << 20)).run(pool).kept, 0);
        Ok(())
    });
    let region = || std::sync::Mutex::new(Some(full(20 << 20)));
    let (first, second) = (region(), region());
    where_refused(&[libc::SYS_madvise], |pool| {
        let taken = [&first, &second].into_iter().find_map(|region| region.lock().ok()?.take());
        let region = taken.ok_or("one for each errno")?;
        assert_eq!(PageRelease::new(region).run(pool).kept, 20 << 20);
        Ok(())
    });
}
