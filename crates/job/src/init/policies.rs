//! The policies that place a region's pages, set before they are touched.

use firsttouch_memory::{MemoryError, Policy, Region};
use firsttouch_topology::NodeId;

use crate::JobError;
use crate::init::placement::{Binding, Layout};
use crate::init::report::PolicyUse;

/// Sets the policies of the region's ranges; returns the layout to run and what is to place the pages.
///
/// `several` says whether there is more than one node to choose from. A
/// refusal is an error for [`Binding::Bind`] alone; else first touch remains.
/// With either, no range keeps a policy.
pub(crate) fn set(
    region: &mut Region,
    layout: Layout,
    binding: Binding,
    several: bool,
) -> Result<(Layout, PolicyUse), JobError> {
    let len = region.len();
    if !several || layout.sizes().next().is_none() {
        return Ok((layout, PolicyUse::NotNeeded));
    }
    if !region.honours_policies() {
        return Ok((layout, PolicyUse::Thread));
    }
    let Some(interleave) = &layout.interleave else {
        let parts = layout.shares.iter().flat_map(|share| {
            share.ranges.iter().filter_map(|range| Some((share.node?, range.clone())))
        });
        for (node, range) in parts {
            if let Err(source) = region.set_policy(range.clone(), &policy_for(node, binding)) {
                clear(region);
                if binding == Binding::Bind {
                    return Err(JobError::Policy { range, source });
                }
                tell_refused(&source);
                return Ok((layout, PolicyUse::Refused));
            }
        }
        return Ok((layout, PolicyUse::Range));
    };
    // The kernel picks an interleaved page's node by its place in the mapping,
    // so one policy does for the whole, whoever touches the page. It does not
    // bind, and knows blocks of one page only.
    if interleave.block() == region.page_bytes() && binding == Binding::Preferred {
        let nodes = interleave.nodes().iter().copied().collect();
        match region.set_policy(0..len, &Policy::Interleave(nodes)) {
            Ok(()) => {
                let even = Some(interleave.clone());
                return Ok((Layout { even, ..Layout::anywhere(len) }, PolicyUse::Range));
            }
            Err(error) => {
                clear(region);
                tell_refused(&error);
                return Ok((layout, PolicyUse::Refused));
            }
        }
    }
    // A policy for each block would make each a mapping of its own, of which
    // the kernel allows some 65,000. So each thread has one for its chunk, and
    // the ranges must have none that comes before it.
    match region.set_policy(0..len, &Policy::Default) {
        Ok(()) => Ok((layout, PolicyUse::Thread)),
        Err(source) if binding == Binding::Bind => Err(JobError::Policy { range: 0..len, source }),
        Err(error) => {
            tell_refused(&error);
            Ok((layout, PolicyUse::Refused))
        }
    }
}

/// Takes the policies of a region away where not all could be set: those of this run, or of before.
///
/// It needs no mapping more than there is, so it does where the limit on these
/// was met. Where no policy can be set at all, there is none to be taken away.
fn clear(region: &mut Region) {
    if let Err(error) = region.set_policy(0..region.len(), &Policy::Default) {
        if error.is_refused() {
            return;
        }
        tracing::warn!(%error, "ranges that got a policy before another was refused keep it");
    }
}

/// The policy that puts pages on a node.
pub(crate) fn policy_for(node: NodeId, binding: Binding) -> Policy {
    match binding {
        Binding::Preferred => Policy::Preferred(node),
        Binding::Bind => Policy::Bind([node].into_iter().collect()),
    }
}

/// Traces that first touch alone places pages from here on.
pub(crate) fn tell_refused(error: &MemoryError) {
    tracing::warn!(%error, "no policy can be set; pages go where they are first touched");
}
