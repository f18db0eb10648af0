//! Files of the kernel that say one thing.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::Context as _;

/// Reads a file without the white space around what it says.
pub(crate) fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    let text = fs::read_to_string(path);
    Ok(text.with_context(|| format!("cannot read {}", path.display()))?.trim().to_owned())
}

/// Reads a file that says one number, list or the like.
pub(crate) fn parse<T>(path: impl AsRef<Path>) -> anyhow::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let path = path.as_ref();
    read(path)?.parse().with_context(|| format!("{} says something else", path.display()))
}

/// Writes a file.
pub(crate) fn write(path: impl AsRef<Path>, text: impl ToString) -> anyhow::Result<()> {
    let (path, text) = (path.as_ref(), text.to_string());
    fs::write(path, &text).with_context(|| format!("cannot write {text:?} to {}", path.display()))
}

/// Reads a file such as `always [madvise] never`, and returns the word in brackets.
pub(crate) fn chosen(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    let text = read(path)?;
    let word = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    Ok(word.with_context(|| format!("{} names no choice: {text}", path.display()))?.to_owned())
}

/// Returns a node's folder.
pub(crate) fn node(node: usize) -> String {
    format!("/sys/devices/system/node/node{node}")
}

/// Returns one figure of a node's `meminfo` in bytes.
pub(crate) fn node_memory(id: usize, field: &str) -> anyhow::Result<u64> {
    let path = format!("{}/meminfo", node(id));
    let text = read(&path)?;
    let mut words = text.lines().map(str::split_whitespace);
    let value = words.find_map(|mut line| {
        line.find(|word| word.strip_suffix(':') == Some(field))?;
        line.next()
    });
    let kilobytes = value.with_context(|| format!("{path} has no {field}"))?;
    Ok(kilobytes.parse::<u64>().with_context(|| format!("{path}: {field}"))? * 1024)
}
