//! Commands that steps run.

use std::io::{Read, Seek, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Prints a line; a reader that went away stops no check.
pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs a command to its end and returns what it printed.
///
/// A command that fails is an error, and all it printed is shown; of one that
/// succeeds, only the closing lines of its tests are.
pub(super) fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = name(command);
    say(&format!("$ {name}"));
    let (succeeded, text, status) =
        capture(command).with_context(|| format!("cannot run {name}"))?;
    if !succeeded {
        say(&text);
        bail!("{name}: {status}");
    }
    for line in closing_lines(&text) {
        say(line);
    }
    Ok(text)
}

/// Returns whether the command can be started and succeeds; shows nothing.
pub(super) fn succeeds(command: &mut Command) -> bool {
    capture(command).is_ok_and(|(succeeded, ..)| succeeded)
}

/// Returns what a command printed if it can be started and succeeds; shows nothing.
pub(super) fn answer(command: &mut Command) -> Option<String> {
    capture(command).ok().and_then(|(succeeded, text, _)| succeeded.then_some(text))
}

/// Both outputs go to one file, so that they stay in the order they were written.
fn capture(command: &mut Command) -> anyhow::Result<(bool, String, std::process::ExitStatus)> {
    let mut output = tempfile::tempfile()?;
    let status = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .status()?;
    output.rewind()?;
    let mut text = Vec::new();
    output.read_to_end(&mut text)?;
    Ok((status.success(), String::from_utf8_lossy(&text).into_owned(), status))
}

/// The command as it would be typed.
fn name(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        // Settings that only change how output looks say nothing about what is checked.
        let value = value.filter(|_| name != "CARGO_TERM_COLOR")?;
        Some(format!("{}='{}'", name.to_string_lossy(), value.to_string_lossy()))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned());
    set.chain(words).collect::<Vec<_>>().join(" ")
}

/// The lines that say which tests ran and how they ended; test binaries without a test are left out.
fn closing_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut binary = None;
    text.lines().flat_map(move |line| {
        let start = line.trim_start();
        if start.starts_with("Running ") || start.starts_with("Doc-tests ") {
            binary = Some(line);
        }
        let empty = line.contains(" 0 passed; 0 failed; 0 ignored");
        let closing = line.starts_with("test result: ") && !empty;
        [binary.take_if(|_| closing), closing.then_some(line)].into_iter().flatten()
    })
}

/// Returns how many tests the closing lines say have passed.
pub(super) fn tests_passed(text: &str) -> u64 {
    let results = text.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    results.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling one v0.1.0
     Running unittests src/lib.rs (target/debug/deps/one-1)

running 2 tests
test a ... ok
test b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running unittests src/main.rs (target/debug/deps/two-2)

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests one

running 1 test
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn closing_lines_name_each_binary_that_had_tests() {
        let lines: Vec<_> = closing_lines(OUTPUT).collect();
        let expected = [
            "     Running unittests src/lib.rs (target/debug/deps/one-1)",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; \
             finished in 0.00s",
            "   Doc-tests one",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; \
             finished in 0.10s",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn passed_tests_are_added_up() {
        assert_eq!(tests_passed(OUTPUT), 3);
        assert_eq!(tests_passed("nothing ran\n"), 0);
    }

    #[test]
    fn both_outputs_are_captured_in_order() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three"]);
        assert_eq!(answer(&mut command).as_deref(), Some("one\ntwo\nthree\n"));
    }

    #[test]
    fn a_command_that_fails_or_is_missing_is_an_error_that_names_it() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).expect_err("it fails");
        assert_eq!(error.to_string(), "sh -c exit 3: exit status: 3");
        let error = run(&mut Command::new("/no/such/command")).expect_err("it is missing");
        assert_eq!(error.to_string(), "cannot run /no/such/command");
        assert!(!succeeds(&mut Command::new("/no/such/command")));
    }
}
