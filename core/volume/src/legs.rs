//! The members of an open volume as its owner knows them: which of them count, get new batches and serve reads.
//!
//! What must hold between calls: a member that counts, receives or is being copied to has a device, and a frame with it; no two members have the
//! same id or the same device; only a member that is being copied to may be joining. Each method names one thing that happens to a
//! member, and asserts what it relies on. `check` looks at all of it together.

mod leg;

use std::collections::{BTreeSet, VecDeque};

use base::{Histogram, Time};
use device::DeviceIndex;

use crate::layout::Frame;
use crate::limits::LEGS_MAX;
use crate::types::*;

/// All members, by their place in the member table.
pub(crate) struct Legs {
    members: Vec<Leg>,
}

pub(crate) struct Leg {
    /// The same wherever its device is.
    id: LegId,
    /// What it may be used for.
    state: LegState,
    /// `None`: it is absent.
    device: Option<DeviceIndex>,
    /// Where things are on its device.
    frame: Option<Frame>,
    /// The hash of its device's stable name.
    wwid: u64,
    /// It has every batch up to here. Meaningless while it counts.
    stale_since: Lsn,
    /// Set from the first fault that will end its membership until it has ended.
    failing: bool,
    /// It fails while others were seen to take writes.
    alone: bool,
    /// Why it left, or does not come back.
    why: Option<String>,
    /// Caught up: the next membership record may count it.
    joining: bool,
    /// Which attach this is: a copy task of an earlier one must not go on.
    session: u64,
    /// Batch writes at its device.
    flying: usize,
    /// Reads at its device.
    reading: usize,
    /// Since the opening.
    repairs: u64,
    /// Since the opening.
    read_faults: u64,
    /// Since the opening.
    write_faults: u64,
    /// Of batch writes, from submission to durable.
    flushes: Histogram,
    /// Bytes done and bytes to do, of a copy.
    progress: Option<(u64, u64)>,
    /// How the last probe of it failed (`health`).
    unread: Option<String>,
    /// Arena pages not written here since it left; `None`: unknown, so all of them.
    arena_missed: Option<BTreeSet<u64>>,
    /// When it refused segments lately.
    spoiled: VecDeque<Time>,
    /// When it was repaired lately.
    repaired: VecDeque<Time>,
    /// It does not hold what it should: when it leaves (or at the opening that finds it so), this is how far it is trusted.
    proven: Option<Lsn>,
    /// It lacked acknowledged batches at the opening; they were put right, and its arena pages are looked at as well.
    arena_unsure: bool,
}

impl Legs {
    /// `members` as the newest superblock lists them.
    pub fn new(members: Vec<Leg>) -> Legs {
        assert!(members.len() <= LEGS_MAX, "a superblock lists no more");
        Legs { members }
    }

    /// How many rows the table has, absent and retired members included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// In the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Leg> {
        self.members.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.members.iter_mut()
    }

    /// With their places.
    pub fn indexed(&self) -> impl Iterator<Item = (LegIndex, &Leg)> {
        let members = self.members.iter().enumerate();
        members.map(|(index, leg)| (LegIndex(index as u8), leg))
    }

    pub fn get(&self, leg: LegIndex) -> Option<&Leg> {
        self.members.get(usize::from(leg.0))
    }

    /// The ids of those that count.
    pub fn counting(&self) -> impl Iterator<Item = LegId> {
        let counting = self.members.iter().filter(|leg| leg.counts());
        counting.map(|leg| leg.id)
    }

    /// The place of the first member that `pick` chooses.
    pub fn position(&self, pick: impl Fn(&Leg) -> bool) -> Option<LegIndex> {
        let position = self.members.iter().position(pick);
        position.map(|index| LegIndex(index as u8))
    }

    /// Gives a blank device a place in the member table: that of the same device wiped, else of a retired member, else a new row, else that of the
    /// absent member of longest standing. `None`: every place is taken by a member that is here.
    pub fn place_for(&mut self, fresh: Leg) -> Option<LegIndex> {
        assert!(fresh.device.is_none() && !fresh.counts());
        assert!(self.members.iter().all(|leg| leg.id != fresh.id));
        let gone = |leg: &Leg| leg.device.is_none() && !leg.counts();
        let slot = self
            .position(|leg| gone(leg) && leg.wwid == fresh.wwid)
            .or_else(|| self.position(|leg| leg.state == LegState::Retired))
            .or_else(|| {
                (self.members.len() < LEGS_MAX).then_some(LegIndex(self.members.len() as u8))
            })
            .or_else(|| self.position(gone))?;
        match self.members.get_mut(usize::from(slot.0)) {
            None => self.members.push(fresh),
            Some(before) => {
                assert!(gone(before), "a member that is here keeps its place");
                // Writes to the device that was here before may still end.
                *before = Leg {
                    session: before.session,
                    flying: before.flying,
                    ..fresh
                };
            }
        }
        Some(slot)
    }

    /// Stops the process where members contradict one another or themselves.
    pub fn check(&self) {
        assert!(self.members.len() <= LEGS_MAX);
        for (index, leg) in self.members.iter().enumerate() {
            leg.check();
            for other in &self.members[index + 1..] {
                assert!(leg.id != other.id, "two members have one id");
                assert!(
                    leg.device.is_none() || leg.device != other.device,
                    "two members are on one device"
                );
            }
        }
    }
}

impl std::ops::Index<LegIndex> for Legs {
    type Output = Leg;
    fn index(&self, leg: LegIndex) -> &Leg {
        &self.members[usize::from(leg.0)]
    }
}

impl std::ops::IndexMut<LegIndex> for Legs {
    fn index_mut(&mut self, leg: LegIndex) -> &mut Leg {
        &mut self.members[usize::from(leg.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(number: u8, state: LegState) -> Leg {
        Leg::absent(LegId([number; 16]), state, Lsn(9), u64::from(number))
    }

    fn here(number: u8) -> Leg {
        let mut leg = leg(number, LegState::InSync);
        let frame = crate::layout::frame(8 << 20).expect("large enough");
        leg.is_here(DeviceIndex(number.into()), frame, number.into(), None);
        leg
    }

    #[test]
    fn a_blank_device_takes_the_place_of_itself_then_of_a_retired_member_then_a_new_one() {
        let members = vec![here(0), leg(1, LegState::Stale), leg(2, LegState::Retired)];
        let mut legs = Legs::new(members);
        legs.check();
        let fresh = |id, wwid| Leg::absent(LegId([id; 16]), LegState::Stale, Lsn(0), wwid);
        assert_eq!(legs.place_for(fresh(10, 1)), Some(LegIndex(1)));
        assert_eq!(legs.place_for(fresh(11, 77)), Some(LegIndex(2)));
        assert_eq!(legs.place_for(fresh(12, 78)), Some(LegIndex(3)));
        legs.check();
        assert_eq!(legs[LegIndex(2)].id(), LegId([11; 16]));
        let mut full = Legs::new((0..LEGS_MAX as u8).map(here).collect());
        assert_eq!(full.place_for(fresh(20, 79)), None);
    }

    #[test]
    fn a_leg_leaves_and_joins_step_by_step() {
        let mut leg = here(1);
        assert!(leg.serves() && leg.condemn("a test") && !leg.condemn("again"));
        assert!(leg.counts() && !leg.serves() && !leg.receives());
        leg.leave(Lsn(40));
        assert_eq!((leg.counts(), leg.stale_since()), (false, Lsn(40)));
        let frame = crate::layout::frame(8 << 20).expect("large enough");
        assert_eq!(leg.admit(DeviceIndex(1), frame, 1), 1);
        assert!(leg.receives() && !leg.counts());
        leg.believe_no_further(Lsn(30));
        leg.copied_up_to(Lsn(35));
        assert_eq!(leg.stale_since(), Lsn(35));
        leg.may_join();
        leg.join();
        assert!(leg.serves() && !leg.retire());
        Legs::new(vec![leg]).check();
    }

    #[test]
    #[should_panic(expected = "one device")]
    fn two_members_on_one_device_are_seen() {
        let frame = crate::layout::frame(8 << 20).expect("large enough");
        let mut other = leg(2, LegState::InSync);
        other.is_here(DeviceIndex(1), frame, 1, None);
        Legs::new(vec![here(1), other]).check();
    }
}
