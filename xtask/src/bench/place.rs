//! Places that a command writes what it measured to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tempfile::NamedTempFile;

/// A file that will be written once everything is measured.
#[derive(Debug)]
pub(crate) struct Place {
    /// No symbolic link, where it is replaced: a link stays, and what it leads to is replaced.
    file: PathBuf,
    way: Way,
}

/// How text gets into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A new file takes the place of an old one.
    Replace,
    /// A device or a pipe is written to; no file must take its place.
    Open,
    /// It is standard output, wherever that goes, and may be a file that holds the table already.
    Print,
}

impl Place {
    /// Checks that the file can be written, and leaves it as it is.
    pub(crate) fn prepare(file: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write to {}", file.display());
        let way = Way::to(file);
        match way {
            Way::Print => Ok(Self { file: file.to_owned(), way }),
            Way::Open => {
                OpenOptions::new().write(true).open(file).with_context(cannot)?;
                Ok(Self { file: file.to_owned(), way })
            }
            Way::Replace => {
                ensure!(!file.is_dir(), "{}: it is a folder", cannot());
                let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
                // A file that is made and removed again: nothing stays behind if the command is stopped.
                temporary_beside(&file).with_context(cannot)?;
                Ok(Self { file, way })
            }
        }
    }

    /// Whether one of the two would take the other's place.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        let place = |place: &Self| {
            let folder = fs::canonicalize(folder_of(&place.file)).ok()?;
            Some((folder, place.file.file_name()?.to_owned()))
        };
        self.way == Way::Replace && other.way == Way::Replace && place(self) == place(other)
    }

    /// Writes the text, all or nothing: a reader never sees half of it.
    pub(crate) fn write(self, text: &[u8]) -> anyhow::Result<()> {
        let cannot = || format!("cannot write to {}", self.file.display());
        match self.way {
            Way::Print => {
                let mut out = io::stdout().lock();
                out.write_all(text).and_then(|()| out.flush()).with_context(cannot)?;
            }
            Way::Open => fs::write(&self.file, text).with_context(cannot)?,
            Way::Replace => {
                let mut temporary = temporary_beside(&self.file).with_context(cannot)?;
                temporary.write_all(text).with_context(cannot)?;
                temporary.persist(&self.file).with_context(cannot)?;
            }
        }
        Ok(())
    }
}

impl Way {
    fn to(file: &Path) -> Self {
        let Ok(found) = fs::metadata(file) else { return Self::Replace };
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let stdout = stdout.and_then(|stdout| stdout.metadata());
        if stdout.is_ok_and(|stdout| (stdout.dev(), stdout.ino()) == (found.dev(), found.ino())) {
            return Self::Print;
        }
        if found.is_file() || found.is_dir() { Self::Replace } else { Self::Open }
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_beside(file: &Path) -> io::Result<NamedTempFile> {
    // What the user's mask lets a new file have, as for any other output.
    let permissions = fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().permissions(permissions).tempfile_in(folder_of(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder can be made")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        entries
            .map(|entry| {
                entry.expect("it can be listed").file_name().to_string_lossy().into_owned()
            })
            .collect()
    }

    #[test]
    fn preparing_leaves_the_folder_and_an_old_file_as_they_were() {
        let folder = folder();
        let file = folder.path().join("rows.csv");
        Place::prepare(&file).expect("the folder can be written");
        assert!(names(folder.path()).is_empty());
        fs::write(&file, "old").expect("the folder can be written");
        Place::prepare(&file).expect("the folder can be written");
        assert_eq!(fs::read_to_string(&file).expect("it was just written"), "old");
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let folder = folder();
        let (file, link) = (folder.path().join("rows.csv"), folder.path().join("latest"));
        fs::write(&file, "old").expect("the folder can be written");
        std::os::unix::fs::symlink(&file, &link).expect("the folder can be written");
        Place::prepare(&link).and_then(|place| place.write(b"new")).expect("room");
        assert!(fs::symlink_metadata(&link).expect("it is still there").is_symlink());
        let text = fs::read_to_string(&file).expect("it was just written");
        assert_eq!(text, "new");
    }

    #[test]
    fn standard_output_and_devices_are_never_replaced() {
        let way = |file: &str| Place::prepare(Path::new(file)).expect("every Linux has it").way;
        assert_eq!(way("/dev/stdout"), Way::Print);
        assert_ne!(way("/dev/null"), Way::Replace);
        assert_eq!(Way::to(Path::new("/dev/zero")), Way::Open);
    }

    #[test]
    fn only_files_in_one_place_replace_each_other() {
        let folder = folder();
        let place =
            |name: &str| Place::prepare(&folder.path().join(name)).expect("the folder is there");
        assert!(place("a").replaces(&place("./a")));
        assert!(!place("a").replaces(&place("b")));
        fs::write(folder.path().join("a"), "old").expect("the folder can be written");
        std::os::unix::fs::symlink("a", folder.path().join("b")).expect("as above");
        assert!(place("a").replaces(&place("b")));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_refused_at_once() {
        let folder = folder();
        let refused = [folder.path().to_owned(), folder.path().join("missing/rows.json")];
        for file in refused {
            let error = Place::prepare(&file).expect_err("nothing can be there");
            assert!(error.to_string().starts_with("cannot write to"), "{error:#}");
        }
    }
}
