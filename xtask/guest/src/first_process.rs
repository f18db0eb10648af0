//! What the first process does: mount, run what was asked for, power off.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use firsttouch_guest::protocol::{Message, REQUEST_PATH, Request, Task};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

use crate::messages::Messages;
use crate::{runner, say, shell};

/// Does what was asked for and powers the machine off, whatever happens on the way.
pub(crate) fn run() -> ! {
    if let Err(error) = serve() {
        say(&format!("{error:#}"));
    }
    power_off()
}

/// Tells the host that the guest cannot go on, and powers the machine off.
pub(crate) fn give_up(error: &anyhow::Error) -> ! {
    let broken = Message::Broken { reason: format!("{error:#}") };
    if let Err(error) = Messages::open().and_then(|mut messages| messages.say(&broken)) {
        say(&format!("{error:#}"));
    }
    power_off()
}

fn power_off() -> ! {
    let refused = reboot(RebootCommand::PowerOff);
    say(&format!("the machine cannot be powered off: {refused:?}"));
    std::process::exit(1)
}

fn serve() -> anyhow::Result<()> {
    mount_all()?;
    let request = fs::read(REQUEST_PATH).context("there is no request")?;
    let request: Request = serde_json::from_slice(&request).context("the request is none")?;
    if request.task == Task::Shell {
        return shell::run();
    }
    let mut messages = Messages::open()?;
    let Task::Cases(filter) = &request.task else { return Ok(()) };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    messages.say(&Message::Booted { kernel })?;
    match runner::run(&request.machine, filter, &mut messages) {
        Ok(()) => messages.say(&Message::Done),
        Err(error) => messages.say(&Message::Broken { reason: format!("{error:#}") }),
    }
}

fn mount_all() -> anyhow::Result<()> {
    let systems = [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/tmp"),
        ("cgroup2", "/sys/fs/cgroup"),
    ];
    for (system, place) in systems {
        if !Path::new(place).exists() {
            fs::create_dir(place).with_context(|| format!("cannot make {place}"))?;
        }
        mount(system, place, system, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {system} on {place}"))?;
    }
    Ok(())
}
