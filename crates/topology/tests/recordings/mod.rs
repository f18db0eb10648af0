//! Finding and unpacking recorded machines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bzip2::read::MultiBzDecoder;
use serde_json::Value;
use tempfile::TempDir;

/// The folder of recorded machines.
pub(crate) struct Recordings {
    folder: PathBuf,
}

/// One machine's tree in a temporary folder.
pub(crate) struct Unpacked {
    folder: TempDir,
    name: String,
}

impl Unpacked {
    /// Returns the folder that stands for `/`.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }
}

impl Recordings {
    /// Finds the recordings; where there are none, says aloud that the test is skipped.
    pub(crate) fn find() -> Option<Self> {
        let folder = match std::env::var_os("FIRSTTOUCH_TOPOLOGIES") {
            Some(folder) => PathBuf::from(folder),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/topologies"),
        };
        if folder.join("expected.json").is_file() {
            return Some(Self { folder });
        }
        say(&format!(
            "SKIPPED: there are no recorded machines in {}; set FIRSTTOUCH_TOPOLOGIES to their folder",
            folder.display()
        ));
        None
    }

    /// Reads what hwloc found on each machine.
    pub(crate) fn expected(&self) -> BTreeMap<String, Value> {
        let text = std::fs::read_to_string(self.folder.join("expected.json"))
            .expect("expected.json can be read");
        serde_json::from_str(&text).expect("expected.json is an object of machines")
    }

    /// Unpacks one machine.
    pub(crate) fn unpack(&self, name: &str) -> Unpacked {
        let folder = temporary_folder();
        let path = self.folder.join(format!("{name}.tar.bz2"));
        let file = File::open(&path).expect("every machine of expected.json has its archive");
        let mut archive = tar::Archive::new(MultiBzDecoder::new(file));
        // Entry by entry, as unpacking at once resolves every path anew, which takes longer than all else.
        for entry in archive.entries().expect("the archive can be read") {
            let mut entry = entry.expect("the archive is whole");
            let path = folder.path().join(entry.path().expect("names are plain"));
            let parent = path.parent().expect("the entry lies in a folder");
            std::fs::create_dir_all(parent).expect("a folder can be made");
            entry.unpack(&path).expect("entries are plain files, folders and links");
        }
        Unpacked { folder, name: name.to_owned() }
    }
}

/// Makes a temporary folder, in memory where that can be had: these trees have thousands of files.
pub(crate) fn temporary_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary folder can be made")
}

/// Writes a line to standard error itself, which the test harness does not capture.
pub(crate) fn say(line: &str) {
    let written = writeln!(std::io::stderr(), "{line}");
    written.expect("standard error can be written");
}
