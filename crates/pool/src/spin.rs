//! Spinning: how long a thread looks for what it waits for before it sleeps.
//!
//! A sleeping thread costs whoever wakes it a system call, and itself the time
//! to come back: together some tens of microseconds. So a thread looks on for
//! about as long, and then sleeps: at worst it has waited twice what it had to.

use std::time::Duration;
#[cfg(not(any(loom, shuttle)))]
use std::time::Instant;

#[cfg(not(any(loom, shuttle)))]
use crate::sync::offer_cpu;

/// How long the pool's threads look before they sleep, unless the builder is told otherwise.
pub(crate) const DEFAULT: Duration = Duration::from_micros(100);

/// The share of the time in which the thread keeps its CPU; after that it offers it to others at each look.
///
/// Short, as the thread it waits for may be waiting for that very CPU.
#[cfg(not(any(loom, shuttle)))]
const KEEPS_CPU: u32 = 16;

/// Looks between two looks at the clock.
#[cfg(not(any(loom, shuttle)))]
const LOOKS_PER_CLOCK: u32 = 32;

/// How long the offer of a CPU takes, at least, where another thread accepts it.
///
/// Where none does it is one system call, some 0.6 microseconds as measured.
#[cfg(not(any(loom, shuttle)))]
const ACCEPTED: Duration = Duration::from_micros(3);

/// One wait's looks.
#[cfg(not(any(loom, shuttle)))]
#[derive(Debug)]
pub(crate) struct Spin {
    budget: Duration,
    began: Option<Instant>,
    looks: u32,
    yields: bool,
    shares_cpu: bool,
    /// Whether one look is all.
    is_once: bool,
}

#[cfg(not(any(loom, shuttle)))]
impl Spin {
    #[inline]
    pub(crate) fn new(budget: Duration) -> Self {
        Self { budget, began: None, looks: 0, yields: false, shares_cpu: false, is_once: false }
    }

    /// One look, for now; with so much time when it [begins again](Self::begin_again).
    pub(crate) fn once(budget: Duration) -> Self {
        Self { is_once: true, ..Self::new(budget) }
    }

    /// Begins with as much time again.
    pub(crate) fn begin_again(&mut self) {
        *self = Self::new(self.budget);
    }

    /// Pauses until the next look; returns whether there is time for one.
    #[inline]
    pub(crate) fn pause(&mut self) -> bool {
        self.looks = self.looks.wrapping_add(1);
        if self.looks % LOOKS_PER_CLOCK == 0 || self.yields {
            return self.look_at_clock();
        }
        std::hint::spin_loop();
        !self.is_single()
    }

    /// Whether it is the turn of what need not be looked at each time.
    #[inline]
    pub(crate) fn is_round(&self) -> bool {
        self.looks % 16 == 4 || self.is_single() || self.shares_cpu
    }

    #[inline]
    fn is_single(&self) -> bool {
        self.is_once || self.budget.is_zero()
    }

    /// Whether another thread had the CPU when it was offered, and it has not slept since.
    #[inline]
    pub(crate) fn shares_cpu(&self) -> bool {
        self.shares_cpu
    }

    /// Whether it has looked for so long that it offers the CPU at each look.
    pub(crate) fn offers_cpu(&self) -> bool {
        self.yields
    }

    /// Notes that the thread has slept: the kernel has found it a CPU.
    pub(crate) fn has_slept(&mut self) {
        self.shares_cpu = false;
    }

    #[inline(never)]
    fn look_at_clock(&mut self) -> bool {
        if self.shares_cpu || self.is_once {
            return false;
        }
        let now = Instant::now();
        let elapsed = now - *self.began.get_or_insert(now);
        self.yields |= elapsed >= self.budget / KEEPS_CPU;
        if self.yields {
            offer_cpu();
            self.shares_cpu = now.elapsed() >= ACCEPTED;
        }
        // What the other thread did may be what this one waits for, so there is another look.
        elapsed < self.budget
    }
}

/// One wait's looks in a model, which has no clock.
#[cfg(any(loom, shuttle))]
#[derive(Debug)]
pub(crate) struct Spin {
    looks: u32,
    budget: u32,
    left: u32,
}

#[cfg(any(loom, shuttle))]
impl Spin {
    /// loom tries every order of steps, so that a second look shows nothing new; shuttle tries some.
    const LOOKS: u32 = if cfg!(loom) { 0 } else { 3 };

    pub(crate) fn new(budget: Duration) -> Self {
        let budget = if budget.is_zero() { 0 } else { Self::LOOKS };
        Self { looks: 0, budget, left: budget }
    }

    pub(crate) fn once(budget: Duration) -> Self {
        Self { left: 0, ..Self::new(budget) }
    }

    pub(crate) fn begin_again(&mut self) {
        self.left = self.budget;
    }

    pub(crate) fn has_slept(&mut self) {}

    pub(crate) fn pause(&mut self) -> bool {
        // A scheduler with priorities would have the thread look for ever.
        #[cfg(shuttle)]
        crate::sync::thread::yield_now();
        self.looks += 1;
        let left = self.left;
        self.left = left.saturating_sub(1);
        left > 0
    }

    pub(crate) fn is_round(&self) -> bool {
        self.looks % 2 == 0
    }

    pub(crate) fn shares_cpu(&self) -> bool {
        false
    }

    pub(crate) fn offers_cpu(&self) -> bool {
        false
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    use firsttouch_topology::{CpuSet, affinity};

    use super::*;

    #[test]
    fn no_time_means_no_second_look() {
        assert!(!Spin::new(Duration::ZERO).pause());
    }

    #[test]
    fn looks_end_after_the_time_is_over() {
        let (began, budget) = (Instant::now(), Duration::from_millis(2));
        let mut spin = Spin::new(budget);
        while spin.pause() {}
        assert!(began.elapsed() >= budget || spin.shares_cpu());
    }

    #[test]
    fn a_thread_that_shares_its_cpu_looks_once_more_and_ends() {
        let here = CpuSet::from_iter([affinity::current_cpu()]);
        let keep = || affinity::set_current(&here).expect("one of this thread's CPUs");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                keep();
                while !over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            scope.spawn(|| {
                keep();
                // It would look for minutes.
                let mut spin = Spin::new(Duration::from_secs(600));
                spin.yields = true;
                while spin.pause() && !spin.shares_cpu() {}
                over.store(true, Relaxed);
                assert!(spin.shares_cpu());
                assert!(spin.is_round() && !spin.pause(), "it has looked once more");
            });
        });
    }
}
