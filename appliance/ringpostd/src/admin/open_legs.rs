//! The storage thread's own things that administration needs there: the open legs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use device::DeviceIndex;
use plan::profile::RingFlags;
use volume::LegId;

/// Opening and closing of legs on the storage thread.
pub trait Legs {
    /// Opens a file or block device for this process alone; one sentence when it does not work.
    fn open(&self, path: &Path) -> Result<DeviceIndex, String>;
    /// Lets go of a device; `false` while operations are in flight on it.
    fn close(&self, device: DeviceIndex) -> bool;
    /// Whether the device is still what was opened: a file that was removed or cut short is not.
    fn is_present(&self, device: DeviceIndex) -> bool;
    fn path_of(&self, device: DeviceIndex) -> Option<PathBuf>;
    /// Which flags the ring under the legs has, as a profile calls them, and how many buffers are registered with it.
    fn ring(&self) -> (RingFlags, usize);
    /// The device that was opened at `path`, if it still is.
    fn device_at(&self, path: &Path) -> Option<DeviceIndex>;
}

thread_local! {
    static LEGS: RefCell<Option<Rc<dyn Legs>>> = const { RefCell::new(None) };
    /// Where each leg was last seen. Bounded by the legs a volume ever had since start.
    static SEEN: RefCell<BTreeMap<LegId, PathBuf>> = const { RefCell::new(BTreeMap::new()) };
}

/// Called once on the storage thread, before anything is asked there.
pub(crate) fn set(legs: Rc<dyn Legs>) {
    LEGS.set(Some(legs));
}

/// On the storage thread: its legs. Stops the process elsewhere.
pub(crate) fn legs() -> Rc<dyn Legs> {
    LEGS.with_borrow(|legs| legs.clone())
        .expect("asked on the storage thread")
}

pub(crate) fn remember(leg: LegId, path: &Path) {
    SEEN.with_borrow_mut(|seen| {
        if seen.get(&leg).is_none_or(|known| known != path) {
            seen.insert(leg, path.to_owned());
        }
    });
}

pub(crate) fn remembered(leg: LegId) -> Option<PathBuf> {
    SEEN.with_borrow(|seen| seen.get(&leg).cloned())
}
