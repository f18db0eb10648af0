//! Where calls are refused: the NUMA ones, as container engines do, everything else works.

mod common;

use std::io;
use std::thread;

use common::skipped;
use firsttouch_memory::{AddressRange, MemoryError, Policy, Region, ThreadPolicy};
use firsttouch_topology::NodeId;

const NUMA_CALLS: [libc::c_long; 4] =
    [libc::SYS_mbind, libc::SYS_get_mempolicy, libc::SYS_set_mempolicy, libc::SYS_move_pages];

/// Has the kernel answer some calls of the calling thread with an errno from now on.
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
    rustix::thread::set_no_new_privs(true)?;
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

fn regions_work_without_numa_calls(errno: i32) -> Result<(), MemoryError> {
    if let Err(error) = refuse(&NUMA_CALLS, errno) {
        skipped("refused NUMA calls", &error);
        return Ok(());
    }
    let mut region = Region::builder(1 << 20).build()?;
    let len = region.len();
    let node = Policy::Preferred(NodeId::new(0));
    for (call, answer) in [
        ("mbind", region.set_policy(0..len, &Policy::Local)),
        ("mbind", region.set_policy(0..len, &node)),
        ("get_mempolicy", region.policy_at(0).map(drop)),
        ("move_pages", region.residency(0..len).map(drop)),
        ("get_mempolicy", ThreadPolicy::current().map(drop)),
        ("get_mempolicy", ThreadPolicy::set(&node).map(drop)),
        ("mbind", Region::builder(1).policy(node.clone()).build().map(drop)),
    ] {
        let Err(MemoryError::Refused { call: named, source }) = answer else {
            panic!("{call} answers {answer:?}");
        };
        assert_eq!((named, source.raw_os_error()), (call, Some(errno)));
    }
    region.populate(0..len)?;
    let refused = region.residency(0..len).expect_err("the pages that are there are asked about");
    assert!(refused.is_refused(), "{refused}");
    region.as_mut_slice()[5] = 5;
    region.discard(0..len)?;
    assert_eq!(region.as_slice()[5], 0);
    Ok(())
}

#[test]
fn refused_calls_are_told_and_regions_still_work() -> Result<(), MemoryError> {
    for errno in [libc::EPERM, libc::ENOSYS] {
        // A filter is its thread's, and goes with it.
        let checked = thread::spawn(move || regions_work_without_numa_calls(errno));
        checked.join().expect("the thread's assertions hold")?;
    }
    Ok(())
}

fn memory_is_neither_locked_nor_moved(errno: i32) -> Result<(), MemoryError> {
    if let Err(error) = refuse(&[libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_move_pages], errno)
    {
        skipped("refused locks and moves", &error);
        return Ok(());
    }
    let mut region = Region::builder(1 << 20).build()?;
    let len = region.len();
    let every = std::num::NonZeroUsize::MIN;
    let asked = AddressRange::of(region.as_slice()).node_runs(every).map(drop);
    for (call, answer) in [
        ("mlock2", region.lock()),
        ("munlock", region.unlock()),
        ("move_pages", region.migrate(0..len, NodeId::new(0)).map(drop)),
        ("move_pages", region.migrate(0..0, NodeId::new(0)).map(drop)),
        ("move_pages", asked),
        ("move_pages", AddressRange::of::<u8>(&[]).node_runs(every).map(drop)),
    ] {
        let Err(MemoryError::Refused { call: named, source }) = answer else {
            panic!("{call} answers {answer:?}");
        };
        assert_eq!((named, source.raw_os_error()), (call, Some(errno)));
    }
    assert!(region.is_fresh());
    Ok(())
}

#[test]
fn refused_locks_and_moves_are_told() -> Result<(), MemoryError> {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let checked = thread::spawn(move || memory_is_neither_locked_nor_moved(errno));
        checked.join().expect("the thread's assertions hold")?;
    }
    Ok(())
}

/// Returns whether the kernel uses transparent huge pages where nothing advises it to.
fn huge_pages_come_unasked() -> bool {
    let folder = std::path::Path::new("/sys/kernel/mm/transparent_hugepage");
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let bytes: usize = text("hpage_pmd_size").trim().parse().unwrap_or(0);
    let own = text(&format!("hugepages-{}kB/enabled", bytes >> 10));
    own.contains("[always]")
        || (own.is_empty() || own.contains("[inherit]")) && text("enabled").contains("[always]")
}

fn base_pages_where_advice_is_refused(errno: i32) -> Result<(), MemoryError> {
    if let Err(error) = refuse(&[libc::SYS_madvise], errno) {
        skipped("refused advice", &error);
        return Ok(());
    }
    match Region::builder(1).build() {
        Err(error) if huge_pages_come_unasked() && errno == libc::EAGAIN => {
            let named = matches!(error, MemoryError::Call { call: "madvise(MADV_NOHUGEPAGE)", .. });
            assert!(named && error.to_string().contains("vm.max_map_count"), "{error}");
        }
        Err(error) if huge_pages_come_unasked() => assert!(error.is_refused(), "{error}"),
        built => {
            assert!(
                !huge_pages_come_unasked(),
                "its pages may be huge, and it says that they are not"
            );
            let mut region = built?;
            region.as_mut_slice()[0] = 1;
            assert_eq!(region.as_slice(), [1]);
        }
    }
    Ok(())
}

#[test]
fn a_region_of_base_pages_is_one_or_an_error() -> Result<(), MemoryError> {
    for errno in [libc::EAGAIN, libc::EPERM] {
        let checked = thread::spawn(move || base_pages_where_advice_is_refused(errno));
        checked.join().expect("the thread's assertions hold")?;
    }
    Ok(())
}
