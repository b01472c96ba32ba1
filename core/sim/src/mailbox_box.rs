//! A machine with mailboxes on it, and clients that check every answer against their model.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use base::host::sleep_us;
use base::{BodyName, Host};
use bytes::Bytes;
use device::Io;
use device::sim::{CacheLanding, Landing, PowerCut};
use fastrand::Rng;
use mail::{Address, Flags, InternalDate, SystemFlags, Uid};
use mailbox::{AccountId, Delivery, FlagChange, MailboxFault, Mailboxes, Recipient};
use store::{BodyIn, Store};
use volume::{SegmentState, Volume};

use crate::machine::{Machine, Shape, describe};
use crate::mailbox_look::{LARGE_BIT, letter, look, read_letters};
use crate::mailbox_model::{Marks, Operation, Picture, Whose};

/// Accounts of each client.
pub const ACCOUNTS: usize = 2;

/// Names that clients make, rename and delete. INBOX is always there.
const NAMES: [&str; 4] = ["a", "b", "c", "c/d"];

/// A client's knowledge; it survives crashes.
#[derive(Clone, Default)]
pub struct Client {
    accounts: Vec<AccountId>,
    /// What it was told.
    settled: Picture,
    /// Asked for and not confirmed.
    pending: Option<Operation>,
    marks: Marks,
    next_letter: u64,
    /// Many of its letters are large.
    pub large: bool,
    pub acked: u64,
}

/// The machine may be cut and replaced; the clients and what they know go on to the next one.
pub struct MailboxBox {
    pub machine: Machine,
    pub clients: Vec<Rc<RefCell<Client>>>,
    pub settings: mailbox::Settings,
    pub broken: Rc<RefCell<Option<String>>>,
    /// Space is short: clients rather throw away than deliver.
    pub pressed: Rc<Cell<bool>>,
}

impl std::ops::Deref for MailboxBox {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl MailboxBox {
    /// A fresh volume with an account or two for each client.
    pub fn create(
        seed: u64,
        shape: Shape,
        settings: mailbox::Settings,
    ) -> Result<MailboxBox, String> {
        let clients = (0..shape.clients).map(|_| Rc::default()).collect();
        let machine = Machine::create(seed, shape)?;
        let mailbox_box = MailboxBox {
            machine,
            clients,
            settings,
            broken: Rc::default(),
            pressed: Rc::default(),
        };
        let io = mailbox_box.world.io();
        let made = mailbox_box.world.run(mailbox_box.make_accounts(&io));
        made.map_err(|halt| format!("accounts: {halt}"))??;
        mailbox_box.world.crash();
        Ok(mailbox_box)
    }

    pub fn after_cut(
        &self,
        seed: u64,
        cut: &PowerCut,
        outcome: &[Landing],
        cache: CacheLanding,
    ) -> MailboxBox {
        self.with(self.machine.after_cut(seed, cut, outcome, cache))
    }

    /// The same clients before another machine.
    fn with(&self, machine: Machine) -> MailboxBox {
        // Copies, because one cut has several outcomes: each is checked from what clients knew at the cut, and not from the outcome before.
        let copy = |client: &Rc<RefCell<Client>>| Rc::new(RefCell::new(client.borrow().clone()));
        MailboxBox {
            machine,
            clients: self.clients.iter().map(copy).collect(),
            settings: self.settings.clone(),
            broken: Rc::default(),
            pressed: Rc::default(),
        }
    }

    /// Every leg that is promised to be in sync is opened by itself, in a world of its own, and has everything: the log, and the projection
    /// that need not be built anew.
    pub fn each_alone(&self, seed: u64) -> Result<(), String> {
        for leg in self.promised() {
            let only = self.with(self.machine.alone(seed, leg));
            let io = only.world.io();
            let checked = only.world.run(async {
                let mailboxes = only.open(&io).await?;
                // Mail would be complete all the same. But a leg that counts has to have the pages too, or the next start takes minutes.
                if mailboxes.store().open_report().rebuilt {
                    return Err("its projection is lost".to_owned());
                }
                only.check(&mailboxes).await?;
                match mailboxes.store().scrub_projection().await.rows {
                    Some(_) => Ok(()),
                    None => Err("its projection cannot be read whole".to_owned()),
                }
            });
            only.world.crash();
            let checked = checked.map_err(|halt| halt.to_string()).flatten();
            checked.map_err(|text| format!("leg {leg:?} alone: {text}"))?;
        }
        Ok(())
    }

    async fn make_accounts(&self, io: &Io) -> Result<(), String> {
        let mailboxes = self.open(io).await?;
        mailboxes
            .add_domain("example.org")
            .await
            .map_err(|fault| fault.to_string())?;
        for (index, client) in self.clients.iter().enumerate() {
            for whose in 0..ACCOUNTS {
                let address = Address::from_parts(&format!("c{index}-{whose}"), "example.org")
                    .expect("plain words");
                let account = mailboxes.add_account(&address, "$argon2id$x", 0).await;
                client
                    .borrow_mut()
                    .accounts
                    .push(account.map_err(|fault| fault.to_string())?);
            }
            let accounts = client.borrow().accounts.clone();
            let picture = look(&mailboxes, &accounts, &mut Marks::default()).await?;
            client.borrow_mut().settled = picture;
        }
        Ok(())
    }

    pub async fn open(&self, io: &Io) -> Result<Mailboxes, String> {
        let volume = self
            .machine
            .open(io)
            .await
            .map_err(|refusal| format!("open: {refusal}"))?;
        // No fault that is drawn here damages both copies, so that damage is always the engine's own.
        let damaged = volume.open_report().damaged;
        if !damaged.is_empty() {
            return Err(format!("open reports damage: {damaged:?}"));
        }
        let told = describe_with(&volume);
        let settings = store::Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: 1,
            lead: mail::header::bytes,
        };
        let (store, replay) = Store::open(io.clone(), volume, settings)
            .await
            .map_err(|fault| format!("store: {fault}\n{}", told()))?;
        self.world.after_each_step(store.checker());
        let opened = Mailboxes::open(io.clone(), store, replay, self.settings.clone()).await;
        let mailboxes = opened.map_err(|fault| format!("mailboxes: {fault}\n{}", told()))?;
        // RFC 3501 §6.4.7: all or nothing, also where a message or two are a group.
        if self.shape.clients.is_multiple_of(2) {
            mailboxes.copy_in_groups_of(400);
        }
        let can_write = mailboxes.store().volume().refuses().is_none();
        match mailboxes.copies_unfinished() {
            1.. if can_write => Err(format!("a COPY is not taken back\n{}", told())),
            _ => Ok(mailboxes),
        }
    }

    /// After a crash: what is there is what was confirmed, with or without what was asked last. A volume that can only be read may not know
    /// the end of its log: then what was asked last stays open.
    pub async fn check(&self, mailboxes: &Mailboxes) -> Result<(), String> {
        if mailboxes.copies_unfinished() > 0 {
            // It cannot be written, or the COPY that failed could not be taken back: the next opening does.
            return Ok(());
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut client = client.borrow_mut().clone();
            let told = client.check(mailboxes).await;
            told.map_err(|text| {
                format!(
                    "client {index}: {text}\n{}",
                    describe(mailboxes.store().volume())
                )
            })?;
            // What a client learned from a volume that cannot be written may be the past of what the next opening finds.
            if mailboxes.store().volume().refuses().is_none() {
                *self.clients[index].borrow_mut() = client;
            }
        }
        Ok(())
    }

    /// Tells clients whether space is short (a third of the segments free, or what the store keeps from bodies and a little more).
    pub fn note_space(&self, mailboxes: &Mailboxes) {
        let segments = mailboxes.store().volume().segments();
        let free = segments.iter();
        let free = free
            .filter(|report| report.state == SegmentState::Free)
            .count();
        // Clients that only fill would find a full volume, and nothing else, for the rest of the story.
        self.pressed.set(free < (segments.len() / 3).max(14));
    }

    /// Whether a second projection finds room beside the first: half of the segments are free.
    pub fn has_room_for_two(&self, mailboxes: &Mailboxes) -> bool {
        let segments = mailboxes.store().volume().segments();
        let free = segments.iter();
        let free = free
            .filter(|report| report.state == SegmentState::Free)
            .count();
        free > segments.len() / 2
    }

    /// Starts each client for `count` operations.
    pub fn start_clients(
        &self,
        io: &Io,
        mailboxes: &Mailboxes,
        rng: &mut Rng,
        count: usize,
        running: &Rc<Cell<usize>>,
    ) {
        for (index, client) in self.clients.iter().enumerate() {
            let (io, mailboxes, client) = (io.clone(), mailboxes.clone(), client.clone());
            let (broken, running, mut rng) = (self.broken.clone(), running.clone(), rng.fork());
            let pressed = self.pressed.clone();
            running.set(running.get() + 1);
            let host = io.host.clone();
            host.spawn(Box::pin(async move {
                if let Err(text) =
                    live(&*io.host, &mailboxes, &client, &mut rng, count, &pressed).await
                {
                    broken
                        .borrow_mut()
                        .get_or_insert(format!("client {index}: {text}"));
                }
                running.set(running.get() - 1);
            }));
        }
    }

    /// Every client flags those of its letters that `goes` chooses as deleted and expunges them. A full volume takes that, at once.
    pub async fn expunge(
        &self,
        mailboxes: &Mailboxes,
        mut goes: impl FnMut() -> bool,
    ) -> Result<(), String> {
        for client in &self.clients {
            let folders: Vec<(Whose, String)> = client.borrow().settled.keys().cloned().collect();
            for folder in folders {
                let letters = client.borrow().settled[&folder].letters.clone();
                let uids: Vec<Uid> = letters.into_keys().filter(|_| goes()).collect();
                if uids.is_empty() {
                    continue;
                }
                let flag = Operation::Flag {
                    folder: folder.clone(),
                    uids: uids.clone(),
                    change: FlagChange::Add,
                    flags: SystemFlags::DELETED,
                };
                for operation in [flag, Operation::Expunge { folder, uids }] {
                    let accounts = client.borrow().accounts.clone();
                    let settled = client.borrow().settled.clone();
                    let done = perform(mailboxes, &accounts, &settled, &operation).await;
                    done.map_err(|fault| fault.to_string())?;
                    let mut now = client.borrow().clone();
                    now.confirm(mailboxes, &operation).await?;
                    *client.borrow_mut() = now;
                }
            }
        }
        Ok(())
    }

    pub fn unbroken(&self) -> Result<(), String> {
        match &*self.broken.borrow() {
            Some(text) => Err(text.clone()),
            None => Ok(()),
        }
    }

    pub fn acked(&self) -> u64 {
        self.clients
            .iter()
            .map(|client| client.borrow().acked)
            .sum()
    }
}

fn describe_with(volume: &Volume) -> impl Fn() -> String + use<> {
    let volume = volume.clone();
    move || describe(&volume)
}

/// One client's day: operation after operation, each answer compared with the model. Ends at the first answer that leaves the
/// outcome open.
async fn live(
    host: &dyn Host,
    mailboxes: &Mailboxes,
    client: &RefCell<Client>,
    rng: &mut Rng,
    count: usize,
    pressed: &Cell<bool>,
) -> Result<(), String> {
    for _ in 0..count {
        let operation = client.borrow_mut().choose(rng, pressed.get());
        client.borrow_mut().pending = Some(operation.clone());
        let accounts = client.borrow().accounts.clone();
        let settled = client.borrow().settled.clone();
        match perform(mailboxes, &accounts, &settled, &operation).await {
            Ok(()) => {}
            Err(MailboxFault::Unavailable(_) | MailboxFault::Full) => return Ok(()), // it may have happened
            Err(fault) => return Err(format!("{operation:?} answers {fault}")),
        }
        let mut now = client.borrow().clone();
        now.confirm(mailboxes, &operation).await?;
        *client.borrow_mut() = now;
        if rng.u8(..3) == 0 {
            sleep_us(host, rng.u64(..3_000)).await;
        }
    }
    Ok(())
}

async fn perform(
    mailboxes: &Mailboxes,
    accounts: &[AccountId],
    settled: &Picture,
    operation: &Operation,
) -> Result<(), MailboxFault> {
    let id = |at: &(Whose, String)| settled[at].id;
    match operation {
        Operation::Deliver { number, to, flags } => {
            let raw = letter(*number);
            let summary = Bytes::from(format!("summary of {number}"));
            let recipients = to.iter().map(|(whose, mailbox)| Recipient {
                account: accounts[*whose],
                mailbox: mailbox.clone(),
                flags: Flags::system(*flags),
            });
            let delivery = Delivery {
                body: BodyIn {
                    name: BodyName::of(&raw),
                    raw,
                    summary,
                },
                internal_date: InternalDate::utc(*number as i64),
                recipients: recipients.collect(),
            };
            for placed in mailboxes.deliver(delivery).await {
                placed?;
            }
        }
        Operation::Flag {
            folder,
            uids,
            change,
            flags,
        } => {
            drop(
                mailboxes
                    .flag(id(folder), uids, *change, &Flags::system(*flags))
                    .await?,
            );
        }
        Operation::Expunge { folder, uids } => drop(mailboxes.expunge(id(folder), uids).await?),
        Operation::Copy { from, uids, to } => drop(mailboxes.copy(id(from), uids, id(to)).await?),
        Operation::Move { from, uids, to } => {
            let moved = mailboxes.r#move(id(from), uids, id(to)).await?;
            if let Some(fault) = moved.fault {
                return Err(fault);
            }
        }
        Operation::Create { folder } => {
            mailboxes
                .create(accounts[folder.0], &folder.1, None)
                .await?;
        }
        Operation::Rename { whose, from, to } => {
            mailboxes.rename(accounts[*whose], from, to).await?
        }
        Operation::Delete { folder } => mailboxes.delete(accounts[folder.0], &folder.1).await?,
    }
    Ok(())
}

impl Client {
    /// A valid operation on what is settled.
    fn choose(&mut self, rng: &mut Rng, pressed: bool) -> Operation {
        let folders: Vec<(Whose, String)> = self.settled.keys().cloned().collect();
        let from = folders[rng.usize(..folders.len())].clone();
        let to = folders[rng.usize(..folders.len())].clone();
        let share = rng.u8(1..10);
        let uids: Vec<Uid> = self.settled[&from]
            .letters
            .keys()
            .filter(|_| rng.u8(..10) < share)
            .copied()
            .collect();
        let flags = SystemFlags(rng.u8(..32));
        let others = from != to && !uids.is_empty();
        let dice = rng.u8(..100);
        // 52..70: flagged as deleted, and expunged.
        // Under pressure the range shrinks onto flagging, expunging, copying and the like; none of it is a delivery.
        let dice = if pressed { 46 + dice / 3 } else { dice };
        match dice {
            40..52 => {
                let change =
                    [FlagChange::Replace, FlagChange::Add, FlagChange::Remove][rng.usize(..3)];
                Operation::Flag {
                    folder: from,
                    uids,
                    change,
                    flags,
                }
            }
            52..60 => {
                let (change, flags) = (FlagChange::Add, SystemFlags::DELETED);
                Operation::Flag {
                    folder: from,
                    uids,
                    change,
                    flags,
                }
            }
            60..70 => Operation::Expunge { folder: from, uids },
            70..78 if others => Operation::Copy { from, uids, to },
            78..86 if others => Operation::Move { from, uids, to },
            86..94 => {
                let name = NAMES[rng.usize(..NAMES.len())].to_owned();
                let folder = (rng.usize(..ACCOUNTS), name);
                // A parent would be made along with its child; one folder at a time is what the model knows.
                let parent = folder
                    .1
                    .split('/')
                    .next()
                    .map(|parent| (folder.0, parent.to_owned()));
                let has_parent = !folder.1.contains('/')
                    || parent.is_some_and(|parent| self.settled.contains_key(&parent));
                if self.settled.contains_key(&folder) || !has_parent {
                    return self.deliver(rng, to, flags);
                }
                Operation::Create { folder }
            }
            94..97 if self.movable(&from) => {
                let to = format!("r{}", rng.u8(..5));
                if self.settled.contains_key(&(from.0, to.clone())) {
                    return Operation::Delete {
                        folder: (from.0, to),
                    };
                }
                Operation::Rename {
                    whose: from.0,
                    from: from.1,
                    to,
                }
            }
            97.. if self.movable(&from) => Operation::Delete { folder: from },
            _ => self.deliver(rng, to, flags),
        }
    }

    fn deliver(&mut self, rng: &mut Rng, to: (Whose, String), flags: SystemFlags) -> Operation {
        let large = self.large && rng.u8(..6) == 0;
        // The account in the number: two clients write different letters without asking each other.
        let number = self.next_letter << 16 | u64::from(self.accounts[0].0);
        let number = number | u64::from(large) << LARGE_BIT;
        self.next_letter += 1;
        let inbox = (rng.usize(..ACCOUNTS), "INBOX".to_owned());
        // One body for two mailboxes is what deduplication rests on.
        let both = rng.bool() && inbox != to;
        let to = if both { vec![to, inbox] } else { vec![to] };
        Operation::Deliver { number, to, flags }
    }

    /// Made by a client, and no other's parent.
    fn movable(&self, at: &(Whose, String)) -> bool {
        let made = NAMES.contains(&at.1.as_str()) || at.1.starts_with('r');
        let below = format!("{}/", at.1);
        made && !self
            .settled
            .keys()
            .any(|(whose, name)| *whose == at.0 && name.starts_with(&below))
    }

    /// The operation was answered: what is visible is exactly its result.
    async fn confirm(
        &mut self,
        mailboxes: &Mailboxes,
        operation: &Operation,
    ) -> Result<(), String> {
        let before = self.marks.clone();
        let after = look(mailboxes, &self.accounts, &mut self.marks).await?;
        match operation.applied(&self.settled, &after, &before) {
            Some(expected) if expected == after => {}
            expected => {
                return Err(format!(
                    "{operation:?} was answered, and then {}",
                    differ(expected.as_ref(), &after)
                ));
            }
        }
        self.settled = after;
        self.pending = None;
        self.acked += 1;
        Ok(())
    }

    /// After a crash: with the pending operation or without it.
    async fn check(&mut self, mailboxes: &Mailboxes) -> Result<(), String> {
        let before = self.marks.clone();
        let after = look(mailboxes, &self.accounts, &mut self.marks).await?;
        // In this order: what was confirmed counts first, and what was open is an excuse only for a picture that it explains wholly.
        if after != self.settled {
            let expected = self
                .pending
                .as_ref()
                .and_then(|pending| pending.applied(&self.settled, &after, &before));
            if expected.as_ref() != Some(&after) {
                let with = differ(expected.as_ref(), &after);
                let without = differ(Some(&self.settled), &after);
                return Err(format!(
                    "with {:?}: {with}; without: {without}",
                    self.pending
                ));
            }
        }
        self.settled = after;
        self.pending = None;
        read_letters(mailboxes, &self.accounts).await
    }
}

/// The first difference between what was expected and what is there.
fn differ(expected: Option<&Picture>, found: &Picture) -> String {
    let Some(expected) = expected else {
        return "what is there cannot be its result".to_owned();
    };
    let names = expected.keys().chain(found.keys());
    for at in names {
        match (expected.get(at), found.get(at)) {
            (Some(expected), Some(found)) if expected == found => {}
            (Some(expected), Some(found)) => {
                return format!("{at:?} should be {expected:?} and is {found:?}");
            }
            (Some(_), None) => return format!("{at:?} is gone"),
            (None, _) => return format!("{at:?} should not be there"),
        }
    }
    "nothing differs".to_owned()
}
