//! What every boot needs, and the boots themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::{COMMANDS_PATH, REQUEST_PATH, Request, Task};

use super::boot::{Boot, Booted};
use super::cache::Cache;
use super::debian::{self, Suite};
use super::emulator::Emulator;
use super::guest_program::{self, COMMANDS, GUEST};
use super::hwloc;
use super::initramfs::Initramfs;
use super::kernel::Kernel;
use crate::workspace;

/// An emulator, kernels and what guests find in their archive, ready to boot.
#[derive(Debug)]
pub(crate) struct Lab {
    cache: Cache,
    mirror: Option<String>,
    emulator: Emulator,
    kernels: Vec<(Kernel, PathBuf)>,
    limit: Duration,
}

/// What a guest finds in its archive besides what it is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// What distinguishes its boots' logs from others'; nothing, where it is the project as it is.
    label: Option<String>,
    archive: Initramfs,
}

/// One boot that is asked for.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) kernel: Kernel,
    pub(crate) content: &'a Content,
    /// Texts that the names of the cases to run contain; every case, where there is none.
    pub(crate) filter: &'a [String],
}

impl Lab {
    /// Fetches what is missing.
    pub(crate) fn open(
        kernels: &[Kernel],
        mirror: Option<&str>,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        ensure!(
            cfg!(all(target_arch = "x86_64", target_os = "linux")),
            "the lab boots x86-64 guests and builds their program here: it needs an x86-64 Linux machine"
        );
        let cache = Cache::open()?;
        let emulator = Emulator::find(&cache, mirror)?;
        let image = |&kernel: &Kernel| Ok((kernel, kernel.image(&cache, mirror)?));
        let kernels = kernels.iter().map(image).collect::<anyhow::Result<_>>()?;
        let mirror = mirror.map(str::to_owned);
        Ok(Self { cache, mirror, emulator, kernels, limit })
    }

    /// Returns the kernels that can be booted.
    pub(crate) fn kernels(&self) -> impl Iterator<Item = Kernel> + '_ {
        self.kernels.iter().map(|&(kernel, _)| kernel)
    }

    /// Returns where the lab keeps what it makes.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Builds the project as it is, with all that its cases use.
    pub(crate) fn content(&self) -> anyhow::Result<Content> {
        let programs =
            guest_program::build(workspace::root(), &self.cache.build(), &[GUEST, COMMANDS])?;
        let mut content = Content::new(None, &programs)?;
        content.archive.copy(&programs.join(COMMANDS), COMMANDS_PATH)?;
        let suite = Suite::new(&self.cache, debian::TOOLS, self.mirror.clone());
        hwloc::add(&mut content.archive, &suite).context("hwloc cannot be had for the guest")?;
        Ok(content)
    }

    /// Boots what is asked for, `jobs` boots at once, and returns what came of each, in order.
    pub(crate) fn run_all(&self, orders: &[Order<'_>], jobs: usize) -> anyhow::Result<Vec<Booted>> {
        let mut queue: Vec<usize> = (0..orders.len()).collect();
        queue.sort_by_key(|&index| orders[index].machine.cpu_count());
        let queue = Mutex::new(std::collections::VecDeque::from(queue));
        let booted = Mutex::new(Vec::new());
        // One at a time takes the largest that is left and the others the smallest: two machines
        // with far more CPUs than this one has would starve each other.
        let take = |largest: bool| {
            let mut queue = queue.lock().expect("no boot panics");
            if largest { queue.pop_back() } else { queue.pop_front() }
        };
        let work = |largest: bool| {
            while let Some(index) = take(largest) {
                let Order { machine, kernel, content, filter } = &orders[index];
                let task = Task::Cases(filter.to_vec());
                let result = self.boot((*machine).clone(), *kernel, content, task);
                let result = result.and_then(|boot| boot.run(self.emulator.command(), self.limit));
                booted.lock().expect("no boot panics").push((index, result));
            }
        };
        thread::scope(|scope| {
            for job in 0..jobs {
                scope.spawn(move || work(job == 0));
            }
        });
        let mut booted = booted.into_inner().expect("no boot panics");
        booted.sort_by_key(|&(index, _)| index);
        booted.into_iter().map(|(_, result)| result).collect()
    }

    /// Gives a person a shell on a machine.
    pub(crate) fn shell(
        &self,
        machine: Machine,
        kernel: Kernel,
        content: &Content,
    ) -> anyhow::Result<()> {
        let mut content = content.clone();
        self.add_busybox(&mut content.archive)?;
        let boot = self.boot(machine, kernel, &content, Task::Shell)?;
        boot.run_shell(self.emulator.command())
    }

    /// Puts together what one guest needs.
    fn boot(
        &self,
        machine: Machine,
        kernel: Kernel,
        content: &Content,
        task: Task,
    ) -> anyhow::Result<Boot> {
        let known = self.kernels.iter().find(|(version, _)| *version == kernel);
        let image =
            known.map(|(_, image)| image.clone()).context("the kernel was not asked for")?;
        let request = Request { machine, task };
        let mut archive = content.archive.clone();
        archive.file(REQUEST_PATH, 0o644, &serde_json::to_vec(&request)?);
        let label = content.label.as_ref().map_or_else(String::new, |label| format!("{label}-"));
        let name = format!("{label}{}-{kernel}", request.machine.name);
        let initramfs = self.cache.boots()?.join(format!("{name}.cpio"));
        fs::write(&initramfs, archive.finish())
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let log = self.cache.logs()?.join(format!("{name}.log"));
        Ok(Boot { machine: request.machine, kernel, image, initramfs, log })
    }

    fn add_busybox(&self, archive: &mut Initramfs) -> anyhow::Result<()> {
        let suite = Suite::new(&self.cache, debian::TOOLS, self.mirror.clone());
        let folder = suite.unpack("busybox-static")?;
        let program = ["bin/busybox", "usr/bin/busybox"].map(|path| folder.join(path));
        let program = program.iter().find(|path| path.exists());
        archive.copy(program.context("Debian's busybox-static holds no busybox")?, "bin/busybox")
    }
}

impl Content {
    /// What a guest needs to run cases, from a folder of built programs.
    pub(crate) fn new(label: Option<&str>, programs: &Path) -> anyhow::Result<Self> {
        let mut archive = Initramfs::default();
        for folder in ["bin", "dev", "proc", "sys", "tmp"] {
            archive.folder(folder);
        }
        archive.copy(&programs.join(GUEST), "init")?;
        Ok(Self { label: label.map(str::to_owned), archive })
    }
}
