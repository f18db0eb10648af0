//! Measures how fresh memory is best written: what `PageInit` does by default rests on it.
//!
//! Ways are interleaved, and memory is made warm before each measurement by
//! populating and freeing as much, as hypervisors give pages back slowly.
//! Rates are medians in GiB/s, with the least and the most; and in GiB for each
//! second of a CPU, which others on the machine disturb less.
//!
//! ```sh
//! cargo run --release -p firsttouch-job --example init_stores -- base 1024 5
//! ```
//!
//! Arguments: `base`, `transparent` or `huge`; MiB; repetitions; threads; and
//! words that the names of the ways must have one of. Pages that cannot be
//! provided are cleared in the ways called so: of transparent huge pages, and
//! where a filter refuses `userfaultfd`.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use firsttouch_job::{PageInit, Stores};
use firsttouch_memory::{HugePageSize, PageSize, Part, Region, streaming};
use firsttouch_pool::Pool;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MIB: usize = 1 << 20;
/// What threads take at a time in the ways that are written out here.
const CHUNK: usize = 16 * MIB;
const VALUE: u64 = 0x0123_4567_89AB_CDEF;

/// One way to initialise a region.
enum Way {
    /// One call, by the caller alone.
    Serial,
    /// Populates by pieces of so many bytes, with nothing else.
    Populate(usize),
    /// Writes to memory that has no pages yet.
    Plain,
    /// Populates a piece, then writes it; `true` past the caches.
    Pieces(usize, bool),
    /// `PageInit::zero`.
    Zero(Stores),
    /// `PageInit::fill`.
    Fill(Stores),
    /// `PageInit::copy_from`, of as many bytes that are there.
    Copy(Stores),
    /// Copies plainly to memory that has no pages yet.
    PlainCopy,
}

fn ways() -> Vec<(String, Way)> {
    let mut ways = vec![
        ("zero: serial".to_owned(), Way::Serial),
        ("zero: populate by 2 MiB".to_owned(), Way::Populate(2 * MIB)),
        ("zero: populate by 16 MiB".to_owned(), Way::Populate(CHUNK)),
        // Any stores but provided ones leave zeros to the kernel's clearing.
        ("zero: cleared".to_owned(), Way::Zero(Stores::Cached)),
        ("zero: provided".to_owned(), Way::Zero(Stores::Provided)),
        ("fill: plain stores".to_owned(), Way::Plain),
    ];
    for kib in [64, 256, 512, 1024, 2048, 16384] {
        ways.push((format!("fill: {kib} KiB, cached"), Way::Pieces(kib << 10, false)));
        ways.push((format!("fill: {kib} KiB, streaming"), Way::Pieces(kib << 10, true)));
    }
    ways.push(("fill: provided".to_owned(), Way::Fill(Stores::Provided)));
    for stores in [Stores::Auto, Stores::Cached, Stores::Streaming] {
        ways.push((format!("fill: PageInit {stores:?}"), Way::Fill(stores)));
    }
    ways.push(("copy: plain stores".to_owned(), Way::PlainCopy));
    ways.push(("copy: provided".to_owned(), Way::Copy(Stores::Provided)));
    for stores in [Stores::Auto, Stores::Cached, Stores::Streaming] {
        ways.push((format!("copy: PageInit {stores:?}"), Way::Copy(stores)));
    }
    ways
}

/// Has threads take chunks of the region, and call `f` with each.
fn by_threads(region: &mut Region, threads: usize, f: impl Fn(&mut Part<'_>) + Sync) {
    let (len, parts, next) = (region.len(), region.parts(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let start = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if start >= len {
                        break;
                    }
                    // SAFETY: [disjoint] each chunk is taken once.
                    let mut part = unsafe { parts.part(start..len.min(start + CHUNK)) };
                    f(&mut part);
                }
            });
        }
    });
}

/// Populates and writes a region by pieces.
fn by_pieces(region: &mut Region, threads: usize, piece: usize, write: impl Fn(&mut [u64]) + Sync) {
    let (len, parts, next) = (region.len(), region.parts(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let start = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if start >= len {
                        break;
                    }
                    let end = len.min(start + CHUNK);
                    for start in (start..end).step_by(piece) {
                        // SAFETY: [disjoint] each chunk is taken once, and cut.
                        let mut part = unsafe { parts.part(start..end.min(start + piece)) };
                        part.populate().expect("there is memory");
                        write(part.as_mut_slice_of());
                    }
                }
            });
        }
    });
}

fn measure(
    way: &Way,
    region: &mut Region,
    pool: &Pool,
    threads: NonZeroUsize,
    source: &[u64],
) -> Result<[f64; 2]> {
    let (started, cpu_before) = (Instant::now(), cpu_seconds()?);
    let init = |region| PageInit::new(region).max_threads(threads).read_back(false);
    let many = threads.get();
    match *way {
        Way::Serial => region.populate(0..region.len())?,
        Way::Populate(piece) => by_pieces(region, many, piece, |_| ()),
        Way::Plain => by_threads(region, many, |part| part.as_mut_slice_of().fill(VALUE)),
        Way::Pieces(piece, true) => {
            by_pieces(region, many, piece, |words| streaming::fill(words, VALUE));
        }
        Way::Pieces(piece, false) => by_pieces(region, many, piece, |words| words.fill(VALUE)),
        Way::Zero(stores) => drop(init(region).stores(stores).zero(pool)?),
        Way::Fill(stores) => drop(init(region).stores(stores).fill(pool, VALUE)?),
        Way::Copy(stores) => drop(init(region).stores(stores).copy_from(pool, source)?),
        Way::PlainCopy => by_threads(region, many, |part| {
            let first = part.range().start / size_of::<u64>();
            let to = part.as_mut_slice_of::<u64>();
            to.copy_from_slice(&source[first..first + to.len()]);
        }),
    }
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu_before);
    let gibibytes = region.len() as f64 / (1 << 30) as f64;
    Ok([gibibytes / elapsed, gibibytes / cpu])
}

/// The CPU time that the process has used.
fn cpu_seconds() -> Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the time, which is there.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    if answer != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).map_or(Ok(default), |argument| argument.parse::<usize>())
    };
    let page_size = match arguments.first().map(String::as_str) {
        Some("transparent") => PageSize::Transparent,
        Some("huge") => PageSize::Huge(HugePageSize::MIB_2),
        _ => PageSize::Base,
    };
    let (len, repetitions) = (number(1, 256)? * MIB, number(2, 5)?);
    let pool = Pool::new()?;
    let threads = NonZeroUsize::new(number(3, 2)?).ok_or("0 threads do nothing")?;
    let words = arguments.get(4..).unwrap_or_default();
    let mut ways = ways();
    ways.retain(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word)));
    let copies = ways.iter().any(|(_, way)| matches!(way, Way::Copy(_) | Way::PlainCopy));
    let source = vec![VALUE; if copies { len / size_of::<u64>() } else { 0 }];
    let mut rates = vec![Vec::new(); ways.len()];
    for _ in 0..repetitions {
        for ((_, way), rates) in ways.iter().zip(&mut rates) {
            let builder = Region::builder(len).page_size(page_size);
            let mut warm = builder.clone().build()?;
            PageInit::new(&mut warm).read_back(false).zero(&pool)?;
            drop(warm);
            rates.push(measure(way, &mut builder.build()?, &pool, threads, &source)?);
        }
    }
    println!("{page_size}, {} MiB, {threads} threads, {repetitions} repetitions", len / MIB);
    for ((name, _), rates) in ways.iter().zip(&mut rates) {
        let [wall, cpu] = [0, 1].map(|kind| {
            rates.sort_by(|one, other| one[kind].total_cmp(&other[kind]));
            let at = |index: usize| rates[index][kind];
            let (least, middle, most) = (at(0), at(rates.len() / 2), at(rates.len() - 1));
            format!("{middle:6.2} ({least:5.2} to {most:5.2})")
        });
        println!("{name:32} {wall}   {cpu} per CPU");
    }
    Ok(())
}
