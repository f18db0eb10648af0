//! What every boot needs, and the boots themselves.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::{REQUEST_PATH, Request, Task};

use super::boot::{Boot, Booted};
use super::cache::Cache;
use super::debian::{self, Suite};
use super::emulator::Emulator;
use super::guest_program;
use super::initramfs::Initramfs;
use super::kernel::Kernel;

/// An emulator, kernels and the guest's program, ready to boot.
#[derive(Debug)]
pub(crate) struct Lab {
    cache: Cache,
    mirror: Option<String>,
    emulator: Emulator,
    kernels: Vec<(Kernel, PathBuf)>,
    guest: Vec<u8>,
    limit: Duration,
}

impl Lab {
    /// Fetches what is missing and builds the guest's program.
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
        let program = guest_program::build(&cache)?;
        let guest =
            fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        let mirror = mirror.map(str::to_owned);
        Ok(Self { cache, mirror, emulator, kernels, guest, limit })
    }

    /// Boots each machine with each kernel and runs the cases there, `jobs` boots at once.
    pub(crate) fn run_all(
        &self,
        machines: &[Machine],
        filter: &[String],
        jobs: usize,
    ) -> anyhow::Result<Vec<Booted>> {
        let mut pairs: Vec<_> = self
            .kernels
            .iter()
            .flat_map(|kernel| machines.iter().map(move |machine| (kernel.0, machine)))
            .collect();
        pairs.sort_by_key(|(_, machine)| machine.cpu_count());
        let pairs = Mutex::new(VecDeque::from(pairs));
        let booted = Mutex::new(Vec::new());
        // One at a time takes the largest that is left and the others the smallest: two machines
        // with far more CPUs than this one has would starve each other.
        let take = |largest: bool| {
            let mut pairs = pairs.lock().expect("no boot panics");
            if largest { pairs.pop_back() } else { pairs.pop_front() }
        };
        let work = |largest: bool| {
            while let Some((kernel, machine)) = take(largest) {
                let task = Task::Cases(filter.to_vec());
                let result = self.boot(machine.clone(), kernel, task);
                let result = result.and_then(|boot| boot.run(self.emulator.command(), self.limit));
                booted.lock().expect("no boot panics").push((kernel, machine, result));
            }
        };
        thread::scope(|scope| {
            for job in 0..jobs {
                scope.spawn(move || work(job == 0));
            }
        });
        let mut booted = booted.into_inner().expect("no boot panics");
        let place = |of: &Machine| machines.iter().position(|m| m.name == of.name);
        booted.sort_by_key(|(kernel, machine, _)| (place(machine), kernel.to_string()));
        booted.into_iter().map(|(_, _, result)| result).collect()
    }

    /// Gives a person a shell on a machine.
    pub(crate) fn shell(&self, machine: Machine, kernel: Kernel) -> anyhow::Result<()> {
        let boot = self.boot(machine, kernel, Task::Shell)?;
        boot.run_shell(self.emulator.command())
    }

    /// Puts together what one guest needs.
    fn boot(&self, machine: Machine, kernel: Kernel, task: Task) -> anyhow::Result<Boot> {
        let known = self.kernels.iter().find(|(version, _)| *version == kernel);
        let image =
            known.map(|(_, image)| image.clone()).context("the kernel was not asked for")?;
        let mut archive = Initramfs::default();
        for folder in ["dev", "proc", "sys", "tmp"] {
            archive.folder(folder);
        }
        archive.file("init", 0o755, &self.guest);
        if task == Task::Shell {
            self.add_busybox(&mut archive)?;
        }
        let request = Request { machine, task };
        archive.file(REQUEST_PATH, 0o644, &serde_json::to_vec(&request)?);
        let name = format!("{}-{kernel}", request.machine.name);
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
        archive.folder("bin");
        archive.copy(program.context("Debian's busybox-static holds no busybox")?, "bin/busybox")
    }
}
