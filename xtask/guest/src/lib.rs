//! What the host and the guest of an emulated machine tell each other.
//!
//! [`machine`] is the machine a file in `xtask/machines/` declares: the host
//! builds it, the guest checks itself against it. [`protocol`] is what goes
//! in at the start of a boot and what comes out of it.

pub mod machine;
pub mod protocol;
mod size;
