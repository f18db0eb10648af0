//! Measures pinning and releasing in parallel beside what one thread does: `mlock` and `munmap`.
//!
//! Ways are interleaved. For each there are the median and the least time, and
//! the CPU time of all threads together, which others on the machine disturb
//! less: a way that takes no more CPU time than one thread's is as many times
//! as fast as it has threads, once it has that many CPUs to itself.
//!
//! ```sh
//! cargo run --release -p firsttouch-job --example operations -- base 512 9
//! ```
//!
//! Arguments: `base` or `transparent`; MiB; repetitions.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::time::Instant;

use firsttouch_job::{PageInit, PagePin, PageRelease};
use firsttouch_memory::{PageSize, Region};
use firsttouch_pool::Pool;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is measured, and beside what its ratio is taken.
const WAYS: [(&str, usize); 8] = [
    ("mlock of a fresh region", 0),
    ("PagePin", 0),
    ("PageInit, then mlock", 0),
    ("munmap", 3),
    ("PageRelease", 3),
    ("PageRelease by 2 MiB", 3),
    ("PageRelease by 32 MiB", 3),
    ("munmap of what PageInit placed", 3),
];

/// Seconds of CPU time that this process has used, on all threads.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a value of this frame.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(answer, 0, "every process has this clock");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn mlock(region: &Region) -> Result<()> {
    // SAFETY: locking changes nothing that the region holds.
    let answer = unsafe { libc::mlock(region.as_ptr().cast(), region.len()) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}

/// Runs one way, and returns the seconds that it took, and those of CPU time.
fn measure(way: usize, pool: &Pool, len: usize, page_size: PageSize) -> Result<(f64, f64)> {
    let mut region = Region::builder(len).page_size(page_size).build()?;
    match way {
        0..=2 => {}
        7 => drop(PageInit::new(&mut region).read_back(false).zero(pool)?),
        _ => region.populate(0..len)?,
    }
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let taken = |started: Instant| (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    Ok(match way {
        0 => {
            mlock(&region)?;
            taken(started)
        }
        1 => {
            let pinned = PagePin::new(&mut region).read_back(false).run(pool)?;
            let taken = taken(started);
            drop(pinned);
            taken
        }
        2 => {
            PageInit::new(&mut region).read_back(false).zero(pool)?;
            mlock(&region)?;
            taken(started)
        }
        3 | 7 => {
            drop(region);
            taken(started)
        }
        _ => {
            let release = PageRelease::new(region);
            let release = match way {
                5 => release.min_chunk(2 << 20),
                6 => release.min_chunk(32 << 20),
                _ => release,
            };
            release.run(pool);
            taken(started)
        }
    })
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let page_size = match words.next().as_deref() {
        Some("transparent") => PageSize::Transparent,
        _ => PageSize::Base,
    };
    let mib: usize = words.next().map_or(Ok(512), |word| word.parse())?;
    let repetitions: usize = words.next().map_or(Ok(9), |word| word.parse())?;
    let pool = Pool::new()?;
    let mut seconds = vec![Vec::new(); WAYS.len()];
    let mut cpu = vec![Vec::new(); WAYS.len()];
    for _ in 0..repetitions.max(1) {
        for way in 0..WAYS.len() {
            let (wall, used) = measure(way, &pool, mib << 20, page_size)?;
            seconds[way].push(wall);
            cpu[way].push(used);
        }
    }
    for values in seconds.iter_mut().chain(&mut cpu) {
        values.sort_by(f64::total_cmp);
    }
    let median = |values: &[f64]| values[values.len() / 2];
    println!("{mib} MiB of {page_size}, {} helpers", pool.helpers().len());
    println!(
        "{:32}{:>10}{:>10}{:>8}{:>8}{:>10}{:>8}",
        "", "ms", "least", "ratio", "least", "CPU ms", "ratio"
    );
    for (way, (name, beside)) in WAYS.into_iter().enumerate() {
        println!(
            "{name:32}{:10.1}{:10.1}{:8.2}{:8.2}{:10.1}{:8.2}",
            median(&seconds[way]) * 1e3,
            seconds[way][0] * 1e3,
            median(&seconds[beside]) / median(&seconds[way]),
            seconds[beside][0] / seconds[way][0],
            median(&cpu[way]) * 1e3,
            median(&cpu[beside]) / median(&cpu[way]),
        );
    }
    Ok(())
}
