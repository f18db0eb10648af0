//! The archive a guest's files come from (cpio, `newc` format).

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FILE: u32 = 0o100_000;

/// An archive that grows in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// Adds an empty folder; those above it must be there already.
    pub(crate) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, &[]);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, FILE | permissions, content);
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &[u8]) {
        self.entry(path, LINK, to);
    }

    /// Adds a file, link or folder of this machine, with all that is in it.
    pub(crate) fn copy(&mut self, from: &Path, path: &str) -> anyhow::Result<()> {
        let context = || format!("cannot read {}", from.display());
        let metadata = from.symlink_metadata().with_context(context)?;
        if metadata.is_symlink() {
            let to = fs::read_link(from).with_context(context)?;
            self.link(path, to.as_os_str().as_bytes());
        } else if metadata.is_dir() {
            self.folder(path);
            for entry in from.read_dir().with_context(context)? {
                let entry = entry.with_context(context)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                self.copy(&entry.path(), &format!("{path}/{name}"))?;
            }
        } else {
            let content = fs::read(from).with_context(context)?;
            self.file(path, metadata.permissions().mode() & 0o777, &content);
        }
        Ok(())
    }

    /// Ends the archive and returns it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let path = path.trim_start_matches('/');
        let links = if mode == FOLDER { 2 } else { 1 };
        let size = u32::try_from(content.len()).unwrap_or_else(|_| {
            panic!("{path} is larger than a cpio archive can hold: keep it out of the guest")
        });
        let name_size = path.len() as u32 + 1;
        // Number, mode, owner, group, links, time, size, device twice two, name's size, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Everything in the format starts at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_aligned_and_ends_with_its_trailer() {
        let mut archive = Initramfs::default();
        archive.folder("proc");
        archive.file("/init", 0o755, b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("070701"));
        assert!(text.contains("init\0\0hello\0\0\0"), "{text:?}");
        assert!(text.contains("TRAILER!!!\0"));
    }
}
