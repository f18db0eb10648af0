//! The table of cases and machines, and what failed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{Table, presets};
use firsttouch_guest::protocol::Outcome;

use super::boot::{Booted, CaseResult};
use super::kernel::Kernel;

/// Draws one table for each kernel, and under it what failed and what was skipped.
pub(crate) fn report(boots: &[Booted]) -> String {
    let mut text = String::new();
    for kernel in Kernel::ALL {
        let boots: Vec<_> = boots.iter().filter(|boot| boot.kernel == kernel).collect();
        if !boots.is_empty() {
            text += &format!("kernel {kernel}\n{}\n", table(&boots));
        }
    }
    text + &skips(boots) + &failures(boots)
}

fn table(boots: &[&Booted]) -> Table {
    let mut names: Vec<&str> = Vec::new();
    for case in boots.iter().flat_map(|boot| &boot.cases) {
        if !names.contains(&case.name.as_str()) {
            names.push(&case.name);
        }
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let machines = boots.iter().map(|boot| boot.machine.clone());
    table.set_header(std::iter::once("case".to_owned()).chain(machines));
    for name in names {
        let cells = boots.iter().map(|boot| {
            let case = boot.cases.iter().find(|case| case.name == name);
            case.map_or_else(String::new, cell)
        });
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    }
    let whole = boots.iter().map(|boot| match boot.trouble {
        None => seconds(boot.took),
        Some(_) => "BROKEN".to_owned(),
    });
    table.add_row(std::iter::once("(whole boot, on the host)".to_owned()).chain(whole));
    table
}

fn cell(case: &CaseResult) -> String {
    match case.outcome {
        Outcome::Passed => seconds(case.took),
        Outcome::Failed { .. } => "FAILED".to_owned(),
        Outcome::Skipped { .. } => "-".to_owned(),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn skips(boots: &[Booted]) -> String {
    let mut places: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for boot in boots {
        for case in &boot.cases {
            if let Outcome::Skipped { reason } = &case.outcome {
                let place = format!("{} {}", boot.machine, boot.kernel);
                places.entry((&case.name, reason)).or_default().push(place);
            }
        }
    }
    let mut text = String::new();
    for ((case, reason), places) in places {
        let _ = writeln!(text, "skipped: {case}: {reason} ({})", places.join(", "));
    }
    text
}

fn failures(boots: &[Booted]) -> String {
    let mut text = String::new();
    for boot in boots.iter().filter(|boot| !boot.is_good()) {
        let _ = writeln!(text, "\nFAILED: {}, kernel {}", boot.machine, boot.kernel);
        for case in &boot.cases {
            if let Outcome::Failed { reason } = &case.outcome {
                let _ = writeln!(text, "  {}: {}", case.name, reason.replace('\n', "\n    "));
            }
        }
        if let Some(trouble) = &boot.trouble {
            let _ = writeln!(text, "  {trouble}");
        }
        let _ = writeln!(text, "  its log: {}", boot.log.display());
    }
    text
}
