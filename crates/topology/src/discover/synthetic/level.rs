//! The types of level a description can name, and those it leaves out.

/// What the objects of one level are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The whole machine, which every description starts from.
    Machine,
    /// A level of no meaning of its own; the number tells such levels apart.
    Group(Option<u32>),
    Package,
    Node,
    Die,
    /// A data or unified cache of a level from 1 to 5.
    Cache(u32),
    /// An instruction cache of a level from 1 to 3; it shapes the tree and is not kept.
    InstructionCache(u32),
    Core,
    /// One hardware thread.
    Pu,
}

impl Kind {
    /// Reads a type's name: any case, and shortened as far as it stays clear.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let name = name.to_ascii_lowercase();
        // The full name and the fewest letters that stand for it.
        let is = |full: &str, least: usize| name.len() >= least && full.starts_with(&name);
        if is("numanode", 2) || is("node", 2) {
            Ok(Self::Node)
        } else if is("package", 2) || is("socket", 2) {
            Ok(Self::Package)
        } else if is("die", 2) {
            Ok(Self::Die)
        } else if is("core", 2) {
            Ok(Self::Core)
        } else if is("pu", 2) {
            Ok(Self::Pu)
        } else if is("tile", 4) || is("module", 6) {
            Ok(Self::Group(None))
        } else if let Some(cache) = cache(&name) {
            cache
        } else if let Some(group) = group(&name) {
            Ok(group)
        } else {
            Err(not_a_level(&name, is))
        }
    }

    /// Returns whether `size=` is among the level's attributes.
    pub(super) fn is_cache(self) -> bool {
        matches!(self, Self::Cache(_) | Self::InstructionCache(_))
    }

    /// Returns whether one level of this type is all a description may have.
    pub(super) fn is_unique(self) -> bool {
        !matches!(self, Self::Group(_))
    }

    /// Returns whether a name in `indexes=` means a level of type `level`.
    pub(super) fn matches(self, level: Self) -> bool {
        match (self, level) {
            (Self::Group(None), Self::Group(_)) => true,
            (named, level) => named == level,
        }
    }

    /// Returns the bytes of memory or cache that hwloc assumes where a description gives none.
    pub(super) fn default_bytes(self) -> u64 {
        match self {
            Self::Node => 1 << 30,
            Self::Cache(1) | Self::InstructionCache(1) => 32 << 10,
            // 4 MiB for level 2, then four times as much for each level.
            Self::Cache(level) | Self::InstructionCache(level) => (256 << 10) << (2 * level),
            _ => 0,
        }
    }

    /// Returns the name an error calls the type by.
    pub(super) fn name(self) -> String {
        match self {
            Self::Machine => "machine".to_owned(),
            Self::Group(_) => "group".to_owned(),
            Self::Package => "package".to_owned(),
            Self::Node => "node".to_owned(),
            Self::Die => "die".to_owned(),
            Self::Cache(level) => format!("l{level}"),
            Self::InstructionCache(level) => format!("l{level}i"),
            Self::Core => "core".to_owned(),
            Self::Pu => "pu".to_owned(),
        }
    }
}

/// Reads `l2`, `l1d`, `L3u`, `L1iCache`; `None` where the name is no cache's.
fn cache(name: &str) -> Option<Result<Kind, String>> {
    let rest = name.strip_prefix('l')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (level, suffix) = rest.split_at(digits);
    if level.is_empty() {
        return None;
    }
    let level = level.parse::<u32>().unwrap_or(u32::MAX);
    let kind = match suffix.strip_prefix('i') {
        Some(suffix) => (Kind::InstructionCache(level), suffix, 3),
        None => {
            let suffix = suffix.strip_prefix(['d', 'u']).unwrap_or(suffix);
            (Kind::Cache(level), suffix, 5)
        }
    };
    Some(match kind {
        (kind, suffix, deepest)
            if (1..=deepest).contains(&level) && "cache".starts_with(suffix) =>
        {
            Ok(kind)
        }
        _ => Err("caches are l1 to l5 (with d or u for data or unified) and l1i to l3i".to_owned()),
    })
}

/// Reads `group`, `gr`, `Group2`.
fn group(name: &str) -> Option<Kind> {
    let letters = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let (word, number) = name.split_at(letters);
    if word.len() < 2 || !"group".starts_with(word) {
        return None;
    }
    match number {
        "" => Some(Kind::Group(None)),
        number => number.parse().ok().map(|number| Kind::Group(Some(number))),
    }
}

/// Says why a name is not a level's, and what would be.
fn not_a_level(name: &str, is: impl Fn(&str, usize) -> bool) -> String {
    const IO: [(&str, usize); 12] = [
        ("osdev", 2),
        ("block", 4),
        ("network", 3),
        ("openfabrics", 7),
        ("dma", 3),
        ("gpu", 3),
        ("coproc", 5),
        ("co-processor", 6),
        ("misc", 4),
        ("bridge", 4),
        ("hostbridge", 6),
        ("pcidev", 3),
    ];
    if name.is_empty() {
        "a level's type or number of objects is expected, such as core:8 or 8".to_owned()
    } else if is("machine", 2) {
        "the machine is always there and is not named; its attributes stand in parentheses at the start".to_owned()
    } else if is("memcache", 5) {
        "memory-side caches are no level; memorysidecachesize= stands among a node's attributes"
            .to_owned()
    } else if IO.iter().any(|&(full, least)| is(full, least)) {
        "devices cannot be described; package, die, group, node, l5 to l1, core and pu can"
            .to_owned()
    } else {
        "no such type of level; there are package, die, group, node, l5 to l1, core and pu"
            .to_owned()
    }
}

/// Returns the types of a description that gives only numbers, the last one for PUs.
///
/// These are hwloc's choices: a node, a package, a core, then caches, then
/// groups are added as there are levels for them.
pub(super) fn default_kinds(levels: usize, nodes_attached: bool) -> Vec<Kind> {
    let mut left = levels.saturating_sub(1);
    let mut take = |most: usize| {
        let taken = left.min(most);
        left -= taken;
        taken
    };
    let nodes = take(usize::from(!nodes_attached));
    let packages = take(1);
    let cores = take(1);
    let caches = take(4);
    let groups = left;
    let caches: &[Kind] = match caches {
        0 => &[],
        1 => &[Kind::Cache(2)],
        2 => &[Kind::Cache(2), Kind::Cache(1)],
        3 => &[Kind::Cache(3), Kind::Cache(2), Kind::Cache(1)],
        _ => &[Kind::Cache(3), Kind::Cache(2), Kind::Cache(1), Kind::InstructionCache(1)],
    };
    let repeat = |kind, times| std::iter::repeat_n(kind, times);
    repeat(Kind::Group(None), groups)
        .chain(repeat(Kind::Package, packages))
        .chain(repeat(Kind::Node, nodes))
        .chain(caches.iter().copied())
        .chain(repeat(Kind::Core, cores))
        .chain([Kind::Pu])
        .collect()
}
