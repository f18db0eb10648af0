//! Numbers and long lines as people read them.

/// The widest a line of a long list may be, before what it is indented by.
const WIDTH: usize = 90;

/// Returns `1 node` or `4 nodes`.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns `32 KiB`, `23.4 GiB`: exact where that is short, else rounded to a tenth.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // The largest unit of which there is at least one.
    let power = (bytes.max(1).ilog2() / 10) as usize;
    let Some(unit) = power.checked_sub(1).map(|index| UNITS[index]) else {
        return format!("{bytes} B");
    };
    let size = 1_u64 << (10 * power);
    match bytes % size {
        0 => format!("{} {unit}", bytes / size),
        _ => format!("{:.1} {unit}", bytes as f64 / size as f64),
    }
}

/// Returns `23.4 GiB (22.9 GiB free)`, as far as it is known.
pub(super) fn memory(total: Option<u64>, free: Option<u64>) -> String {
    match (total, free) {
        (None, _) => "unknown".to_owned(),
        (Some(total), None) => bytes(total),
        (Some(total), Some(free)) => format!("{} ({} free)", bytes(total), bytes(free)),
    }
}

/// Breaks a long text between words; all but the first line are indented.
pub(super) fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.trim_start().is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("  {word}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_where_that_is_short() {
        let sizes = [0, 1, 1023, 1024, 32 << 10, 1536, 2 << 20, (3 << 30) / 2, 1 << 40, u64::MAX];
        let expected = [
            "0 B", "1 B", "1023 B", "1 KiB", "32 KiB", "1.5 KiB", "2 MiB", "1.5 GiB", "1 TiB",
            "16.0 EiB",
        ];
        assert_eq!(sizes.map(bytes), expected);
    }

    #[test]
    fn long_lines_break_between_words_and_lose_none() {
        let text = vec!["0-7,96-103"; 40].join(" | ");
        let lines = wrapped(&text);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= WIDTH));
        let joined = lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>().join(" ");
        assert_eq!(joined, text);
    }
}
