//! A region that is given back in parallel when it drops.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use firsttouch_memory::Region;
use firsttouch_pool::Pool;

use crate::{PageRelease, ReleaseReport};

/// A region whose drop is a [`PageRelease`] on a pool.
///
/// It is used as the [`Region`] that it is. It keeps the pool alive: where it
/// is the last to hold it, the pool ends with it.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use firsttouch_job::ReleaseOnDrop;
/// use firsttouch_memory::Region;
/// use firsttouch_pool::Pool;
///
/// struct Solver {
///     field: ReleaseOnDrop,
/// }
///
/// let pool = Arc::new(Pool::new()?);
/// let field = ReleaseOnDrop::new(Region::builder(32 << 20).build()?, Arc::clone(&pool));
/// let mut solver = Solver { field };
/// solver.field.as_mut_slice_of::<f64>().fill(1.0);
/// // The pool's helpers give the pages back.
/// drop(solver);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReleaseOnDrop {
    /// `None` once it is released or taken out.
    region: Option<Region>,
    pool: Arc<Pool>,
}

/// Why there is a region.
const HERE: &str = "only what ends the value takes it";

impl ReleaseOnDrop {
    /// Has the pool's helpers give the region's pages back when the value drops.
    #[must_use]
    pub fn new(region: Region, pool: Arc<Pool>) -> Self {
        Self { region: Some(region), pool }
    }

    /// Releases the region now, and returns what that did.
    pub fn release(mut self) -> ReleaseReport {
        PageRelease::new(self.region.take().expect(HERE)).run(&self.pool)
    }

    /// Returns the region, which then drops as any other.
    #[must_use]
    pub fn into_region(mut self) -> Region {
        self.region.take().expect(HERE)
    }
}

impl Deref for ReleaseOnDrop {
    type Target = Region;

    fn deref(&self) -> &Region {
        self.region.as_ref().expect(HERE)
    }
}

impl DerefMut for ReleaseOnDrop {
    fn deref_mut(&mut self) -> &mut Region {
        self.region.as_mut().expect(HERE)
    }
}

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            PageRelease::new(region).run(&self.pool);
        }
    }
}
