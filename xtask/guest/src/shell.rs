//! A shell for a person.

use std::process::Command;

use anyhow::Context as _;

/// Gives a shell on the console until it is left.
pub(crate) fn run() -> anyhow::Result<()> {
    const BUSYBOX: &str = "/bin/busybox";
    let install = Command::new(BUSYBOX).args(["--install", "-s", "/bin"]).status();
    install.context("cannot run busybox")?;
    // cttyhack makes the serial line the controlling terminal, so that Ctrl-C reaches the shell's jobs.
    Command::new(BUSYBOX)
        .args(["setsid", "cttyhack", "sh"])
        .env("PATH", "/bin")
        .env("HOME", "/tmp")
        .env("PS1", "guest# ")
        .status()
        .context("cannot run a shell")?;
    Ok(())
}
