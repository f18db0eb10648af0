//! Where the threads of another process are, for a test that hangs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How long the debugger may take, in the words of `timeout`.
const LIMIT: &str = "60";

/// Returns the stacks of all threads of a process, where gdb can be had; else where in the kernel each waits.
pub(crate) fn of(process: u32) -> String {
    by_gdb(process).unwrap_or_else(|lack| format!("{lack}\n{}", by_kernel(process)))
}

/// Asks gdb; an error says what is lacking.
fn by_gdb(process: u32) -> Result<String, String> {
    let gdb = ["gdb", "-nx", "-batch", "-p", &process.to_string(), "-ex", "thread apply all bt 60"];
    let output = Command::new("timeout")
        .arg(LIMIT)
        .args(gdb)
        // Nothing is fetched for the names of functions.
        .env("DEBUGINFOD_URLS", "")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("gdb, which shows stacks, cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let start = said.find("\nThread ").ok_or_else(|| {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("gdb, which shows stacks, is missing or shows none: {}", why.trim())
    })?;
    Ok(said[start..].trim().to_owned())
}

/// Names each thread of a process, and says where in the kernel it waits.
fn by_kernel(process: u32) -> String {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let tasks = tasks.into_iter().flatten().flatten().map(|task| task.path());
    let line = |task: PathBuf| {
        format!("{} {}", read(task.join("comm")).trim(), read(task.join("wchan")).trim())
    };
    tasks.map(line).collect::<Vec<_>>().join("\n")
}
