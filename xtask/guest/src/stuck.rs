//! Where the threads of a case that hangs are.

use std::fs;
use std::path::Path;

use crate::say;

/// Says on the console where each thread of every other process is, and what its CPU has done so far.
pub(crate) fn say_where() {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        // Threads of the kernel have no program; the first process is this one.
        let program = fs::read_link(process.path().join("exe"));
        let own = process.path() == Path::new("/proc/1");
        let Ok(tasks) = fs::read_dir(process.path().join("task")) else { continue };
        if program.is_err() || own {
            continue;
        }
        for task in tasks.flatten() {
            say_thread(&task.path());
        }
    }
}

fn say_thread(task: &Path) {
    say(&format!("stuck: {}", task.display()));
    for file in ["comm", "status", "syscall", "stack"] {
        let text = fs::read_to_string(task.join(file)).unwrap_or_default();
        let wanted = ["State", "Cpus_allowed_list", "Mems_allowed_list", "voluntary", "nonvol"];
        for line in text.lines() {
            if file != "status" || wanted.iter().any(|start| line.starts_with(start)) {
                say(&format!("  {line}"));
            }
        }
    }
}
