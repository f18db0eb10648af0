//! Runtimes behind sources of ours in C and C++: oneTBB and GOMP.

use std::ffi::{CStr, c_char, c_void};
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use anyhow::{Context, bail};

use super::{Fib, Item, Node, Runtime};

/// A library that may have been found when this was built.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) name: &'static str,
    /// What a machine lacks whose build left it out.
    pub(super) needs: &'static str,
    functions: Option<&'static Functions>,
}

pub(super) static ONETBB: Library = Library {
    name: "onetbb",
    needs: env!("FIRSTTOUCH_NEEDS_ONETBB"),
    #[cfg(has_onetbb)]
    functions: Some(&firsttouch_rival_onetbb),
    #[cfg(not(has_onetbb))]
    functions: None,
};

pub(super) static GOMP: Library = Library {
    name: "gomp",
    needs: env!("FIRSTTOUCH_NEEDS_GOMP"),
    #[cfg(has_gomp)]
    functions: Some(&firsttouch_rival_gomp),
    #[cfg(not(has_gomp))]
    functions: None,
};

// SAFETY: the tables are constants of the C sources with the layout of `Functions`: both are
// written after `benches/rivals/rival.h`.
unsafe extern "C" {
    #[cfg(has_onetbb)]
    safe static firsttouch_rival_onetbb: Functions;
    #[cfg(has_gomp)]
    safe static firsttouch_rival_gomp: Functions;
}

type ForeignItem = unsafe extern "C" fn(*const c_void, usize);
type ForeignValue = unsafe extern "C" fn(*const c_void, usize) -> f64;
type Each = unsafe extern "C" fn(*mut c_void, usize, ForeignItem, *const c_void);
type Once = unsafe extern "C" fn(*mut c_void, ForeignItem, *const c_void);

/// `struct rival` of `benches/rivals/rival.h`, which says what each function does.
///
/// Invariant: every function is that of the header, and keeps what it promises:
/// what was started has ended when it returns.
#[repr(C)]
#[derive(Debug)]
struct Functions {
    version: unsafe extern "C" fn() -> *const c_char,
    start: unsafe extern "C" fn(usize) -> *mut c_void,
    stop: unsafe extern "C" fn(*mut c_void),
    broadcast: Option<Once>,
    for_each: Each,
    sum: unsafe extern "C" fn(*mut c_void, usize, ForeignValue, *const c_void) -> f64,
    enter: Option<Once>,
    fib: unsafe extern "C" fn(*mut c_void, u32) -> u64,
    count: unsafe extern "C" fn(*mut c_void, ForeignNode) -> u64,
    spawn: Each,
    spawn_nested: unsafe extern "C" fn(*mut c_void, usize, usize, ForeignItem, *const c_void),
}

/// `struct tree_node` of `benches/rivals/tree.h`.
#[repr(C)]
struct ForeignNode {
    state: u64,
    generations: u32,
}

impl Library {
    /// Returns the library's version; `None` where this build left it out.
    pub(super) fn version(&self) -> Option<String> {
        let version = self.functions?.version;
        // SAFETY: it takes nothing, and returns a string that lives as long as the program.
        let version = unsafe { version() };
        // SAFETY: as above; C strings end in a zero.
        let version = unsafe { CStr::from_ptr(version) };
        Some(version.to_string_lossy().into_owned())
    }

    pub(super) fn start(&self, threads: NonZeroUsize) -> anyhow::Result<Foreign> {
        let Some(functions) = self.functions else {
            bail!("{} is not in this build: it needs {}", self.name, self.needs)
        };
        // SAFETY: it takes any number, and returns null where it fails.
        let runtime = unsafe { (functions.start)(threads.get()) };
        let runtime = NonNull::new(runtime).with_context(|| format!("{} fails", self.name))?;
        Ok(Foreign { functions, runtime })
    }
}

/// A runtime that was started.
#[derive(Debug)]
pub(super) struct Foreign {
    functions: &'static Functions,
    /// Invariant: it came from `start` of the same table, and `stop` was not called.
    runtime: NonNull<c_void>,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // SAFETY: [the field's invariant]; nobody can use it after this.
        unsafe { (self.functions.stop)(self.runtime.as_ptr()) }
    }
}

/// Calls the item that `context` points to.
///
/// # Safety
///
/// - `[item]` `context` points to an [`Item`] that lives until this returns.
unsafe extern "C" fn call_item(context: *const c_void, index: usize) {
    // SAFETY: [item]; it is `Sync`, so any thread may call it.
    let item = unsafe { &*context.cast::<Item<'_>>() };
    item(index);
}

/// Calls the function that `context` points to.
///
/// # Safety
///
/// - `[value]` `context` points to a `&(dyn Fn(usize) -> f64 + Sync)` that lives until this returns.
unsafe extern "C" fn call_value(context: *const c_void, index: usize) -> f64 {
    // SAFETY: [value]; it is `Sync`, so any thread may call it.
    let value = unsafe { &*context.cast::<&(dyn Fn(usize) -> f64 + Sync)>() };
    value(index)
}

impl Foreign {
    fn once(&self, function: Option<Once>, item: Item<'_>) -> Option<()> {
        // SAFETY: [the invariants of both fields]; [item] it lives for this call, after which
        // nothing that was started goes on.
        unsafe { function?(self.runtime.as_ptr(), call_item, (&raw const item).cast()) }
        Some(())
    }

    fn each(&self, function: Each, n: usize, item: Item<'_>) {
        // SAFETY: [the invariants of both fields]; [item] as in `once`.
        unsafe { function(self.runtime.as_ptr(), n, call_item, (&raw const item).cast()) }
    }
}

impl Runtime for Foreign {
    fn broadcast(&mut self, item: Item<'_>) -> Option<()> {
        self.once(self.functions.broadcast, item)
    }

    fn for_each(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        self.each(self.functions.for_each, n, item);
        Some(())
    }

    fn sum(&mut self, n: usize, value: &(dyn Fn(usize) -> f64 + Sync)) -> Option<f64> {
        let context = (&raw const value).cast();
        // SAFETY: [the invariants of both fields]; [value] as in `once`.
        Some(unsafe { (self.functions.sum)(self.runtime.as_ptr(), n, call_value, context) })
    }

    fn enter(&mut self, f: &(dyn Fn() + Sync)) -> Option<()> {
        self.once(self.functions.enter, &|_| f())
    }

    fn fib(&mut self, fib: Fib) -> Option<u64> {
        // SAFETY: [the invariants of both fields].
        Some(unsafe { (self.functions.fib)(self.runtime.as_ptr(), fib.0) })
    }

    fn count(&mut self, root: Node) -> Option<u64> {
        let root = ForeignNode { state: root.state, generations: root.generations };
        // SAFETY: [the invariants of both fields].
        Some(unsafe { (self.functions.count)(self.runtime.as_ptr(), root) })
    }

    fn spawn(&mut self, n: usize, item: Item<'_>) -> Option<()> {
        self.each(self.functions.spawn, n, item);
        Some(())
    }

    fn spawn_nested(&mut self, outer: usize, inner: usize, item: Item<'_>) -> Option<()> {
        let (runtime, context) = (self.runtime.as_ptr(), (&raw const item).cast());
        // SAFETY: [the invariants of both fields]; [item] as in `once`.
        unsafe { (self.functions.spawn_nested)(runtime, outer, inner, call_item, context) }
        Some(())
    }
}
