//! `cargo xtask bench page-init`, the very command, on machines with several nodes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::COMMANDS_PATH;
use serde::Deserialize;

use crate::case::{Case, skip, without_balancing};

const RECORD: &str = "/tmp/page-init.json";

/// Base pages that each row initialises.
const PAGES: u64 = (32 << 20) / 4096;

pub(super) const CASES: &[Case] = &[Case {
    name: "bench_page_init_tells_each_nodes_pages_and_time",
    given: |machine| match (machine.seen().nodes_with_cpus().count(), machine.cpu_count()) {
        (0 | 1, _) => skip("there is one node only"),
        (_, 0..=8) => without_balancing([]),
        // Every share of a node's CPUs has a row.
        _ => skip("its many CPUs, emulated, take too long over each row"),
    },
    check: page_init,
}];

/// What is read of a record's row.
#[derive(Debug, Deserialize)]
struct Row {
    case: String,
    runtime: String,
    threads: usize,
    unit: String,
    median: f64,
    pages: Option<u64>,
    local_pages: Option<u64>,
}

impl Row {
    /// The node whose own row it is; `None` for a row of them all.
    fn node(&self) -> Option<usize> {
        self.case.rsplit_once("/node")?.1.parse().ok()
    }
}

fn page_init(machine: &Machine) -> anyhow::Result<()> {
    let output = Command::new(COMMANDS_PATH)
        .args(["bench", "page-init", "--size", "32MiB", "--pages", "base", "--reps", "1"])
        .args(["--only", "by-share"])
        .args(["--per-node", "--json", RECORD])
        .output()
        .with_context(|| format!("cannot run {COMMANDS_PATH}"))?;
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    crate::say(&said);
    ensure!(output.status.success(), "it failed ({}): {errors}", output.status);
    let rows: Vec<Row> = serde_json::from_str(&fs::read_to_string(RECORD)?)
        .context("the record is not an array of rows")?;
    let (serial, shares) = rows.split_first().context("there is no row")?;
    ensure!(serial.runtime == "serial" && serial.pages == Some(PAGES), "{serial:?}");
    let shares: Vec<&[Row]> = groups(shares);
    for share in &shares {
        check_share(&machine.seen(), share)?;
    }
    let all = shares.last().and_then(|share| share.first()).context("firsttouch has no row")?;
    let cpus = machine.online_cpus as usize;
    ensure!(all.threads == cpus, "the last row has {} threads of {cpus}", all.threads);
    check_tables(&said, &shares)
}

/// Cuts the rows before each that is of all nodes, which those of single nodes follow.
fn groups(rows: &[Row]) -> Vec<&[Row]> {
    let starts = rows.iter().enumerate().filter(|(_, row)| row.node().is_none());
    let starts: Vec<_> = starts.map(|(index, _)| index).chain([rows.len()]).collect();
    starts.windows(2).map(|pair| &rows[pair[0]..pair[1]]).collect()
}

/// Checks a row and those of its nodes: every page local, each node's share exact, no node slower than the whole.
fn check_share(machine: &Machine, share: &[Row]) -> anyhow::Result<()> {
    let (whole, parts) = share.split_first().context("a group has a first row")?;
    ensure!(whole.runtime == "firsttouch" && whole.unit == "ms", "{whole:?}");
    let all = Some(PAGES);
    ensure!(whole.pages == all && whole.local_pages == all, "of {PAGES} pages: {whole:?}");
    // A node takes part with as many of its CPUs as the row says, if it has them.
    let weights: BTreeMap<usize, u64> = machine
        .nodes_with_memory()
        .map(|node| (node, machine.online_cpus_of(node).count()))
        .filter(|&(_, cpus)| cpus > 0)
        .map(|(node, cpus)| (node, cpus.min(parts.first().map_or(0, |part| part.threads)) as u64))
        .collect();
    let nodes: Vec<usize> = parts.iter().filter_map(Row::node).collect();
    ensure!(nodes.iter().eq(weights.keys()), "rows for nodes {nodes:?}; they are {weights:?}");
    let total: u64 = weights.values().sum();
    let mut sum = 0;
    for part in parts {
        let node = part.node().unwrap_or_default();
        let pages = part.pages.with_context(|| format!("no pages: {part:?}"))?;
        sum += pages;
        // Parts end on a page.
        let exact = PAGES * weights[&node];
        ensure!((pages * total).abs_diff(exact) <= total, "{exact}/{total} pages: {part:?}");
        ensure!(
            part.median > 0.0 && part.median <= whole.median,
            "a node cannot take longer than all of them: {part:?} in {whole:?}"
        );
    }
    ensure!(sum == PAGES, "the nodes have {sum} pages of {PAGES}");
    Ok(())
}

/// Checks that the printed tables say what the record says.
fn check_tables(said: &str, shares: &[&[Row]]) -> anyhow::Result<()> {
    let lines = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Rows begin with a share and its threads; those of all nodes go on with what was saved.
    let is_share = |word: &str| word.strip_suffix('%').is_some_and(|n| n.parse::<u32>().is_ok());
    let is_row = |words: &Vec<&str>| words.len() > 5 && is_share(words[0]);
    let (whole, parts): (Vec<_>, Vec<_>) =
        lines.filter(is_row).partition(|words| words[2].ends_with('%'));
    ensure!(whole.len() == shares.len(), "{} rows in the table", whole.len());
    for (words, share) in whole.iter().zip(shares) {
        let time = format!("{:.1}", share[0].median);
        ensure!(words[3] == time && words.last() == Some(&"100.0"), "{words:?}; {:?}", share[0]);
    }
    let rows: Vec<_> = shares.iter().flat_map(|share| &share[1..]).collect();
    ensure!(parts.len() == rows.len(), "{} rows by node in the table", parts.len());
    for (words, row) in parts.iter().zip(rows) {
        let node = row.node().unwrap_or_default().to_string();
        let size = format!("{:.1}", row.pages.unwrap_or_default() as f64 / 256.0);
        let time = format!("{:.1}", row.median);
        ensure!(words[2..6] == [node.as_str(), &size, "MiB", &time], "{words:?}; {row:?}");
    }
    Ok(())
}
