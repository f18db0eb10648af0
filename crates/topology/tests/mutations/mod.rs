//! Changing a tree of files at random, repeatably, and putting it back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Texts that look right where they are wrong.
const TEXTS: [&str; 19] = [
    "",
    "\n",
    "-1\n",
    "0\n",
    "1\n",
    "4294967295\n",
    "18446744073709551615\n",
    "99999999999999999999\n",
    "0-1048575\n",
    "0-4294967295\n",
    "5-3\n",
    "1,3,5-7\n",
    "ffffffff,ffffffff\n",
    "10 20\n",
    "0 0 0 0\n",
    "Node 0 MemTotal: 18446744073709551615 kB\n",
    "processor: 4294967295\n",
    "max\n",
    "\0\0\0\0",
];

/// A repeatable source of numbers (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Changes the files and folders of one tree.
pub(crate) struct Mutator {
    /// Everything in the tree that the reader looks at, in a fixed order.
    paths: Vec<PathBuf>,
    /// Where originals wait to be put back: beside the tree, on the same file system.
    aside: PathBuf,
}

/// A changed tree; dropping it puts everything back.
pub(crate) struct Mutation {
    aside: PathBuf,
    changes: Vec<(PathBuf, String)>,
}

impl Mutator {
    pub(crate) fn new(root: &Path) -> Self {
        let mut paths = Vec::new();
        collect(root, &mut paths);
        paths.sort_unstable();
        let aside = root.join("put-aside");
        fs::create_dir(&aside).expect("a folder can be made");
        Self { paths, aside }
    }

    /// Makes one to four changes.
    pub(crate) fn mutate(&self, seed: u64) -> Mutation {
        let mut numbers = Numbers(seed);
        let mut mutation = Mutation { aside: self.aside.clone(), changes: Vec::new() };
        for _ in 0..=numbers.below(4) {
            let path = numbers.pick(&self.paths);
            // An earlier change may have taken the folder above it away.
            if path.symlink_metadata().is_ok() {
                self.change(path, &mut numbers, &mut mutation);
            }
        }
        mutation
    }

    fn change(&self, path: &Path, numbers: &mut Numbers, mutation: &mut Mutation) {
        let original = self.aside.join(mutation.changes.len().to_string());
        fs::rename(path, &original).expect("a file can be put aside");
        let bytes = fs::read(&original).unwrap_or_default();
        let write = |bytes: &[u8]| fs::write(path, bytes).expect("a file can be written");
        let change = match numbers.below(9) {
            0 => "deleted".to_owned(),
            1 => {
                let kept = &bytes[..numbers.below(bytes.len() + 1)];
                write(kept);
                format!("truncated to {kept:?}")
            }
            2 => {
                let noise: Vec<u8> = (0..numbers.below(64)).map(|_| numbers.next() as u8).collect();
                write(&noise);
                format!("overwritten with {noise:?}")
            }
            3 => {
                let mut garbled = bytes;
                for _ in 0..=numbers.below(3) {
                    if !garbled.is_empty() {
                        let at = numbers.below(garbled.len());
                        garbled[at] = *numbers.pick(b"0123456789,-: \nxk\0\xff");
                    }
                }
                write(&garbled);
                format!("garbled to {:?}", String::from_utf8_lossy(&garbled))
            }
            4 => {
                let other = fs::read(numbers.pick(&self.paths)).unwrap_or_default();
                write(&other);
                format!("given another file's {:?}", String::from_utf8_lossy(&other))
            }
            5 => {
                fs::create_dir(path).expect("a folder can be made");
                "made a folder".to_owned()
            }
            6 => {
                symlink(path, path).expect("a link can be made");
                "made a link to itself".to_owned()
            }
            _ => {
                let text = numbers.pick(&TEXTS);
                write(text.as_bytes());
                format!("made {text:?}")
            }
        };
        mutation.changes.push((path.to_owned(), change));
    }
}

impl Mutation {
    /// Returns what was changed, and how.
    pub(crate) fn changes(&self) -> &[(PathBuf, String)] {
        &self.changes
    }
}

impl Drop for Mutation {
    fn drop(&mut self) {
        for (index, (path, _)) in self.changes.iter().enumerate().rev() {
            let _ = match path.symlink_metadata() {
                Ok(data) if data.is_dir() => fs::remove_dir_all(path),
                Ok(_) => fs::remove_file(path),
                Err(_) => Ok(()),
            };
            let back = fs::rename(self.aside.join(index.to_string()), path);
            back.expect("an original can be put back");
        }
    }
}

/// Collects files and folders, without those that the reader never looks at.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    const UNREAD: [&str; 6] =
        ["power", "cpuidle", "numastat", "number_of_sets", "ways_of_associativity", "cmdline"];
    for entry in fs::read_dir(folder).expect("the tree can be listed") {
        let entry = entry.expect("the tree can be listed");
        let path = entry.path();
        if UNREAD.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, paths);
        }
        paths.push(path);
    }
}
