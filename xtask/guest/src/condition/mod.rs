//! Conditions that cases are checked under.

use crate::sysfs;

/// One thing that holds while a case is checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// When the kernel uses transparent huge pages: `always`, `madvise` or `never`.
    TransparentHugePages(&'static str),
}

/// Something changed for a case, which dropping this undoes.
pub(crate) struct Held {
    undo: Option<Box<dyn FnOnce() -> anyhow::Result<()>>>,
}

impl Held {
    fn nothing() -> Self {
        Self { undo: None }
    }

    fn until(undo: impl FnOnce() -> anyhow::Result<()> + 'static) -> Self {
        Self { undo: Some(Box::new(undo)) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            if let Err(error) = undo() {
                crate::say(&format!("what a case was given cannot be undone: {error:#}"));
            }
        }
    }
}

impl Condition {
    /// Brings the machine into this state, as the first process.
    pub(crate) fn prepare(&self) -> anyhow::Result<Held> {
        match self {
            Self::TransparentHugePages(mode) => {
                const PATH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
                let before = sysfs::chosen(PATH)?;
                sysfs::write(PATH, mode)?;
                Ok(Held::until(move || sysfs::write(PATH, before)))
            }
        }
    }

    /// Brings this process into this state, which its children inherit.
    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        match self {
            Self::TransparentHugePages(_) => Ok(()),
        }
    }
}
