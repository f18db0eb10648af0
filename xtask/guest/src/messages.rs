//! The line to the host.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use anyhow::Context as _;
use firsttouch_guest::protocol::{MESSAGES_PATH, Message};

/// Says things to the host.
#[derive(Debug)]
pub(crate) struct Messages {
    line: File,
}

impl Messages {
    /// Opens the line.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let line = OpenOptions::new().write(true).open(MESSAGES_PATH);
        Ok(Self { line: line.with_context(|| format!("cannot open {MESSAGES_PATH}"))? })
    }

    /// Says one thing.
    pub(crate) fn say(&mut self, message: &Message) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(message)?;
        text.push('\n');
        self.line.write_all(text.as_bytes()).context("cannot write to the host")
    }
}
