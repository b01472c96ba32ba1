//! The open legs of each volume that a storage thread owns, for administration.
//!
//! Only the thread that owns a volume may open or close its legs. Requests therefore run there and look here for the legs of the volume
//! that they are about.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use device::DeviceIndex;
use plan::profile::RingFlags;
use volume::{LegId, VolumeId};

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

/// What administration keeps for one volume.
struct Held {
    legs: Rc<dyn Legs>,
    /// The path each leg was last open at, so that a leg that left is still shown with one. At most one entry for each leg that the
    /// volume had since the start of the process.
    seen: BTreeMap<LegId, PathBuf>,
}

thread_local! {
    /// By volume: a storage thread may own several. An entry stays until the thread ends; a volume that is opened again replaces it.
    static HELD: RefCell<BTreeMap<VolumeId, Held>> = const { RefCell::new(BTreeMap::new()) };
}

/// Enters the open legs of `volume`. Called on the thread that owns the volume, before any request about it. The paths remembered from
/// an earlier opening of the same volume stay.
pub(crate) fn set(volume: VolumeId, legs: Rc<dyn Legs>) {
    HELD.with_borrow_mut(|held| {
        let seen = held.remove(&volume).map(|held| held.seen);
        let seen = seen.unwrap_or_default();
        held.insert(volume, Held { legs, seen });
    });
}

/// The open legs of `volume`. Stops the process on a thread that does not own the volume.
pub(crate) fn legs(volume: VolumeId) -> Rc<dyn Legs> {
    HELD.with_borrow(|held| held.get(&volume).map(|held| held.legs.clone()))
        .expect("asked on the thread that owns the volume")
}

/// Records that `leg` is open at `path`. Does nothing for a volume that was not entered.
pub(crate) fn remember(volume: VolumeId, leg: LegId, path: &Path) {
    HELD.with_borrow_mut(|held| {
        let Some(held) = held.get_mut(&volume) else {
            return;
        };
        if held.seen.get(&leg).is_none_or(|known| known != path) {
            held.seen.insert(leg, path.to_owned());
        }
    });
}

/// The path that `leg` was last open at; `None` for a leg that was not seen since the start of the process.
pub(crate) fn remembered(volume: VolumeId, leg: LegId) -> Option<PathBuf> {
    HELD.with_borrow(|held| held.get(&volume)?.seen.get(&leg).cloned())
}
