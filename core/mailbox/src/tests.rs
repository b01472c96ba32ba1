//! Stories on the simulated machine: two legs, the real volume and store, crashes.

mod access;
mod accidents;
mod append;
mod cost;
mod damage;
mod digests;
mod flags;
mod folders;
mod full;
mod large_copies;
mod letters;
mod long_names;
mod notices;
mod pieces;
mod rest;
mod resync;
mod sharing;
mod swarm;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use base::BodyName;
use bytes::Bytes;
use device::DeviceIndex;
use device::sim::SimWorld;
use mail::{Address, Flags, InternalDate, Keyword, SystemFlags, Uid};
use store::{BodyIn, Store};
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::*;

/// The witness on the boot disk: it survives what the legs go through.
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

/// A machine with two legs.
struct Rig {
    world: SimWorld,
    legs: [DeviceIndex; 2],
    witness: Rc<Memory>,
    segment_bytes: u64,
    settings: Settings,
}

impl Rig {
    fn new(seed: u64) -> Rig {
        Rig::of_size(seed, 96 << 20, 2 << 20)
    }

    fn of_size(seed: u64, leg_bytes: u64, segment_bytes: u64) -> Rig {
        let world = SimWorld::new(seed);
        let legs = [world.add_disk(leg_bytes), world.add_disk(leg_bytes)];
        // No checkpoint but when a story asks for one.
        let settings = Settings {
            cache_bytes: 64 << 20,
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let rig = Rig {
            world,
            legs,
            witness: Rc::default(),
            segment_bytes,
            settings,
        };
        let (io, settings, witness) = (rig.world.io(), rig.volume_settings(), rig.witness.clone());
        rig.world
            .block_on(async { Volume::create(&io, &legs, &settings, &*witness, seed).await })
            .unwrap();
        rig
    }

    fn volume_settings(&self) -> volume::Settings {
        volume::Settings {
            segment_bytes: self.segment_bytes,
            ..volume::Settings::default()
        }
    }

    async fn open(&self) -> Mailboxes {
        let io = self.world.io();
        let volume = Volume::open(
            &io,
            &self.legs,
            &self.volume_settings(),
            self.witness.clone(),
        )
        .await
        .unwrap();
        let settings = store::Settings {
            projection_cache_bytes: 4 << 20,
            compression_level: 1,
            lead: mail::header::bytes,
        };
        let (store, replay) = Store::open(io.clone(), volume, settings).await.unwrap();
        Mailboxes::open(io, store, replay, self.settings.clone())
            .await
            .unwrap()
    }

    /// A power cut and the next start.
    fn crash(&self) {
        self.world.crash();
    }

    fn block_on<T>(&self, story: impl Future<Output = T>) -> T {
        self.world.block_on(story)
    }
}

fn address(local: &str) -> Address {
    Address::from_parts(local, "example.org").unwrap()
}

async fn add(mailboxes: &Mailboxes, local: &str) -> AccountId {
    match mailboxes.add_domain("example.org").await {
        Ok(()) | Err(MailboxFault::Exists) => {}
        Err(fault) => panic!("{fault}"),
    }
    mailboxes
        .add_account(&address(local), "$argon2id$x", 0)
        .await
        .unwrap()
}

fn raw(number: u64, bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(number);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(bytes)
        .collect();
    noise.into()
}

fn body(number: u64) -> BodyIn {
    let raw = raw(number, 400 + (number % 7) as usize * 100);
    BodyIn {
        name: BodyName::of(&raw),
        raw,
        summary: Bytes::from(format!("summary {number}")),
    }
}

fn to(account: AccountId, mailbox: &str) -> Recipient {
    Recipient {
        account,
        mailbox: mailbox.to_owned(),
        flags: Flags::default(),
    }
}

fn delivery(number: u64, recipients: Vec<Recipient>) -> Delivery {
    Delivery {
        body: body(number),
        internal_date: InternalDate::utc(1_790_000_000 + number as i64),
        recipients,
    }
}

async fn deliver(mailboxes: &Mailboxes, number: u64, account: AccountId) -> Placed {
    let mut placed = mailboxes
        .deliver(delivery(number, vec![to(account, "INBOX")]))
        .await;
    placed.pop().unwrap().unwrap()
}

fn flags(system: SystemFlags) -> Flags {
    Flags::system(system)
}

fn keyword(text: &str) -> Flags {
    Flags {
        keywords: vec![Keyword::parse(text).unwrap()],
        ..Flags::default()
    }
}

fn uids(view: &View) -> Vec<u32> {
    view.messages.iter().map(|message| message.uid.0).collect()
}

/// Everything a client could see, the bodies by their bytes.
async fn picture(mailboxes: &Mailboxes) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    lines.insert("domains".to_owned(), format!("{:?}", mailboxes.domains()));
    for account in mailboxes.accounts(None, usize::MAX).await.unwrap() {
        lines.insert(account.address.to_string(), format!("{account:?}"));
        let subscriptions = mailboxes.subscriptions(account.id).await.unwrap();
        lines.insert(
            format!("{} subscriptions", account.address),
            format!("{subscriptions:?}"),
        );
        for info in mailboxes.list(account.id).await.unwrap() {
            let name = format!("{} {}", account.address, info.name);
            lines.insert(name.clone(), format!("{info:?}"));
            if !info.selectable {
                continue;
            }
            let view = mailboxes.view(info.id).await.unwrap();
            lines.insert(format!("{name} status"), format!("{:?}", view.status));
            let bodies: Vec<_> = view
                .messages
                .iter()
                .map(|message| message.body.clone())
                .collect();
            let bytes = mailboxes.bodies(&bodies).await;
            let summaries = mailboxes.summaries(&bodies).await;
            for ((message, raw), summary) in view.messages.iter().zip(bytes).zip(summaries) {
                let raw = raw.unwrap();
                assert_eq!(BodyName::of(&raw), message.body.name);
                assert_eq!(raw.len(), message.size_bytes as usize);
                let summary = String::from_utf8(summary.unwrap().to_vec()).unwrap();
                let line = (
                    message.modseq,
                    &message.flags,
                    message.internal_date,
                    message.body.name,
                    summary,
                );
                lines.insert(format!("{name} {:010}", message.uid.0), format!("{line:?}"));
            }
        }
    }
    lines
}

#[track_caller]
fn assert_same(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) {
    for key in left.keys().chain(right.keys()) {
        assert_eq!(left.get(key), right.get(key), "{key}");
    }
}
