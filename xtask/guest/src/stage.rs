//! What a case's own process does.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail};
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::{REQUEST_PATH, Request};

use crate::case::{Case, Given};
use crate::cases;

/// Where this program lies in the guest.
pub(crate) const PROGRAM: &str = "/init";

/// Brings this process into the state its child is to inherit, and becomes the checker.
pub(crate) fn run(name: &str) -> anyhow::Result<()> {
    let (case, machine) = find(name)?;
    let Given::Conditions(conditions) = (case.given)(&machine) else {
        bail!("{name} is skipped on {}", machine.name);
    };
    for condition in &conditions {
        condition.enter().with_context(|| format!("this cannot be had: {condition:?}"))?;
    }
    Err(Command::new(PROGRAM).args(["check", name]).exec()).context("cannot start the checker")
}

/// Checks a case in the state that this process is in.
pub(crate) fn check(name: &str) -> anyhow::Result<()> {
    let (case, machine) = find(name)?;
    (case.check)(&machine)
}

fn find(name: &str) -> anyhow::Result<(&'static Case, Machine)> {
    let case = cases::ALL.iter().copied().flatten().find(|case| case.name == name);
    let case = case.with_context(|| format!("no case is called {name}"))?;
    let request: Request = serde_json::from_slice(&fs::read(REQUEST_PATH)?)?;
    Ok((case, request.machine))
}
