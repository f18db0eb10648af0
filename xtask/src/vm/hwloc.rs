//! hwloc for the guest, which tells what another reader sees of the machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use firsttouch_guest::protocol::{HWLOC_PATH, LOADER, LSTOPO};

use super::command;
use super::debian::Suite;
use super::initramfs::Initramfs;

/// Adds hwloc's lstopo and the libraries it needs, the C library and its loader included.
pub(crate) fn add(archive: &mut Initramfs, suite: &Suite) -> anyhow::Result<()> {
    let folder = suite.unpack_with_dependencies("hwloc-nox")?;
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let (loader, program) = (libraries.join(LOADER), folder.join("usr/bin").join(LSTOPO));
    let mut list = Command::new(&loader);
    list.arg("--library-path").arg(&libraries).arg("--list").arg(&program);
    let needed = command::output(&mut list)?;
    archive.folder(HWLOC_PATH);
    add_file(archive, &loader)?;
    add_file(archive, &program)?;
    for line in needed.lines() {
        // `name => path (address)`; what has no path is the kernel's.
        let path = line.split_once("=> ").and_then(|(_, path)| path.rsplit_once(" ("));
        let Some((path, _)) = path else { continue };
        let path = Path::new(path);
        if path.file_name() != loader.file_name() {
            add_file(archive, path)?;
        }
    }
    Ok(())
}

/// Adds the file that a path leads to under the path's own last name.
fn add_file(archive: &mut Initramfs, path: &Path) -> anyhow::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    archive.file(&format!("{HWLOC_PATH}/{name}"), 0o755, &content);
    Ok(())
}
