//! One boot: from an archive and a kernel to what the guest found.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use firsttouch_guest::machine::Machine;
use firsttouch_guest::protocol::{Message, Outcome};

use super::kernel::Kernel;
use super::qemu_arguments::qemu_arguments;

/// What every kernel is told, none of which has to do with nodes.
const KERNEL_ARGUMENTS: &[&str] = &[
    // A panic ends the guest. One comes of the host's question where a guest hangs, too, and says
    // what every task, timer and CPU is doing.
    "panic=-1",
    "unknown_nmi_panic",
    "panic_print=0x45",
    // Many emulated CPUs share few real ones: what the kernel measures by waiting would be wrong
    // where it succeeds at all, so it is told.
    "lpj=4000000",
    "no_timer_check",
    "tsc=reliable",
    "random.trust_cpu=on",
    // What takes time at boot and nobody needs here.
    "cryptomgr.notests",
    "mitigations=off",
    "audit=0",
    // No security module looks at what cases do, and refusals are seccomp's or the library's own.
    "lsm=",
    // Memory is cleared where a process gets it, and not a second time where the kernel takes it.
    "init_on_alloc=0",
    // Repeated string instructions, which the kernel counts on with this vendor, are emulated step
    // by step; plain loops are not. The number is that of the kernel's `X86_FEATURE_REP_GOOD`.
    "clearcpuid=112",
];

/// What is to be booted.
#[derive(Debug)]
pub(crate) struct Boot {
    /// The machine.
    pub(crate) machine: Machine,
    /// The kernel's version.
    pub(crate) kernel: Kernel,
    /// The kernel's image.
    pub(crate) image: PathBuf,
    /// The archive with the guest's files.
    pub(crate) initramfs: PathBuf,
    /// Where the guest's console is kept.
    pub(crate) log: PathBuf,
}

/// What came of a boot.
#[derive(Debug)]
pub(crate) struct Booted {
    /// The machine's name.
    pub(crate) machine: String,
    /// The kernel it ran.
    pub(crate) kernel: Kernel,
    /// The cases it ran, in order.
    pub(crate) cases: Vec<CaseResult>,
    /// How long the whole boot took on the host.
    pub(crate) took: Duration,
    /// Why the guest did not come to its end, where it did not.
    pub(crate) trouble: Option<String>,
    /// The guest's console.
    pub(crate) log: PathBuf,
}

/// How one case ended on one machine.
#[derive(Debug)]
pub(crate) struct CaseResult {
    /// The case's name.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How long it took by the guest's clock.
    pub(crate) took: Duration,
}

impl Booted {
    /// Returns whether nothing failed.
    pub(crate) fn is_good(&self) -> bool {
        let failed = |case: &CaseResult| matches!(case.outcome, Outcome::Failed { .. });
        self.trouble.is_none() && !self.cases.iter().any(failed)
    }
}

impl Boot {
    /// Runs the guest to its end, or kills it when `limit` has passed.
    pub(crate) fn run(&self, mut emulator: Command, limit: Duration) -> anyhow::Result<Booted> {
        let errors = self.log.with_extension("qemu");
        emulator.args(self.arguments("console=ttyS0")).arg("-serial");
        emulator.arg(format!("file:{}", self.log.display())).args(["-serial", "mon:stdio"]);
        emulator.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let start = Instant::now();
        let mut guest = Guest(emulator.spawn().context("cannot start QEMU")?);
        let lines = guest.0.stdout.take().map(read_lines).context("QEMU has no output")?;
        let mut run = Run::default();
        if run.listen(&lines, start + limit, limit) == Heard::TooLittle {
            guest.say_where();
        }
        drop(guest);
        if !run.booted {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            run.trouble = Some(format!("{}. {}", run.trouble.unwrap_or_default(), said.trim()));
        }
        Ok(Booted {
            machine: self.machine.name.clone(),
            kernel: self.kernel,
            cases: run.cases,
            took: start.elapsed(),
            trouble: run.trouble,
            log: self.log.clone(),
        })
    }

    /// Gives the guest's console to the person at the terminal, until the guest is powered off.
    pub(crate) fn run_shell(&self, mut emulator: Command) -> anyhow::Result<()> {
        emulator.args(self.arguments("console=ttyS0 quiet")).args(["-serial", "mon:stdio"]);
        emulator.status().context("cannot start QEMU")?;
        Ok(())
    }

    fn arguments(&self, console: &str) -> Vec<String> {
        let mut arguments = qemu_arguments(&self.machine);
        let words = KERNEL_ARGUMENTS.iter().map(|&word| word.to_owned());
        let mut words: Vec<_> = words.chain([console.to_owned()]).collect();
        words.extend(self.machine.command_line());
        arguments.extend(["-kernel".to_owned(), self.image.display().to_string()]);
        arguments.extend(["-initrd".to_owned(), self.initramfs.display().to_string()]);
        arguments.extend(["-append".to_owned(), words.join(" ")]);
        arguments
    }
}

/// The emulator's process, which does not outlive this value.
#[derive(Debug)]
struct Guest(Child);

impl Guest {
    /// Has the kernel say on the console what everything is doing, and end; waits until it has.
    ///
    /// This reaches a guest of which no task runs any more.
    fn say_where(&mut self) {
        // The first two bytes turn from the guest's line to QEMU's monitor.
        let asked = self.0.stdin.as_mut().map(|monitor| monitor.write_all(b"\x01cnmi\n"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while asked.is_some() && Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Either fails only where the process is gone already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a guest has come to an end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum Heard {
    /// It is done or gone.
    All,
    /// It was not in time.
    TooLittle,
}

/// What has been heard of a guest so far.
#[derive(Debug, Default)]
struct Run {
    booted: bool,
    done: bool,
    running: Option<String>,
    cases: Vec<CaseResult>,
    trouble: Option<String>,
}

impl Run {
    /// Listens until the guest is done, gone or late.
    fn listen(&mut self, lines: &Receiver<String>, deadline: Instant, limit: Duration) -> Heard {
        let mut heard = Heard::All;
        while !self.done && self.trouble.is_none() {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.hear(&line),
                Err(RecvTimeoutError::Timeout) => {
                    self.trouble = Some(format!("the guest was not done after {limit:.0?}"));
                    heard = Heard::TooLittle;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.trouble = Some("the guest ended before it was done".to_owned());
                }
            }
        }
        if let Some(name) = self.running.take() {
            let reason = self.trouble.clone().unwrap_or_default();
            self.cases.push(CaseResult {
                name,
                outcome: Outcome::Failed { reason },
                took: Duration::ZERO,
            });
        }
        heard
    }

    fn hear(&mut self, line: &str) {
        match serde_json::from_str(line.trim()) {
            Ok(Message::Booted { .. }) => self.booted = true,
            Ok(Message::Started { case }) => self.running = Some(case),
            Ok(Message::Finished { case, outcome, ms }) => {
                self.running = None;
                let took = Duration::from_millis(ms);
                self.cases.push(CaseResult { name: case, outcome, took });
            }
            Ok(Message::Done) => self.done = true,
            Ok(Message::Broken { reason }) => self.trouble = Some(reason),
            Err(error) => {
                self.trouble =
                    Some(format!("the guest said {line:?}, which is no message: {error}"));
            }
        }
    }
}

fn read_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
