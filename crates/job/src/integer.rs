//! The integers a range can be counted in.

use std::fmt::{Debug, Display};
use std::ops::{Add, Div, Mul, Rem, Sub};

mod sealed {
    pub trait Sealed {}
}

/// An unsigned integer that a [`Plan`](crate::Plan) can count in: `u8` to `u128`, and `usize`.
///
/// Sealed: the arithmetic is proved for these and no others.
pub trait Unsigned:
    sealed::Sealed
    + Copy
    + Ord
    + Debug
    + Display
    + From<u8>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// The largest value of the type.
    const MAX: Self;

    /// Returns the sum, or `None` where the type cannot hold it.
    fn checked_add(self, other: Self) -> Option<Self>;

    /// Returns the difference, or `None` where it is less than 0.
    fn checked_sub(self, other: Self) -> Option<Self>;

    /// Returns the value in the widest type, for messages.
    fn to_u128(self) -> u128;

    /// Returns the value as a `usize`, or `usize::MAX` where that is less.
    fn saturating_to_usize(self) -> usize;
}

macro_rules! unsigned {
    ($($int:ty),*) => {$(
        impl sealed::Sealed for $int {}

        impl Unsigned for $int {
            const MAX: Self = <$int>::MAX;

            fn checked_add(self, other: Self) -> Option<Self> {
                <$int>::checked_add(self, other)
            }

            fn checked_sub(self, other: Self) -> Option<Self> {
                <$int>::checked_sub(self, other)
            }

            fn to_u128(self) -> u128 {
                self as u128
            }

            fn saturating_to_usize(self) -> usize {
                usize::try_from(self).unwrap_or(usize::MAX)
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128, usize);
