//! From a description's text to its levels.

use super::level::{Kind, default_kinds};
use super::{MAX_CPUS, MAX_LEVELS, MAX_NODES, problem};
use crate::TopologyError;

/// One level of a description: objects of one type, equally many under each object above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level<'a> {
    pub(super) kind: Kind,
    /// The objects of this level in the whole machine; each level's is a multiple of the one above.
    pub(super) width: usize,
    /// The bytes of one object's memory or cache.
    pub(super) bytes: u64,
    /// The text of `indexes=`.
    pub(super) indexes: Option<&'a str>,
    /// The memory in bytes of each node attached to every object of this level.
    pub(super) attached: Vec<u64>,
}

/// A whole description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description<'a> {
    /// Invariant: the machine first, PUs last, and a level of nodes or attached nodes between.
    pub(super) levels: Vec<Level<'a>>,
    /// The text of `indexes=` for all attached nodes together.
    pub(super) attached_indexes: Option<&'a str>,
    /// Attributes that mean nothing where they stand, with their level's type.
    pub(super) unused: Vec<(&'a str, &'static str)>,
}

/// What parentheses after a level hold.
#[derive(Default)]
struct Attributes<'a> {
    bytes: Option<u64>,
    indexes: Option<&'a str>,
    /// The attribute that gave `bytes`.
    bytes_text: Option<&'a str>,
}

/// A level as written: its type may be left out.
struct Written<'a> {
    kind: Option<Kind>,
    text: &'a str,
    width: usize,
    attributes: Attributes<'a>,
    attached: Vec<u64>,
}

/// Reads a description.
pub(super) fn parse(description: &str) -> Result<Description<'_>, TopologyError> {
    let mut scanner = Scanner { rest: description };
    let (written, attached_indexes) = scanner.levels()?;
    check(description, &written)?;
    let attached = written.iter().any(|level| !level.attached.is_empty());
    let defaults = default_kinds(written.len() - 1, attached);
    // The machine is the first level and not among those that may go untyped.
    let defaults = std::iter::once(Kind::Machine).chain(defaults);
    let mut unused = Vec::new();
    let mut levels = Vec::with_capacity(written.len() + 1);
    for (level, default) in written.into_iter().zip(defaults) {
        let kind = level.kind.unwrap_or(default);
        let has_bytes = kind == Kind::Node || kind.is_cache();
        if let (false, Some(text)) = (has_bytes, level.attributes.bytes_text) {
            unused.push((text, if kind == Kind::Machine { "machine" } else { "level" }));
        }
        // Zero means the default too, as hwloc reads it.
        let bytes = level.attributes.bytes.filter(|&bytes| bytes > 0 && has_bytes);
        levels.push(Level {
            kind,
            width: level.width,
            bytes: bytes.unwrap_or_else(|| kind.default_bytes()),
            indexes: level.attributes.indexes,
            attached: level.attached,
        });
    }
    if !attached && !levels.iter().any(|level| level.kind == Kind::Node) {
        let bytes = Kind::Node.default_bytes();
        let node = Level { kind: Kind::Node, width: 1, bytes, indexes: None, attached: Vec::new() };
        levels.insert(1, node);
    }
    number_groups(&mut levels);
    Ok(Description { levels, attached_indexes, unused })
}

/// Gives groups without a number theirs: the outermost has the largest.
fn number_groups(levels: &mut [Level<'_>]) {
    let groups = levels.iter().filter(|level| matches!(level.kind, Kind::Group(_))).count();
    let mut next = u32::try_from(groups).unwrap_or(u32::MAX);
    for level in levels {
        if level.kind == Kind::Group(None) {
            level.kind = Kind::Group(Some(next));
            next -= 1;
        }
    }
}

/// Checks what a description must have as a whole.
fn check(description: &str, levels: &[Written<'_>]) -> Result<(), TopologyError> {
    let [_, between @ .., last] = levels else {
        return Err(problem(description, "it has no level; node:2 core:4 pu:2 has three"));
    };
    if !matches!(last.kind, None | Some(Kind::Pu)) {
        return Err(problem(last.text, "the last level must be of PUs, such as pu:1"));
    }
    if let Some(level) = between.iter().find(|level| level.kind == Some(Kind::Pu)) {
        return Err(problem(level.text, "PUs are the last level and can hold no other"));
    }
    let untyped = between.iter().filter(|level| level.kind.is_none()).count();
    if untyped != 0 && untyped != between.len() {
        let level = between.iter().find(|level| level.kind.is_none()).map_or("", |l| l.text);
        let reason = "either every level has a type or none has (the last may go without)";
        return Err(problem(level, reason));
    }
    for (index, level) in between.iter().enumerate() {
        let again = between[..index].iter().any(|above| above.kind == level.kind);
        if let Some(kind) = level.kind.filter(|kind| again && kind.is_unique()) {
            let reason = format!("there can be one level of type {} only", kind.name());
            return Err(problem(level.text, reason));
        }
    }
    let attached = levels.iter().any(|level| !level.attached.is_empty());
    if let Some(level) = between.iter().find(|l| attached && l.kind == Some(Kind::Node)) {
        let reason = "nodes are either a level or attached in square brackets, not both";
        return Err(problem(level.text, reason));
    }
    Ok(())
}

/// The text that is still to be read.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Reads every level, the machine's first, and the indexes of attached nodes.
    fn levels(&mut self) -> Result<(Vec<Written<'a>>, Option<&'a str>), TopologyError> {
        let mut machine = Written {
            kind: Some(Kind::Machine),
            text: "",
            width: 1,
            attributes: Attributes::default(),
            attached: Vec::new(),
        };
        self.skip_spaces();
        if self.rest.starts_with('(') {
            machine.attributes = self.attributes(Some(Kind::Machine))?;
        }
        let mut levels = vec![machine];
        let mut attached_nodes = 0;
        let mut attached_indexes = None;
        loop {
            self.skip_spaces();
            let start = self.rest;
            if start.is_empty() {
                return Ok((levels, attached_indexes));
            }
            let above = levels.len() - 1;
            if start.starts_with('[') {
                let attributes = self.attached()?;
                attached_nodes += levels[above].width;
                if attached_nodes > MAX_NODES {
                    let reason = format!("that is more than {MAX_NODES} nodes, Linux's most");
                    return Err(problem(start, reason));
                }
                if attached_indexes.is_some() && attributes.indexes.is_some() {
                    let reason = "attached nodes share one list of indexes; give it once";
                    return Err(problem(start, reason));
                }
                attached_indexes = attached_indexes.or(attributes.indexes);
                let bytes = attributes.bytes.filter(|&bytes| bytes > 0);
                levels[above].attached.push(bytes.unwrap_or_else(|| Kind::Node.default_bytes()));
            } else {
                let level = self.level(levels[above].width)?;
                levels.push(level);
                if levels.len() > MAX_LEVELS {
                    return Err(problem(start, format!("more than {MAX_LEVELS} levels")));
                }
            }
        }
    }

    /// Reads `core:8(attributes)` or `8(attributes)`.
    fn level(&mut self, above: usize) -> Result<Written<'a>, TopologyError> {
        let start = self.rest;
        let kind = match start.starts_with(|c: char| c.is_ascii_digit()) {
            true => None,
            false => {
                let kind = Kind::parse(self.name()).map_err(|reason| problem(start, reason))?;
                self.skip_spaces();
                if !self.skip(':') {
                    let reason = "a colon and a number must follow the type, such as core:8";
                    return Err(problem(start, reason));
                }
                self.skip_spaces();
                Some(kind)
            }
        };
        let arity = match self.number() {
            None => return Err(problem(start, "a number of objects is expected, such as core:8")),
            Some(0) => return Err(problem(start, "a level needs at least one object")),
            Some(arity) => usize::try_from(arity).unwrap_or(usize::MAX),
        };
        let most = if kind == Some(Kind::Node) { MAX_NODES } else { MAX_CPUS };
        let width = above.checked_mul(arity).filter(|&width| width <= most).ok_or_else(|| {
            let what = if kind == Some(Kind::Node) { "nodes" } else { "CPUs" };
            problem(start, format!("that is more than {most} {what}, Linux's most"))
        })?;
        let attributes = match self.rest.starts_with('(') {
            true => self.attributes(kind)?,
            false => Attributes::default(),
        };
        let text = start[..start.len() - self.rest.len()].trim_end();
        Ok(Written { kind, text, width, attributes, attached: Vec::new() })
    }

    /// Reads `[numa(attributes)]`.
    fn attached(&mut self) -> Result<Attributes<'a>, TopologyError> {
        let start = self.rest;
        self.skip('[');
        self.skip_spaces();
        let kind = Kind::parse(self.name()).map_err(|reason| problem(start, reason))?;
        if kind != Kind::Node {
            let reason = "only nodes can be attached in square brackets, such as [numa]";
            return Err(problem(start, reason));
        }
        self.skip_spaces();
        let attributes = match self.rest.starts_with('(') {
            true => self.attributes(Some(kind))?,
            false => Attributes::default(),
        };
        self.skip_spaces();
        match self.skip(']') {
            true => Ok(attributes),
            false => Err(problem(start, "a closing ] must follow, such as [numa(memory=1GB)]")),
        }
    }

    /// Reads `(name=value name=value)`.
    fn attributes(&mut self, kind: Option<Kind>) -> Result<Attributes<'a>, TopologyError> {
        let start = self.rest;
        let end = start
            .find(')')
            .ok_or_else(|| problem(start, "a closing parenthesis must follow the attributes"))?;
        self.rest = &start[end + 1..];
        let mut attributes = Attributes::default();
        let cache = kind.is_some_and(Kind::is_cache);
        for text in start[1..end].split_ascii_whitespace() {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            match name {
                "indexes" => attributes.indexes = Some(value),
                "size" if cache => attributes.bytes = Some(bytes(text, value)?),
                "memory" if !cache => {
                    attributes.bytes = Some(bytes(text, value)?);
                    attributes.bytes_text = Some(text);
                }
                // Memory-side caches are no part of a topology here; they are read past.
                "memorysidecachesize" => drop(bytes(text, value)?),
                _ => {
                    let reason = match cache {
                        true => "no such attribute; a cache has size= and indexes=",
                        false => "no such attribute; there are memory= and indexes=",
                    };
                    return Err(problem(text, reason));
                }
            }
        }
        Ok(attributes)
    }

    /// Takes letters, digits and dashes.
    fn name(&mut self) -> &'a str {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = number(self.rest)?;
        self.rest = rest;
        Some(number)
    }

    fn skip(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

/// Takes a number as C's `strtoul` reads it in base 0: `0x` is hexadecimal and a leading 0 octal.
///
/// A number too large for 64 bits is the largest one; every use refuses that.
pub(super) fn number(text: &str) -> Option<(u64, &str)> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => (digits, 16),
        _ if text.starts_with('0') => (text, 8),
        _ => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let value = u64::from_str_radix(digits, radix).unwrap_or(u64::MAX);
    (!digits.is_empty()).then_some((value, rest))
}

/// Reads `16GB`, `16GiB` or `17179869184`.
fn bytes(text: &str, value: &str) -> Result<u64, TopologyError> {
    const UNITS: [(&str, u64); 9] = [
        ("", 1),
        ("kb", 1_000),
        ("kib", 1 << 10),
        ("mb", 1_000_000),
        ("mib", 1 << 20),
        ("gb", 1_000_000_000),
        ("gib", 1 << 30),
        ("tb", 1_000_000_000_000),
        ("tib", 1 << 40),
    ];
    let reason = "a size is a whole number and perhaps kB, KiB, MB, MiB, GB, GiB, TB or TiB";
    let (number, unit) = number(value).ok_or_else(|| problem(text, reason))?;
    let factor = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
    let (_, factor) = factor.ok_or_else(|| problem(text, reason))?;
    let size = number.checked_mul(*factor).filter(|&size| size <= MAX_BYTES);
    size.ok_or_else(|| problem(text, "that is more than 1,024 TiB, the most a size can be"))
}

/// The most bytes of one node or cache; sums over nodes then stay within 64 bits.
const MAX_BYTES: u64 = 1 << 50;
