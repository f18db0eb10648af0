//! A change of one source file.

use std::path::Path;

use anyhow::ensure;

/// A text of one source file that another takes the place of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// The source file, from the workspace's root.
    pub(crate) file: &'a Path,
    /// The text that is replaced. It occurs once in the file.
    pub(crate) find: &'a str,
    /// What takes its place.
    pub(crate) replace: &'a str,
}

impl Change<'_> {
    /// Returns the changed text of the file.
    pub(crate) fn apply(&self, text: &str) -> anyhow::Result<String> {
        let Self { name, file, find, replace } = *self;
        let (found, file) = (text.matches(find).count(), file.display());
        ensure!(
            found == 1,
            "{name}: its text occurs {found} times in {file}; it must name one place"
        );
        ensure!(find != replace, "{name} changes nothing");
        Ok(text.replace(find, replace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_there_once_is_refused() {
        let file = Path::new("a.rs");
        let change = Change { name: "it", file, find: "one", replace: "two" };
        assert_eq!(change.apply("a one b").expect("it is there"), "a two b");
        for text in ["", "one one"] {
            let error = change.apply(text).expect_err("it is not there once");
            assert!(error.to_string().contains("must name one place"), "{error}");
        }
        let same = Change { replace: "one", ..change };
        assert!(same.apply("a one b").is_err(), "it changes nothing");
    }
}
