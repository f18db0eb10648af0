//! Sizes in bytes, as people write them.

/// Names a size exactly, by the largest binary unit that divides it: `512MiB`, `1GiB`, `1000B`.
///
/// Case names hold sizes in this form, so two sizes never share a name.
#[must_use]
pub fn exact(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |&(shift, _): &(u32, &str)| bytes != 0 && bytes % (1 << shift) == 0;
    match units.into_iter().find(fits) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// Names a size for reading, to one decimal of the largest binary unit: `22.4 GiB`.
#[must_use]
pub fn rounded(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_names_use_the_largest_unit_that_divides() {
        let cases = [
            (0, "0B"),
            (1000, "1000B"),
            (4096, "4KiB"),
            (1536 << 20, "1536MiB"),
            (8 << 30, "8GiB"),
            (3 << 40, "3TiB"),
            (u64::MAX, "18446744073709551615B"),
        ];
        for (bytes, name) in cases {
            assert_eq!(exact(bytes), name);
        }
    }

    #[test]
    fn rounded_names_have_one_decimal() {
        assert_eq!(rounded(24_051_816_858), "22.4 GiB");
        assert_eq!(rounded(2 << 20), "2.0 MiB");
    }
}
