//! The live machine, or a recorded one, from its `sys` and `proc` trees.
//!
//! Everything is read below one root, and every file's text is parsed by a
//! plain function, so that a recorded machine takes the same path as the live
//! one. Only what no file tells is asked of the kernel, and only when live:
//! the calling thread's affinity mask and the base page's size.

mod caches;
mod cgroup;
mod cpus;
mod kinds;
mod mounts;
mod nodes;
mod pages;
mod parse;
mod process;
mod reader;

use std::path::Path;

use reader::Reader;

use super::Parts;
use crate::{Source, TopologyError};

/// Reads the machine below `root`; `/` is the live one.
///
/// # Errors
///
/// [`TopologyError::NoCpus`] where nothing below the root names an online CPU.
pub(crate) fn read(root: &Path, source: Source) -> Result<Parts, TopologyError> {
    let mut reader = Reader::new(root, source == Source::Live);
    let allowed = process::allowed(&mut reader);
    let mut online = cpus::online(&mut reader);
    // A container's file system may show fewer CPUs than the kernel runs the thread on.
    let hidden = allowed.running.difference(&online);
    if !hidden.is_empty() {
        let what = format!("/sys and /proc do not show CPUs {hidden}");
        reader.note(what, "they are online, as the thread may run on them");
        online = online.union(&hidden);
    }
    if online.is_empty() {
        return Err(TopologyError::NoCpus { path: root.to_owned() });
    }
    let page_sizes = pages::page_sizes(&mut reader);
    let nodes = nodes::read(&mut reader, &online, page_sizes.base);
    let grouping = cpus::grouping(&mut reader, &online);
    Ok(Parts {
        source,
        nodes: nodes.nodes,
        distances: nodes.distances,
        cores: grouping.cores,
        packages: grouping.packages,
        core_kinds: kinds::read(&mut reader, &online),
        caches: caches::read(&mut reader, &online),
        page_sizes,
        allowed: allowed.part,
        oddities: reader.into_oddities(),
        online,
    })
}
