//! Reading files below a root, where any of them may be missing or garbled.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::Oddity;

/// The most that is read of one file.
///
/// `/proc/cpuinfo` of the largest machines has a few megabytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The most of a garbled text that an oddity quotes.
const MAX_QUOTE: usize = 40;

/// Reads files below a root and collects what is odd about them.
///
/// Symbolic links are followed, so a recorded tree must hold relative ones
/// only, as `sys` does.
#[derive(Debug)]
pub(crate) struct Reader {
    root: PathBuf,
    live: bool,
    oddities: Vec<Oddity>,
}

impl Reader {
    pub(crate) fn new(root: &Path, live: bool) -> Self {
        Self { root: root.to_owned(), live, oddities: Vec::new() }
    }

    /// Returns whether the kernel may be asked what no file tells.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    pub(crate) fn into_oddities(self) -> Vec<Oddity> {
        self.oddities
    }

    pub(crate) fn note(&mut self, what: impl Into<String>, assumed: impl Into<String>) {
        Oddity::note(&mut self.oddities, what, assumed);
    }

    /// Returns a file's text; `None` where it is absent, or cannot be read, which is noted.
    pub(crate) fn text(&mut self, file: &str) -> Option<String> {
        match read_file(&self.root.join(file)) {
            Ok(text) => Some(text),
            Err(error) if is_absence(&error) => None,
            Err(error) => {
                let what = format!("/{file} cannot be read: {error}");
                self.note(what, "it is taken as absent");
                None
            }
        }
    }

    /// Returns what `parse` makes of a file; `None` where it is absent, or makes no sense, which is noted.
    pub(crate) fn value<T>(
        &mut self,
        file: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(file)?;
        let value = parse(&text);
        if value.is_none() {
            let quote: String = text.trim().chars().take(MAX_QUOTE).collect();
            self.note(format!("/{file} reads {quote:?}"), "it is taken as absent");
        }
        value
    }

    /// Returns the names in a folder, sorted; none where it is absent, or cannot be read, which is noted.
    pub(crate) fn names(&mut self, folder: &str) -> Vec<String> {
        let list = || -> io::Result<Vec<String>> {
            std::fs::read_dir(self.root.join(folder))?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect()
        };
        match list() {
            Ok(mut names) => {
                names.sort_unstable();
                names
            }
            Err(error) => {
                if !is_absence(&error) {
                    let what = format!("/{folder} cannot be listed: {error}");
                    self.note(what, "it is taken as empty");
                }
                Vec::new()
            }
        }
    }

    /// Returns the numbers that follow `prefix` in a folder's names, ascending: 0 and 8 for `node0` and `node8`.
    pub(crate) fn numbered(&mut self, folder: &str, prefix: &str) -> Vec<u32> {
        let number = |name: &String| super::parse::number(name.strip_prefix(prefix)?);
        let mut numbers: Vec<u32> = self.names(folder).iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

/// Returns whether an error only says that there is no such file.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn read_file(path: &Path) -> io::Result<String> {
    // A pipe in a recorded tree must not hold the reader up.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    // Some kernels end their lists with a zero byte.
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
}
