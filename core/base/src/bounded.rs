//! What a bounded container answers instead of growing.

/// There was no room; the item comes back to its owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);
