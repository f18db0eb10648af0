//! Which ways to initialise pages there are, what each does, and how to start one.

use std::num::NonZeroUsize;

use anyhow::{Context, bail};

use super::firsttouch::Firsttouch;
use super::jvm::{self, Jvm};
use super::pthreads::{self, Pthreads};
use super::qemu::{self, Qemu};
use super::serial::Serial;
use super::way::Used;
use super::{Rival, Way};
use crate::runtime::{self, Known};
use crate::target::OURS;

/// The name of the rows of one thread that writes through fresh memory.
pub const SERIAL: &str = "serial";

/// The name of the rows that say what the machine itself can do.
pub const MACHINE: &str = "machine";

const PTHREADS: &str = "pthreads";
const JVM: &str = "jvm";
const QEMU: &str = "qemu";

/// Ways that are a runtime and how it is used: name, runtime, way, and what that does.
const USED: [(&str, &str, Way, &str); 7] = [
    ("rayon-fill", "rayon", Way::FillPieces, "par_iter over pieces of 8 MiB, each filled"),
    (
        "rayon-populate",
        "rayon",
        Way::Populate,
        "par_iter over pieces of 8 MiB: MADV_POPULATE_WRITE",
    ),
    ("fork_union-touch", "fork_union", Way::Touch, "for_n over pages, a byte of each written"),
    (
        "fork_union-populate",
        "fork_union",
        Way::Populate,
        "for_n over pieces of 8 MiB: MADV_POPULATE_WRITE",
    ),
    ("gomp-touch", "gomp", Way::Touch, "omp parallel for over pages, a byte of each written"),
    ("gomp-fill", "gomp", Way::FillShares, "omp parallel, each thread fills an even share"),
    ("onetbb-touch", "onetbb", Way::Touch, "parallel_for over pages, a byte of each written"),
];

/// Ways that need neither a library nor a program: they are in every build.
pub const GIVEN: [&str; 4] = [OURS, SERIAL, "rayon-fill", "rayon-populate"];

/// Returns every way: ours first, then the rivals, then the machine's own limits.
#[must_use]
pub fn catalogue() -> Vec<Known> {
    let known = |name: &str, version: Option<String>, needs: Option<&str>, does: &str| Known {
        name: name.to_owned(),
        version,
        needs: needs.map(str::to_owned),
        does: Some(does.to_owned()),
    };
    let compiler = || Some(env!("FIRSTTOUCH_RUSTC_VERSION").to_owned());
    let ours = Some(env!("CARGO_PKG_VERSION").to_owned());
    let mut all = vec![
        known(OURS, ours, None, "PageInit with its default settings: zero, or fill"),
        known(SERIAL, compiler(), None, "one thread, memset"),
        known(
            PTHREADS,
            Some("glibc and cc of this machine".to_owned()),
            pthreads::NEEDS,
            "by hand in C: threads started for the call take pieces of 8 MiB: MADV_POPULATE_WRITE",
        ),
    ];
    let runtimes = runtime::catalogue();
    all.extend(USED.iter().filter_map(|(name, runtime, _, does)| {
        let runtime = runtimes.iter().find(|known| known.name == *runtime)?;
        Some(known(name, runtime.version.clone(), runtime.needs.as_deref(), does))
    }));
    for (name, version, needs, does) in [
        (
            JVM,
            jvm::version(),
            "java on the search path (Debian: default-jre-headless)",
            "a process with -XX:+AlwaysPreTouch until its heap is ready, less one without",
        ),
        (
            QEMU,
            qemu::version(),
            "QEMU on the search path (Debian: qemu-system-x86)",
            "a process told to add a memory-backend with prealloc=on, until it has",
        ),
    ] {
        let needs = version.is_none().then_some(needs);
        all.push(known(name, version, needs, does));
    }
    all.push(known(MACHINE, compiler(), None, "one pinned thread per CPU: the limits"));
    all
}

/// Starts a way with so many threads, the caller included.
///
/// # Errors
///
/// Where there is no such way in this build, or it refuses to start.
pub(crate) fn start(name: &str, threads: NonZeroUsize) -> anyhow::Result<Rival> {
    Ok(match name {
        OURS => Rival::Here(Box::new(Firsttouch::start(threads)?)),
        SERIAL => Rival::Here(Box::new(Serial)),
        PTHREADS => Rival::Here(Box::new(Pthreads { threads })),
        JVM => Rival::Program(Box::new(Jvm { threads })),
        QEMU => Rival::Program(Box::new(Qemu { threads })),
        name => {
            let used = USED.iter().find(|(known, ..)| *known == name);
            let Some(&(_, runtime, way, _)) = used else {
                bail!("there is no way {name:?} to initialise pages")
            };
            let runtime = runtime::start(runtime, threads).with_context(|| name.to_owned())?;
            Rival::Here(Box::new(Used { runtime, way, threads }))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_this_build_starts_but_for_the_machine_which_is_none() {
        for known in catalogue().iter().filter(|known| known.needs.is_none()) {
            let started = start(&known.name, NonZeroUsize::MIN).is_ok();
            assert_eq!(started, known.name != MACHINE, "{known:?}");
        }
        assert!(start("slow", NonZeroUsize::MIN).is_err());
    }

    #[test]
    fn what_needs_nothing_is_in_every_build() {
        for name in GIVEN {
            let known = catalogue().into_iter().find(|known| known.name == name);
            assert!(known.is_some_and(|known| known.needs.is_none()), "{name}");
        }
    }

    #[test]
    fn every_runtime_that_is_used_is_known() {
        let names: Vec<_> = catalogue().into_iter().map(|known| known.name).collect();
        assert!(USED.iter().all(|(name, ..)| names.contains(&(*name).to_owned())), "{names:?}");
    }
}
