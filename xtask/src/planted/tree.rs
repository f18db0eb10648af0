//! A copy of the sources, in which faults are planted.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

use super::Change;

/// What of a workspace's root is built: the manifest, the versions that were resolved, the members and
/// what their documentation takes in.
const SOURCES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "README.md", "benches", "crates", "xtask"];

/// A copy of the sources.
#[derive(Debug)]
pub(crate) struct Tree {
    from: PathBuf,
    root: PathBuf,
    /// Its lock keeps others from the copy.
    _lock: File,
}

impl Tree {
    /// Takes a copy for this process alone; nothing is copied yet.
    pub(crate) fn take(from: &Path, root: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let path = root.with_extension("lock");
        let lock =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).with_context(|| {
            format!("another self-check plants its faults in {}; wait for its end", root.display())
        })?;
        Ok(Self { from: from.to_owned(), root, _lock: lock })
    }

    /// Returns the copy's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the copy equal to the sources.
    ///
    /// A file that is equal already is left alone, so that what was built of it stays fresh.
    pub(crate) fn refresh(&self) -> anyhow::Result<()> {
        let mut files = BTreeSet::new();
        for source in SOURCES {
            collect(&self.from, Path::new(source), &mut files)?;
        }
        for file in &files {
            let text = fs::read(self.from.join(file))
                .with_context(|| format!("cannot read {}", file.display()))?;
            self.write(file, &text)?;
        }
        let mut copied = BTreeSet::new();
        for source in SOURCES {
            collect(&self.root, Path::new(source), &mut copied)?;
        }
        for old in copied.difference(&files) {
            fs::remove_file(self.root.join(old))?;
        }
        Ok(())
    }

    /// Runs `f` with a change in the copy, which is equal to the sources again after.
    pub(crate) fn with<R>(
        &self,
        change: &Change<'_>,
        f: impl FnOnce(&Path) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let text = fs::read_to_string(self.from.join(change.file))
            .with_context(|| format!("cannot read {}", change.file.display()))?;
        self.write(change.file, change.apply(&text)?.as_bytes())?;
        let result = f(&self.root).with_context(|| change.name.to_owned());
        // Sources without it again, whatever came of it.
        self.refresh()?;
        result
    }

    /// Writes one file of the copy, unless it is equal.
    fn write(&self, file: &Path, text: &[u8]) -> anyhow::Result<()> {
        let path = self.root.join(file);
        if fs::read(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let cannot = || format!("cannot write {}", path.display());
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).with_context(cannot)?;
        fs::write(&path, text).with_context(cannot)
    }
}

/// Collects the files below a root, by their paths from there; what is not there has none.
fn collect(root: &Path, path: &Path, files: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    let full = root.join(path);
    if full.is_dir() {
        for entry in full.read_dir().with_context(|| format!("cannot list {}", full.display()))? {
            collect(root, &path.join(entry?.file_name()), files)?;
        }
    } else if full.exists() {
        files.insert(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_its_sources_and_leaves_equal_files_alone() -> anyhow::Result<()> {
        let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let write = |file: &str, text: &str| {
            let path = from.path().join(file);
            fs::create_dir_all(path.parent().unwrap_or(from.path()))?;
            fs::write(path, text)
        };
        write("Cargo.toml", "one")?;
        write("crates/a/src/lib.rs", "two")?;
        write("crates/a/src/old.rs", "three")?;
        write("target/junk", "four")?;
        let copy = to.path().join("tree");
        let tree = Tree::take(from.path(), copy.clone())?;
        let other = Tree::take(from.path(), copy).expect_err("it is taken");
        assert!(other.to_string().contains("another self-check"), "{other}");
        tree.refresh()?;
        assert_eq!(fs::read_to_string(tree.root().join("crates/a/src/lib.rs"))?, "two");
        assert!(!tree.root().join("target").exists());

        let written = |file: &str| tree.root().join(file).metadata()?.modified();
        let before = written("Cargo.toml")?;
        let file = Path::new("crates/a/src/lib.rs");
        let change = Change { name: "fault", file, find: "two", replace: "a fault" };
        let planted = tree.with(&change, |root| Ok(fs::read_to_string(root.join(file))?))?;
        assert_eq!(planted, "a fault");
        fs::remove_file(from.path().join("crates/a/src/old.rs"))?;
        tree.refresh()?;
        assert_eq!(fs::read_to_string(tree.root().join("crates/a/src/lib.rs"))?, "two");
        assert!(!tree.root().join("crates/a/src/old.rs").exists());
        assert_eq!(written("Cargo.toml")?, before);
        Ok(())
    }
}
