//! Operating-system numbers of CPUs and nodes, as types.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// Wraps the number the operating system uses.
            #[must_use]
            pub const fn new(os_index: u32) -> Self {
                Self(os_index)
            }

            /// Returns the number the operating system uses.
            #[must_use]
            pub const fn os_index(self) -> u32 {
                self.0
            }
        }

        impl From<u32> for $name {
            fn from(os_index: u32) -> Self {
                Self(os_index)
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id! {
    /// The operating system's number of a NUMA node.
    ///
    /// Node numbers may have gaps: nodes 0 and 8 can be the only two. A
    /// `NodeId` is never an index into a table.
    NodeId
}

id! {
    /// The operating system's number of a CPU: one hardware thread.
    ///
    /// CPU numbers may have gaps, and neighbours in number need not be
    /// neighbours in the machine. A `CpuId` is never an index into a table.
    CpuId
}
