//! The Java virtual machine, which can touch its heap before it starts a program.
//!
//! Its log says when the heap was ready, counted from the process's start. The
//! time of a run that does not touch the heap is taken off, so that what is
//! left is the touching, and neither the start nor the end of the process.

use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use procfs::process::Process;

use super::{Program, allow_huge_pages};
use crate::page_init::{Case, Fill, Pages};

/// Less than this is lost in the differences between two starts.
const LEAST: u64 = 64 << 20;

pub(super) struct Jvm {
    pub(super) threads: NonZeroUsize,
}

/// Returns the version of the `java` on the search path; `None` where there is none that starts.
pub(super) fn version() -> Option<String> {
    let output = Command::new("java").arg("-version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // The first line, such as: openjdk version "17.0.15" 2025-04-15
    let line = output.status.success().then(|| said.lines().find(|line| line.contains('"')))??;
    let (name, rest) = line.split_once(" version ")?;
    Some(format!("{name} {}", rest.split('"').nth(1)?))
}

/// One run of the JVM.
struct Run {
    /// From the process's start until its heap was ready.
    ready: Duration,
    /// Page faults of the whole process.
    faults: u64,
}

impl Program for Jvm {
    fn init(&mut self, case: Case) -> anyhow::Result<Option<Duration>> {
        let counterpart =
            case.fill == Fill::Zero && case.pages != Pages::Huge && case.bytes >= LEAST;
        if !counterpart {
            return Ok(None);
        }
        allow_huge_pages(case)?;
        let without = self.run(case, false)?;
        let with = self.run(case, true)?;
        let faults = with.faults.saturating_sub(without.faults);
        let base_pages = case.bytes / rustix::param::page_size() as u64;
        match case.pages {
            Pages::Base => ensure!(
                faults >= base_pages,
                "{faults} page faults are too few for {base_pages} base pages"
            ),
            _ => ensure!(
                faults < base_pages / 2,
                "{faults} page faults: most of its {base_pages} base pages are in no huge page"
            ),
        }
        Ok(Some(with.ready.saturating_sub(without.ready)))
    }
}

impl Jvm {
    fn run(&self, case: Case, touch: bool) -> anyhow::Result<Run> {
        let before = faults_of_children()?;
        let mut command = Command::new("java");
        command
            .args([format!("-Xms{}", case.bytes), format!("-Xmx{}", case.bytes)])
            .arg("-XX:+UseParallelGC")
            .arg(format!("-XX:ParallelGCThreads={}", self.threads))
            .arg(if touch { "-XX:+AlwaysPreTouch" } else { "-XX:-AlwaysPreTouch" })
            .args((case.pages == Pages::Thp).then_some("-XX:+UseTransparentHugePages"))
            .args(["-Xlog:gc+init:stdout:uptimenanos", "-version"]);
        let output = command.output().context("cannot run java")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = || format!("java ({}): {said}", output.status);
        ensure!(output.status.success(), failed());
        let asked = if touch { "Pre-touch: Enabled" } else { "Pre-touch: Disabled" };
        ensure!(said.contains(asked), "java does not say {asked:?}: {said}");
        let ready = said.lines().find_map(uptime).with_context(failed)?;
        Ok(Run { ready, faults: faults_of_children()?.saturating_sub(before) })
    }
}

/// Reads how a line of the log begins: `[300925086ns] Version: …`
fn uptime(line: &str) -> Option<Duration> {
    let (ns, _) = line.strip_prefix('[')?.split_once("ns]")?;
    ns.parse().ok().map(Duration::from_nanos)
}

/// Page faults of all children that have ended.
fn faults_of_children() -> anyhow::Result<u64> {
    Ok(Process::myself()?.stat()?.cminflt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_begins_with_the_time() {
        let time = uptime("[300925086ns] Version: 17.0.15+6 (release)");
        assert_eq!(time, Some(Duration::from_nanos(300_925_086)));
        assert_eq!(uptime("openjdk version"), None);
    }
}
