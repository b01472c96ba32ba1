//! For tests: real mailboxes on a simulated machine with two legs.

use std::cell::RefCell;
use std::rc::Rc;

use device::DeviceIndex;
use device::sim::SimWorld;
use lessons::Lessons;
use logins::Keyring;
use mailbox::Mailboxes;
use queue::Queue;
use reports::Reports;
use scripts::Scripts;
use store::Store;
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::outgoing::Outgoing;
use crate::tallies::Tallies;

#[derive(Default)]
struct Memory(RefCell<Option<WitnessRecord>>);

impl Witness for Memory {
    fn read(&self, _volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        Ok(self.0.borrow().clone())
    }

    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        if self.0.borrow().as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        *self.0.borrow_mut() = Some(new.clone());
        Ok(())
    }
}

/// A new volume's mailboxes, with the domain example.org. Their devices and clock go on inside of `SimWorld::block_on` only.
pub fn mailboxes() -> (SimWorld, Mailboxes) {
    mailboxes_of(1)
}

/// Those of the volume that `seed` gives.
pub fn mailboxes_of(seed: u64) -> (SimWorld, Mailboxes) {
    let (world, outgoing) = outgoing_of(seed);
    (world, outgoing.mailboxes().clone())
}

/// The same with the queue beside them.
pub fn outgoing() -> (SimWorld, Outgoing) {
    outgoing_of(1)
}

fn outgoing_of(seed: u64) -> (SimWorld, Outgoing) {
    let rig = Rig::new(seed);
    let outgoing = rig.world.block_on(rig.open());
    (rig.world, outgoing)
}

/// A volume that can be opened again.
pub struct Rig {
    pub world: SimWorld,
    legs: [DeviceIndex; 2],
    witness: Rc<Memory>,
    settings: volume::Settings,
}

impl Rig {
    pub fn new(seed: u64) -> Rig {
        let world = SimWorld::new(seed);
        let legs = [world.add_disk(96 << 20), world.add_disk(96 << 20)];
        let (io, witness) = (world.io(), Rc::new(Memory::default()));
        let settings = volume::Settings {
            segment_bytes: 2 << 20,
            ..volume::Settings::default()
        };
        world.block_on(async {
            let made = Volume::create(&io, &legs, &settings, &*witness, seed);
            made.await.expect("blank legs");
        });
        Rig {
            world,
            legs,
            witness,
            settings,
        }
    }

    pub async fn open(&self) -> Outgoing {
        let (io, witness) = (self.world.io(), self.witness.clone());
        let volume = Volume::open(&io, &self.legs, &self.settings, witness)
            .await
            .expect("the legs of a volume");
        let settings = store::Settings {
            projection_cache_bytes: 4 << 20,
            compression_level: 1,
            lead: mail::header::bytes,
        };
        let (store, replay) = Store::open(io.clone(), volume, settings)
            .await
            .expect("a new store");
        let settings = mailbox::Settings {
            cache_bytes: 16 << 20,
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let mut queue = None;
        let mut lessons = None;
        let mut scripts = None;
        let mut reports = None;
        let mut keyring = None;
        let others = |tenancy: &_| {
            let queue = queue.insert(Queue::new(tenancy)).tenant();
            let lessons = lessons.insert(Lessons::new(tenancy)).tenant();
            vec![
                queue,
                lessons,
                scripts.insert(Scripts::new(tenancy)).tenant(),
                reports.insert(Reports::new(tenancy)).tenant(),
                keyring.insert(Keyring::new(tenancy)).tenant(),
            ]
        };
        let mailboxes = Mailboxes::open_beside(io, store, replay, settings, others)
            .await
            .expect("new mailboxes");
        if !mailboxes.has_domain("example.org") {
            mailboxes.add_domain("example.org").await.expect("a domain");
        }
        let outgoing = Outgoing::new(mailboxes, queue.expect("made just now"))
            .with_lessons(lessons.expect("made just now"))
            .with_scripts(scripts.expect("made just now"))
            .with_keyring(keyring.expect("made just now"))
            .with_reports(reports.expect("made just now"), Tallies::default());
        outgoing.set_fresh_key([5; 32]);
        outgoing
    }
}
