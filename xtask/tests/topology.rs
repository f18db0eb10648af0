//! `cargo xtask topology` as a user runs it.

use std::io::Read;
use std::process::{Command, Output, Stdio};

fn topology(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("topology").args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> std::io::Result<(Output, String)> {
    let output = topology(args).output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output, error))
}

#[test]
fn a_folder_that_is_no_machine_is_an_error_with_code_1() -> std::io::Result<()> {
    let (output, error) = output(&["--root", "/nowhere"])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("/nowhere") && output.stdout.is_empty(), "{error}");
    Ok(())
}

#[test]
fn a_wrong_description_is_an_error_that_names_the_place() -> std::io::Result<()> {
    let (output, error) = output(&["--synthetic", "node:2 core:4"])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("core:4") && error.contains("pu:1"), "{error}");
    Ok(())
}

#[test]
fn the_live_machine_is_drawn_and_printed_as_json() -> anyhow::Result<()> {
    let (drawn, error) = output(&[])?;
    assert!(drawn.status.success(), "{error}");
    assert!(String::from_utf8(drawn.stdout)?.starts_with("This machine\n"));
    let (printed, error) = output(&["--json"])?;
    assert!(printed.status.success(), "{error}");
    let object: serde_json::Value = serde_json::from_slice(&printed.stdout)?;
    assert!(object["cpus"].is_string() && object["nodes"][0]["id"].is_u64(), "{object}");
    Ok(())
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() -> std::io::Result<()> {
    // Far more text than a pipe holds, so the writer meets the closed end.
    let mut child = topology(&["--json", "--synthetic", "node:64 core:64 pu:1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().expect("standard output is piped");
    stdout.read_exact(&mut first)?;
    drop(stdout);
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    Ok(())
}
