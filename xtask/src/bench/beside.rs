//! What the suites that compare runtimes have in common: which to measure, and how the run is shown.

use std::num::NonZeroUsize;

use anyhow::bail;
use firsttouch_benches::comparison::{Comparison, Outcome};
use firsttouch_benches::runtime::Known;
use indicatif::{ProgressBar, ProgressStyle};

/// Reads a count; the standard refusal of 0 speaks of types.
pub(super) fn threads(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "at least 1 thread is needed, and a whole number of them")
}

/// The numbers of threads that were asked for, or 1, 2, 4 and so on up to all CPUs.
pub(super) fn threads_to_measure(
    asked: &[NonZeroUsize],
    cpus: NonZeroUsize,
) -> anyhow::Result<Vec<NonZeroUsize>> {
    let mut threads = asked.to_vec();
    if threads.is_empty() {
        let doubled = |n: &NonZeroUsize| n.checked_mul(NonZeroUsize::MIN.saturating_add(1));
        let powers = std::iter::successors(Some(NonZeroUsize::MIN), doubled);
        threads.extend(powers.take_while(|&n| n < cpus));
        threads.push(cpus);
    }
    threads.sort_unstable();
    threads.dedup();
    if let Some(&most) = threads.last().filter(|&&most| most > cpus) {
        bail!(
            "--threads {most}: {cpus} can run at once here; more would measure the kernel's turns"
        );
    }
    Ok(threads)
}

/// The runtimes to measure, and those that are left out with a word.
pub(super) type RuntimesToMeasure = (Vec<Known>, Vec<Known>);

/// A runtime that was asked for must be there; one that was not is left out with a word.
///
/// `always` is measured whatever was asked for.
pub(super) fn runtimes_to_measure(
    asked: &[String],
    always: &[&str],
    known: &[Known],
) -> anyhow::Result<RuntimesToMeasure> {
    for name in asked {
        let Some(found) = known.iter().find(|known| known.name == *name) else {
            let names: Vec<_> = known.iter().map(|known| known.name.as_str()).collect();
            bail!("there is no runtime {name:?}; the runtimes are {}", names.join(", "));
        };
        if let Some(needs) = &found.needs {
            bail!("{name} is not to be had: it needs {needs}");
        }
    }
    let wanted = known.iter().filter(|known| {
        asked.is_empty() || asked.contains(&known.name) || always.contains(&known.name.as_str())
    });
    Ok(wanted.cloned().partition(|known| known.needs.is_none()))
}

/// Names and versions, as a comparison keeps them.
pub(super) fn names_and_versions(runtimes: &[Known]) -> Vec<(String, Option<String>)> {
    runtimes.iter().map(|known| (known.name.clone(), known.version.clone())).collect()
}

pub(super) fn measure(comparison: &Comparison) -> anyhow::Result<Outcome> {
    // Draws on standard error, and nothing at all where that is no terminal.
    let bar = ProgressBar::new(comparison.measurements() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}")?);
    let mut started = 0;
    let outcome = comparison.run(|next| {
        bar.set_position(started);
        bar.set_message(next.to_owned());
        // Drawn here and not by a thread: nothing but the measurement runs meanwhile.
        bar.tick();
        started += 1;
    });
    bar.finish_and_clear();
    outcome
}

/// The lines of a header: each runtime that is measured, and each that is left out.
pub(super) fn runtime_facts(runtimes: &[Known], left_out: &[Known]) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for Known { name, version, does, .. } in runtimes {
        let does = does.as_ref().map_or_else(String::new, |does| format!(": {does}"));
        facts.push(("runtime", format!("{name} {}{does}", version.as_deref().unwrap_or_default())));
    }
    for Known { name, needs, .. } in left_out {
        facts.push(("left out", format!("{name}: needs {}", needs.as_deref().unwrap_or_default())));
    }
    facts
}

#[expect(clippy::print_stdout, reason = "a command's answer goes to standard output")]
pub(super) fn print_facts(facts: &[(&'static str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        println!("{name:width$}  {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).expect("a test asks for something")
    }

    #[test]
    fn threads_double_up_to_all_cpus() {
        let default = |cpus| {
            let threads = threads_to_measure(&[], count(cpus)).expect("nothing was asked");
            threads.into_iter().map(NonZeroUsize::get).collect::<Vec<_>>()
        };
        assert_eq!(default(1), [1]);
        assert_eq!(default(2), [1, 2]);
        assert_eq!(default(6), [1, 2, 4, 6]);
        assert_eq!(default(8), [1, 2, 4, 8]);
        let asked = threads_to_measure(&[count(2), count(1), count(2)], count(4));
        assert_eq!(asked.expect("there are as many"), [count(1), count(2)]);
        let error = threads_to_measure(&[count(5)], count(4)).expect_err("there are fewer");
        assert!(error.to_string().contains("4 can run at once"), "{error}");
    }

    #[test]
    fn runtimes_that_are_missing_are_refused_when_asked_for_and_left_out_when_not() {
        let known = |name: &str, needs: Option<&str>| Known {
            name: name.to_owned(),
            version: Some("1".to_owned()),
            needs: needs.map(str::to_owned),
            does: None,
        };
        let all = [known("firsttouch", None), known("onetbb", Some("oneTBB"))];
        let (there, left_out) = runtimes_to_measure(&[], &[], &all).expect("nothing was asked");
        assert_eq!(there, [all[0].clone()]);
        assert_eq!(left_out, [all[1].clone()]);
        let refusal = |name: &str| {
            let error =
                runtimes_to_measure(&[name.to_owned()], &[], &all).expect_err("it is not there");
            error.to_string()
        };
        assert_eq!(refusal("onetbb"), "onetbb is not to be had: it needs oneTBB");
        assert!(refusal("slow").contains("the runtimes are firsttouch, onetbb"));
    }
}
