//! Something changed for a case.

use std::fmt;

/// Something changed for a case, which dropping this undoes.
#[must_use = "dropping it undoes what was changed"]
pub(crate) struct Held {
    undo: Option<Box<dyn FnOnce() -> anyhow::Result<()>>>,
}

impl Held {
    /// Nothing was changed.
    pub(super) fn nothing() -> Self {
        Self { undo: None }
    }

    /// Something was changed, and this undoes it.
    pub(super) fn until(undo: impl FnOnce() -> anyhow::Result<()> + 'static) -> Self {
        Self { undo: Some(Box::new(undo)) }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.undo.take().map(|undo| undo()) {
            // The cases after it would stand on ground they do not know.
            crate::say(&format!("what a case was given cannot be undone: {error:#}"));
            crate::first_process::give_up(&error);
        }
    }
}
