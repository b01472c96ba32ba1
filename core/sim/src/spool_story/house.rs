//! Both volumes open, from one power-on to the next, and who uses them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use base::BodyName;
use base::host::sleep_us;
use bytes::Bytes;
use device::sim::Faults;
use device::{DeviceIndex, Io};
use fastrand::Rng;
use inbound::receive::Keeper;
use inbound::spool::{Spooled, drain};
use mail::{Address, Flags, InternalDate, SystemFlags};
use mailbox::{AccountId, FlagChange, MailboxFault, Mailboxes};
use queue::{Addressee, Envelope, Queue, Terms, UnixSeconds};
use runtime::{Budget, SessionHost, Stop};
use spool::Spool;
use storage::arrival::Arrival;
use storage::outgoing::Outgoing;
use store::{BodyIn, Replay, Store};
use volume::{Volume, Witness};

use super::lane::Way;
use super::model::{ACCOUNTS, Model};
use crate::machine::Machine;
use crate::mailbox_look::letter;
use crate::witness::SimWitness;

/// The legs of the spool, beside those of the machine.
pub struct Legs {
    spool: Vec<DeviceIndex>,
    witness: Rc<SimWitness>,
    /// Of copies.
    keep_s: u64,
}

impl Legs {
    pub fn create(machine: &Machine, seed: u64, keep_s: u64) -> Result<Legs, String> {
        let bytes = machine.shape.leg_bytes;
        let spool = (0..2).map(|_| machine.world.add_disk(bytes)).collect();
        let legs = Legs {
            spool,
            witness: Rc::default(),
            keep_s,
        };
        let (io, settings) = (machine.world.io(), settings(machine));
        let made = Volume::create(&io, &legs.spool, &settings, &*legs.witness, !seed);
        let made = machine.world.run(made);
        made.map_err(|halt| format!("create: {halt}"))?
            .map_err(|refusal| format!("create: {refusal}"))?;
        Ok(legs)
    }

    /// From now on the legs of the mail's volume are so. The spool's are always well.
    // The spool is there for the days on which storage is not well; were both ill at once, 4xx would be the right answer to everything.
    pub fn weather(&self, machine: &Machine, faults: &Faults) {
        for leg in &machine.legs {
            machine.world.set_faults(*leg, faults.clone());
        }
    }
}

/// A leg that stalls is waited for: longer than a receiver waits.
pub fn settings(machine: &Machine) -> volume::Settings {
    volume::Settings {
        segment_bytes: machine.shape.segment_bytes,
        batches_in_flight_max: machine.shape.in_flight_max,
        batch_buffers: machine.shape.in_flight_max + 4,
        hard_deadline_us: 30_000_000,
        ..volume::Settings::default()
    }
}

pub struct House {
    pub io: Io,
    pub way: Way,
    pub spool: Spool,
    keeper: Spooled<Way, Spool>,
}

/// How a sender ended; `None`: it has not.
pub type Ended = Rc<RefCell<Option<Result<(), String>>>>;

impl House {
    pub async fn open(machine: &Machine, legs: &Legs) -> Result<House, String> {
        let io = machine.world.io();
        let (store, replay) = open(machine, &machine.legs, machine.witness.clone()).await?;
        machine.world.after_each_step(store.checker());
        let settings = mailbox::Settings {
            cache_bytes: 1 << 20,
            checkpoint_groups: 40,
            checkpoint_bytes: 1 << 20,
            checkpoint_us: 2_000_000,
        };
        let mut queue = None;
        let others = |tenancy: &_| vec![queue.insert(Queue::new(tenancy)).tenant()];
        let opened = Mailboxes::open_beside(io.clone(), store, replay, settings, others).await;
        let mailboxes = opened.map_err(|fault| format!("mailboxes: {fault}"))?;
        let outgoing = Outgoing::new(mailboxes, queue.ok_or("the queue was not made")?);
        let (store, replay) = open(machine, &legs.spool, legs.witness.clone()).await?;
        let settings = spool::Settings {
            bytes_max: 1 << 20,
            messages_max: 1_000,
            addressees_max: 10_000,
            keep_s: legs.keep_s,
            checkpoints: tenancy::Settings {
                checkpoint_groups: 40,
                checkpoint_bytes: 1 << 20,
                checkpoint_us: 2_000_000,
            },
        };
        let opened = Spool::open(io.clone(), store, replay, settings).await;
        let spool = opened.map_err(|fault| format!("spool: {fault}"))?;
        let way = Way::new(io.host.clone(), outgoing);
        let host = SessionHost::on(io.host.clone());
        // The daemon's own keeper, with the way to storage replaced: what decides between direct delivery and the spool is what is tested.
        let keeper = Spooled::new(host, way.clone(), spool.clone(), Budget::new(64 << 20));
        Ok(House {
            io,
            way,
            spool,
            keeper,
        })
    }

    pub fn mailboxes(&self) -> &Mailboxes {
        self.way.outgoing().mailboxes()
    }

    /// Makes the accounts that are not there.
    pub async fn people(&self, model: &RefCell<Model>) -> Result<(), String> {
        let mailboxes = self.mailboxes();
        let fault = |fault: MailboxFault| fault.to_string();
        match mailboxes.add_domain("example.org").await {
            Ok(()) | Err(MailboxFault::Exists) => {}
            Err(refused) => return Err(fault(refused)),
        }
        let made_count = model.borrow().accounts.len();
        for index in made_count..ACCOUNTS {
            let address = Address::from_path(&path(index)).ok_or("plain words")?;
            let made = match mailboxes.account(&address).await.map_err(fault)? {
                // Its creation was not answered, and happened.
                Some(there) => there.id,
                None => {
                    let made = mailboxes.add_account(&address, "$argon2id$x", 0);
                    made.await.map_err(fault)?
                }
            };
            model.borrow_mut().accounts.push(made);
        }
        Ok(())
    }

    /// As the daemon has it: one drain for the spool, on virtual time.
    pub fn start_drain(&self, stop: Stop) {
        let host = SessionHost::on(self.io.host.clone());
        let task = drain(host, self.spool.clone(), self.way.clone(), stop);
        self.io.host.spawn(Box::pin(task));
    }

    pub fn start_sender(
        &self,
        sender: usize,
        model: Rc<RefCell<Model>>,
        mut rng: Rng,
        count: usize,
    ) -> Ended {
        let ended = Ended::default();
        let (io, keeper, way) = (self.io.clone(), self.keeper.clone(), self.way.clone());
        let told = ended.clone();
        self.io.host.spawn(Box::pin(async move {
            let mut result = Ok(());
            for _ in 0..count {
                match rng.u8(..6) {
                    0 => result = expunge(way.outgoing().mailboxes(), &model, sender).await,
                    _ => send(&keeper, &model, sender, &mut rng).await,
                }
                if result.is_err() {
                    break;
                }
                sleep_us(&*io.host, rng.u64(..2_000_000)).await;
            }
            *told.borrow_mut() = Some(result);
        }));
        ended
    }

    pub async fn expunge_all(&self, model: &RefCell<Model>) -> Result<(), String> {
        let count = model.borrow().accounts.len();
        for account in 0..count {
            expunge(self.mailboxes(), model, account).await?;
        }
        Ok(())
    }

    /// Numbers in the INBOX of the account with this index.
    pub async fn inbox_of(
        &self,
        model: &RefCell<Model>,
        account: usize,
    ) -> Result<Vec<u64>, String> {
        let id = model.borrow().accounts[account];
        inbox(self.mailboxes(), id).await
    }

    /// Both volumes against the model.
    pub async fn check(&self, model: &RefCell<Model>) -> Result<(), String> {
        let accounts = model.borrow().accounts.clone();
        for (index, account) in accounts.into_iter().enumerate() {
            // What waits now is looked at first: a hand-over between the two looks has it in both, never in neither.
            let mut spooled = BTreeSet::new();
            for entry in self.spool.entries(None, usize::MAX) {
                let number = entry.arrived.0;
                if entry.body.name != BodyName::of(&letter(number)) {
                    return Err(format!("spooled letter {number} is not what was sent"));
                }
                let own = path(index);
                if entry.recipients.iter().any(|each| each.to.path == own) {
                    spooled.insert(number);
                }
            }
            let view = inbox(self.mailboxes(), account).await?;
            model.borrow_mut().check(index, &view, &spooled)?;
        }
        Ok(())
    }
}

async fn open(
    machine: &Machine,
    legs: &[DeviceIndex],
    witness: Rc<SimWitness>,
) -> Result<(Store, Replay), String> {
    let witness: Rc<dyn Witness> = witness;
    let (io, settings) = (machine.world.io(), settings(machine));
    let opened = Volume::open(&io, legs, &settings, witness).await;
    let volume = opened.map_err(|refusal| format!("open: {refusal}"))?;
    let settings = store::Settings {
        projection_cache_bytes: 1 << 20,
        compression_level: 1,
        lead: mail::header::bytes,
    };
    let opened = Store::open(io, volume, settings).await;
    opened.map_err(|fault| format!("store: {fault}"))
}

pub fn path(account: usize) -> String {
    format!("c{account}@example.org")
}

/// Numbers of the letters in an INBOX, in order; each is what was sent.
async fn inbox(mailboxes: &Mailboxes, account: AccountId) -> Result<Vec<u64>, String> {
    let fault = |fault: MailboxFault| fault.to_string();
    let folders = mailboxes.list(account).await.map_err(fault)?;
    let inbox = folders.iter().find(|folder| folder.name == "INBOX");
    let view = mailboxes.view(inbox.ok_or("INBOX is gone")?.id).await;
    let view = view.map_err(fault)?;
    let mut numbers = Vec::new();
    for message in view.messages.iter() {
        let number = message.internal_date.unix_seconds as u64;
        if message.body.name != BodyName::of(&letter(number)) {
            return Err(format!("letter {number} is not what was sent"));
        }
        numbers.push(number);
    }
    Ok(numbers)
}

/// One message, to the sender's own account or to all of them.
async fn send(keeper: &Spooled<Way, Spool>, model: &RefCell<Model>, sender: usize, rng: &mut Rng) {
    let to: Vec<usize> = match rng.u8(..4) {
        0 => (0..ACCOUNTS).collect(),
        _ => vec![sender],
    };
    let (number, accounts) = {
        let mut model = model.borrow_mut();
        let number = model.next(sender);
        // Before it is sent: from now on it may be in either volume, even if no answer ever comes.
        for account in &to {
            model.known[*account].open.insert(number);
        }
        let accounts: Vec<AccountId> = to.iter().map(|index| model.accounts[*index]).collect();
        (number, accounts)
    };
    let raw = letter(number);
    let arrival = Arrival {
        junk: Vec::new(),
        posted: Default::default(),
        body: BodyIn {
            name: BodyName::of(&raw),
            raw,
            summary: Bytes::new(),
        },
        internal_date: InternalDate::utc(number as i64),
        accounts: accounts.clone(),
    };
    // Only for those that storage did not take: the others have it, and an envelope with all of them would bring it twice.
    let on_behalf = |some: &[AccountId]| {
        let whose = to.iter().zip(&accounts);
        let whose = whose.filter(|(_, account)| some.contains(account));
        Envelope {
            from: "you@example.net".to_owned(),
            recipients: whose
                .map(|(index, _)| Addressee::new(path(*index)))
                .collect(),
            arrived: UnixSeconds(number),
            warns: UnixSeconds(0),
            expires: UnixSeconds(u64::from(u32::MAX)),
            terms: Terms::default(),
        }
    };
    let span = tracing::Span::none();
    let answers = keeper.deliver(arrival, &on_behalf, &span).await;
    let mut model = model.borrow_mut();
    let answers = answers.unwrap_or_default();
    for (account, answer) in to.iter().zip(&answers) {
        model.answered(*account, number, answer.is_ok());
    }
    // A refusal by one of two accounts is an honest answer; what is accepted is counted for each letter once.
    model.accepted += u64::from(answers.iter().any(Result::is_ok));
}

/// The owner of a mailbox reads all of it and expunges it.
async fn expunge(
    mailboxes: &Mailboxes,
    model: &RefCell<Model>,
    account: usize,
) -> Result<(), String> {
    let id = model.borrow().accounts[account];
    let fault = |fault: MailboxFault| fault.to_string();
    let folders = mailboxes.list(id).await.map_err(fault)?;
    let inbox = folders.iter().find(|folder| folder.name == "INBOX");
    let inbox = inbox.ok_or("INBOX is gone")?.id;
    let view = mailboxes.view(inbox).await.map_err(fault)?;
    let (uids, numbers): (Vec<_>, Vec<u64>) = view
        .messages
        .iter()
        .map(|message| (message.uid, message.internal_date.unix_seconds as u64))
        .unzip();
    if uids.is_empty() {
        return Ok(());
    }
    model.borrow_mut().known[account].expunging.extend(&numbers);
    let deleted = Flags::system(SystemFlags::DELETED);
    let flagged = mailboxes
        .flag(inbox, &uids, FlagChange::Add, &deleted)
        .await;
    let expunged = match flagged {
        Ok(_) => mailboxes.expunge(inbox, &uids).await,
        Err(fault) => Err(fault),
    };
    match expunged {
        Ok(_) => {
            let known = &mut model.borrow_mut().known[account];
            for number in numbers {
                known.expunging.remove(&number);
                known.expunged(number);
            }
            Ok(())
        }
        // It may have happened.
        Err(MailboxFault::Full | MailboxFault::Unavailable(_)) => Ok(()),
        Err(fault) => Err(fault.to_string()),
    }
}
