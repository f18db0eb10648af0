//! `cargo xtask vm --self-check`: faults planted on purpose, which cases must see.
//!
//! Each fault is a file in `xtask/faults/`. The copy without a fault is the
//! control: there the same cases must pass.

mod fault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use comfy_table::{Table, presets};
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::Outcome;

use self::fault::Fault;
use super::boot::Booted;
use super::guest_program::{self, GUEST};
use super::lab::{Content, Lab, Order};
use super::{machine, print};
use crate::planted::{CONTROL, Tree};
use crate::workspace;

/// Cases by machine.
type Cases = BTreeMap<String, Vec<String>>;

/// One build of the sources, and what is to come of it.
#[derive(Debug)]
struct Trial {
    name: String,
    about: String,
    content: Content,
    /// The machines, and the cases that must fail there; or pass, in the control.
    cases: Cases,
    is_control: bool,
}

/// Plants the faults whose name contains one of the filter's texts, all of them by default.
pub(super) fn run(
    lab: &Lab,
    machines: &[Machine],
    filter: &[String],
    jobs: usize,
) -> anyhow::Result<ExitCode> {
    let mut faults = fault::all()?;
    faults.retain(|fault| filter.is_empty() || filter.iter().any(|f| fault.name.contains(f)));
    ensure!(!faults.is_empty(), "no fault is called like {}", filter.join(" or "));
    let trials = build(lab, &faults)?;
    let mut places = Vec::new();
    for trial in &trials {
        for (name, cases) in &trial.cases {
            let machine = machine::named(machines, std::slice::from_ref(name))?.remove(0);
            let boots = lab.kernels().map(|kernel| (trial, machine.clone(), kernel, cases));
            places.extend(boots);
        }
    }
    let orders: Vec<_> = places
        .iter()
        .map(|(trial, machine, kernel, filter)| Order {
            machine,
            kernel: *kernel,
            content: &trial.content,
            filter,
        })
        .collect();
    let boots = lab.run_all(&orders, jobs)?;
    let results: Vec<_> =
        places.iter().zip(&boots).map(|((trial, ..), boot)| (*trial, boot)).collect();
    print(&table(&results).to_string());
    let wrong: Vec<String> = results.iter().flat_map(|(trial, boot)| wrong(trial, boot)).collect();
    for line in &wrong {
        print(line);
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the guest's program without a fault and with each.
fn build(lab: &Lab, faults: &[Fault]) -> anyhow::Result<Vec<Trial>> {
    let folder = lab.cache().self_check();
    let tree = Tree::take(workspace::root(), folder.join("tree"))?;
    tree.refresh()?;
    let content = |root: &Path, label: &str| {
        let programs = guest_program::build(root, &folder.join("build"), &[GUEST])?;
        Content::new(Some(label), &programs)
    };
    let mut trials = vec![Trial {
        name: CONTROL.to_owned(),
        about: "the control".to_owned(),
        content: content(tree.root(), "control")?,
        cases: together(faults),
        is_control: true,
    }];
    for fault in faults {
        trials.push(Trial {
            name: fault.name.clone(),
            about: fault.about.clone(),
            content: tree.with(&fault.change(), |root| content(root, &fault.name))?,
            cases: fault.caught_by.clone(),
            is_control: false,
        });
    }
    Ok(trials)
}

/// All cases of all faults, by machine.
fn together(faults: &[Fault]) -> Cases {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (machine, cases) in faults.iter().flat_map(|fault| &fault.caught_by) {
        all.entry(machine.clone()).or_default().extend(cases.iter().cloned());
    }
    all.into_iter().map(|(machine, cases)| (machine, cases.into_iter().collect())).collect()
}

fn failing(boot: &Booted) -> Vec<&str> {
    let failed = boot.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed { .. }));
    failed.map(|case| case.name.as_str()).collect()
}

fn table(results: &[(&Trial, &Booted)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["fault", "machine", "kernel", "cases that failed"]);
    for (trial, boot) in results {
        let failed = match (failing(boot), &boot.trouble) {
            (_, Some(trouble)) => format!("BROKEN: {trouble}"),
            (none, None) if none.is_empty() => format!("none of {}", boot.cases.len()),
            (failed, None) => failed.join("\n"),
        };
        let kernel = boot.kernel.to_string();
        table.add_row([trial.name.clone(), boot.machine.clone(), kernel, failed]);
    }
    table
}

/// Says what is not as it must be: a case that saw no fault, or one that fails without any.
fn wrong(trial: &Trial, boot: &Booted) -> Vec<String> {
    let place = format!("{} on {}, kernel {}", trial.name, boot.machine, boot.kernel);
    let log = boot.log.display();
    let mut wrong = Vec::new();
    if let Some(trouble) = &boot.trouble {
        wrong.push(format!("BROKEN: {place}: {trouble}; its log: {log}"));
    }
    for name in trial.cases.get(&boot.machine).into_iter().flatten() {
        let case = boot.cases.iter().find(|case| case.name == *name);
        let about = &trial.about;
        match case.map(|case| &case.outcome) {
            Some(Outcome::Failed { .. }) if !trial.is_control => {}
            Some(Outcome::Passed) if trial.is_control => {}
            Some(Outcome::Failed { reason }) => {
                wrong.push(format!("FAILED without a fault: {place}: {name}: {reason}"));
            }
            Some(Outcome::Passed) => {
                wrong.push(format!("NOT CAUGHT: {place}: {name} passes although {about}"));
            }
            Some(Outcome::Skipped { reason }) => {
                wrong.push(format!("NOT RUN: {place}: {name}: {reason}"));
            }
            None => wrong.push(format!("NOT RUN: {place}: {name}")),
        }
    }
    wrong
}
