//! Mounted file systems, from `/proc/self/mountinfo` or `/proc/mounts`.

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The folder of the file system that is mounted; `/` for all of it.
    pub(super) root: String,
    /// Where it is mounted.
    pub(super) point: String,
    /// The file system's type, such as `cgroup2`.
    pub(super) kind: String,
    /// The file system's own options, separated by commas.
    pub(super) options: String,
}

/// Reads `mountinfo`; lines that make no sense are left out.
pub(super) fn mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mountinfo_line).collect()
}

/// Reads `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn mountinfo_line(line: &str) -> Option<Mount> {
    // The optional fields before the hyphen vary in number.
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split_ascii_whitespace().skip(3);
    let (root, point) = (before.next()?, before.next()?);
    let mut after = after.split_ascii_whitespace();
    let (kind, _source, options) = (after.next()?, after.next()?, after.next().unwrap_or(""));
    Some(Mount {
        root: unescape(root),
        point: unescape(point),
        kind: kind.to_owned(),
        options: options.to_owned(),
    })
}

/// Reads `/proc/mounts`, which does not tell the root; it is taken to be `/`.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (point, kind, options) = (words.next()?, words.next()?, words.next()?);
        Some(Mount {
            root: "/".to_owned(),
            point: unescape(point),
            kind: kind.to_owned(),
            options: options.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Undoes the kernel's escapes: white space and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mountinfo_skips_optional_fields_and_undoes_escapes() {
        let text =
            "36 35 98:0 /a\\040b /c\\134d rw master:1 shared:2 - cgroup2 none rw,nsdelegate\n";
        let mount = Mount {
            root: "/a b".to_owned(),
            point: "/c\\d".to_owned(),
            kind: "cgroup2".to_owned(),
            options: "rw,nsdelegate".to_owned(),
        };
        assert_eq!(mountinfo(text), [mount]);
    }

    #[test]
    fn mounts_have_the_whole_file_system_as_their_root() {
        let found = mounts("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n");
        assert_eq!(found[0].root, "/");
        assert_eq!(found[0].options, "rw,cpu");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).{0,200}") {
            mountinfo(&text);
            mounts(&text);
            unescape(&text);
        }
    }
}
