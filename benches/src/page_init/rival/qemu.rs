//! QEMU, which can touch a guest's memory before the guest runs.
//!
//! The process is started without any memory, and told over its control
//! protocol to add some; the time is that of this one command.

use std::io::{BufRead, BufReader, Lines, Write};
use std::num::NonZeroUsize;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use procfs::process::Process;
use serde_json::{Value, json};

use super::{Program, allow_huge_pages};
use crate::page_init::{Case, Fill, Pages};

/// The emulator of this machine's own architecture, by Debian's name.
const PROGRAM: &str = match std::env::consts::ARCH.as_bytes() {
    b"aarch64" => "qemu-system-aarch64",
    _ => "qemu-system-x86_64",
};

pub(super) struct Qemu {
    pub(super) threads: NonZeroUsize,
}

/// Returns the version of the QEMU on the search path; `None` where there is none that starts.
pub(super) fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // The first line, such as: QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)
    let version = said.lines().next()?.split_once(" version ")?.1;
    output.status.success().then(|| version.split(' ').next().unwrap_or(version).to_owned())
}

impl Program for Qemu {
    fn init(&mut self, case: Case) -> anyhow::Result<Option<Duration>> {
        if case.fill != Fill::Zero {
            return Ok(None);
        }
        allow_huge_pages(case)?;
        let mut control = Control::start()?;
        let mut memory = json!({
            "qom-type": "memory-backend-ram", "id": "memory", "size": case.bytes,
            "prealloc": true, "prealloc-threads": self.threads,
        });
        if case.pages == Pages::Huge {
            memory["qom-type"] = "memory-backend-memfd".into();
            memory["hugetlb"] = true.into();
        }
        let start = Instant::now();
        control.ask("object-add", memory)?;
        let elapsed = start.elapsed();
        control.check(case)?;
        control.ask("quit", json!({}))?;
        Ok(Some(elapsed))
    }
}

/// A QEMU that waits for commands; it is ended when this is dropped.
struct Control {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Control {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(PROGRAM)
            .args(["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot run {PROGRAM}"))?;
        let commands = child.stdin.take().context("its input is a pipe")?;
        let answers = child.stdout.take().context("its output is a pipe")?;
        let mut control = Self { child, commands, answers: BufReader::new(answers).lines() };
        let greeting = control.read()?;
        ensure!(greeting.get("QMP").is_some(), "QEMU greets with {greeting}");
        control.ask("qmp_capabilities", json!({}))?;
        Ok(control)
    }

    fn ask(&mut self, command: &str, arguments: Value) -> anyhow::Result<()> {
        writeln!(self.commands, "{}", json!({"execute": command, "arguments": arguments}))?;
        loop {
            let answer = self.read()?;
            if answer.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
        }
    }

    fn read(&mut self) -> anyhow::Result<Value> {
        let line = self.answers.next().context("QEMU ended without an answer")??;
        serde_json::from_str(&line).with_context(|| format!("QEMU says {line:?}"))
    }

    /// Makes sure that the process has as much memory as was asked for, in the pages asked for.
    fn check(&self, case: Case) -> anyhow::Result<()> {
        let process = Process::new(self.child.id().try_into()?)?;
        let rollup = process.smaps_rollup()?;
        let map = rollup.memory_map_rollup.iter().next().context("it has mappings")?;
        let bytes = |name: &str| map.extension.map.get(name).copied().unwrap_or(0);
        let (resident, huge) = (bytes("Rss"), bytes("AnonHugePages"));
        let hugetlb = bytes("Private_Hugetlb") + bytes("Shared_Hugetlb");
        match case.pages {
            Pages::Base => ensure!(
                resident >= case.bytes && huge == 0,
                "of {} bytes {resident} are resident, and {huge} in huge pages",
                case.bytes
            ),
            Pages::Thp => ensure!(
                resident >= case.bytes && huge >= case.bytes / 2,
                "of {} bytes {resident} are resident, and only {huge} in huge pages",
                case.bytes
            ),
            Pages::Huge => ensure!(
                hugetlb >= case.bytes,
                "of {} bytes only {hugetlb} are hugetlb pages",
                case.bytes
            ),
        }
        Ok(())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It may have ended by itself, when it was told to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
