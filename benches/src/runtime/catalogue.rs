//! Which runtimes there are, and how to start one.

use std::num::NonZeroUsize;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{Runtime, chili, firsttouch, foreign, rayon, serial, std_threads};

/// A runtime that the benchmarks know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// What options and records call it; a crate's own name for a crate.
    pub name: String,
    /// Its version; `None` for a crate, whose version only the build knows.
    pub version: Option<String>,
    /// What a build must have to include it; `None` where it is included.
    pub needs: Option<String>,
    /// What exactly it does, where its name does not say it all.
    pub does: Option<String>,
}

impl Known {
    /// Returns the name of the crate that it would come from: the name up to a hyphen.
    #[must_use]
    pub fn crate_name(&self) -> &str {
        self.name.split('-').next().unwrap_or(&self.name)
    }

    fn of_crate(name: &str) -> Self {
        Self { name: name.to_owned(), version: None, needs: None, does: None }
    }

    fn with_version(name: &str, version: &str) -> Self {
        Self { version: Some(version.to_owned()), ..Self::of_crate(name) }
    }

    fn foreign(library: &foreign::Library) -> Self {
        let version = library.version();
        let needs = version.is_none().then(|| library.needs.to_owned());
        Self { name: library.name.to_owned(), version, needs, does: None }
    }
}

/// Returns every runtime: ours first, then the rivals, then the loop without threads.
#[must_use]
pub fn catalogue() -> Vec<Known> {
    let compiler = env!("FIRSTTOUCH_RUSTC_VERSION");
    let fork_union_needs =
        (!cfg!(feature = "fork-union")).then(|| "a C++17 compiler (Debian: g++)".to_owned());
    vec![
        Known::with_version("firsttouch", env!("CARGO_PKG_VERSION")),
        Known::of_crate("rayon"),
        Known { needs: fork_union_needs, ..Known::of_crate("fork_union") },
        Known::of_crate("chili"),
        Known::foreign(&foreign::ONETBB),
        Known::foreign(&foreign::GOMP),
        Known::with_version("std", compiler),
        Known::with_version("serial", compiler),
    ]
}

/// Starts a runtime with so many threads.
///
/// # Errors
///
/// Where there is no such runtime in this build, or it refuses to start.
pub fn start(name: &str, threads: NonZeroUsize) -> anyhow::Result<Box<dyn Runtime>> {
    Ok(match name {
        "firsttouch" => Box::new(firsttouch::Firsttouch::start(threads)?),
        "rayon" => Box::new(rayon::Rayon::start(threads)?),
        #[cfg(feature = "fork-union")]
        "fork_union" => Box::new(super::fork_union::ForkUnion::start(threads)?),
        "chili" => Box::new(chili::Chili::start(threads)),
        "onetbb" => Box::new(foreign::ONETBB.start(threads)?),
        "gomp" => Box::new(foreign::GOMP.start(threads)?),
        "std" => Box::new(std_threads::StdThreads::start(threads)),
        "serial" => Box::new(serial::Serial),
        _ => {
            let known = catalogue().into_iter().find(|known| known.name == name);
            let known = known.with_context(|| format!("there is no runtime {name:?}"))?;
            bail!("{name} is not in this build: it needs {}", known.needs.unwrap_or_default())
        }
    })
}
