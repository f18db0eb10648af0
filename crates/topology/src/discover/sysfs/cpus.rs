//! Online CPUs, and which of them share a core and a package.

use std::collections::BTreeMap;

use super::Reader;
use super::parse;
use crate::{CpuId, CpuSet, Package};

const CPUS: &str = "sys/devices/system/cpu";

/// Reads the online CPUs from the first place that names any.
pub(super) fn online(reader: &mut Reader) -> CpuSet {
    let listed = reader.value(&format!("{CPUS}/online"), parse::list).unwrap_or_default();
    if !listed.is_empty() {
        return listed;
    }
    let mut present = CpuSet::new();
    for cpu in reader.numbered(CPUS, "cpu") {
        // A CPU that cannot be taken offline has no such file.
        if reader.text(&format!("{CPUS}/cpu{cpu}/online")).is_none_or(|text| text.trim() != "0") {
            present.insert(CpuId::new(cpu));
        }
    }
    let assumed = |source: &str| format!("the online CPUs are those of {source}");
    let what = format!("/{CPUS}/online names no CPU");
    if !present.is_empty() {
        reader.note(what, assumed("the folders beside it"));
        return present;
    }
    let counted: CpuSet =
        reader.text("proc/stat").map_or_else(CpuSet::new, |text| parse::stat_cpus(&text));
    if !counted.is_empty() {
        reader.note(what, assumed("/proc/stat"));
        return counted;
    }
    let known: CpuSet =
        cpuinfo(reader).into_iter().map(|info| CpuId::new(info.processor)).collect();
    if !known.is_empty() {
        reader.note(what, assumed("/proc/cpuinfo"));
    }
    known
}

/// Which CPUs belong together.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    pub(super) cores: Vec<CpuSet>,
    pub(super) packages: Vec<Package>,
}

/// Reads cores and packages; CPUs of which nothing is told are in none.
pub(super) fn grouping(reader: &mut Reader, online: &CpuSet) -> Grouping {
    let mut grouping = Grouping::default();
    let mut in_core = CpuSet::new();
    let mut in_package = CpuSet::new();
    let mut by_number: BTreeMap<u32, CpuSet> = BTreeMap::new();
    for cpu in online.iter() {
        // One CPU's file speaks for all it names, which spares large machines most of the files.
        if !in_core.contains(cpu) {
            // The first name is that of newer kernels.
            let core = siblings(reader, cpu, &["core_cpus", "thread_siblings"]);
            if let Some(core) = core {
                in_core = in_core.union(&core);
                grouping.cores.push(core);
            }
        }
        if !in_package.contains(cpu) {
            let file = format!("{CPUS}/cpu{cpu}/topology/physical_package_id");
            // The kernel writes -1 where the firmware does not number packages.
            let id = reader.value(&file, |text| match text.trim() {
                "-1" => Some(None),
                text => parse::number(text).map(Some),
            });
            let id = id.flatten();
            if let Some(cpus) = siblings(reader, cpu, &["package_cpus", "core_siblings"]) {
                in_package = in_package.union(&cpus);
                grouping.packages.push(Package { id, cpus });
            } else if let Some(id) = id {
                by_number.entry(id).or_default().insert(cpu);
            }
        }
    }
    grouping
        .packages
        .extend(by_number.into_iter().map(|(id, cpus)| Package { id: Some(id), cpus }));
    if grouping.cores.is_empty() && grouping.packages.is_empty() {
        grouping = grouping_of_cpuinfo(reader);
    }
    grouping
}

/// Reads a set of siblings in list or mask form, under the first name that gives one with the CPU in it.
fn siblings(reader: &mut Reader, cpu: CpuId, names: &[&str]) -> Option<CpuSet> {
    names.iter().find_map(|name| {
        let folder = format!("{CPUS}/cpu{cpu}/topology");
        set(reader, &format!("{folder}/{name}_list"), &format!("{folder}/{name}"), cpu)
    })
}

/// Reads a set that holds `cpu` from a list file, or else from a mask file.
pub(super) fn set(reader: &mut Reader, list: &str, mask: &str, cpu: CpuId) -> Option<CpuSet> {
    let with_cpu = |set: CpuSet| set.contains(cpu).then_some(set);
    reader
        .value(list, |text| parse::list(text).and_then(with_cpu))
        .or_else(|| reader.value(mask, |text| parse::mask(text).and_then(with_cpu)))
}

/// Groups CPUs by the numbers that x86 kernels write into `/proc/cpuinfo`.
fn grouping_of_cpuinfo(reader: &mut Reader) -> Grouping {
    let mut cores: BTreeMap<(u32, u32), CpuSet> = BTreeMap::new();
    let mut packages: BTreeMap<u32, CpuSet> = BTreeMap::new();
    for info in cpuinfo(reader) {
        let cpu = CpuId::new(info.processor);
        let Some(package) = info.package else { continue };
        packages.entry(package).or_default().insert(cpu);
        if let Some(core) = info.core {
            cores.entry((package, core)).or_default().insert(cpu);
        }
    }
    Grouping {
        cores: cores.into_values().collect(),
        packages: packages.into_iter().map(|(id, cpus)| Package { id: Some(id), cpus }).collect(),
    }
}

fn cpuinfo(reader: &mut Reader) -> Vec<parse::CpuInfo> {
    reader.text("proc/cpuinfo").map_or_else(Vec::new, |text| parse::cpuinfo(&text))
}
