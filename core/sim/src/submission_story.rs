//! One story of messages that are submitted, from one seed: each has a copy in Sent and an entry in the queue, in one group.
//!
//! Several tenants of one log are put to the test together: deliveries, tries and removals run beside checkpoints and reclaim, the power
//! goes at any boundary, and sometimes the projection is thrown away. Afterwards a copy in Sent has its entry or the entry was removed,
//! no entry is without its copy, and what left never comes back.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base::BodyName;
use bytes::Bytes;
use device::Io;
use device::sim::Halt;
use fastrand::Rng;
use mail::{Address, Flags, InternalDate, SystemFlags};
use mailbox::{AccountId, Delivery, FlagChange, MailboxFault, Mailboxes, Recipient};
use queue::{
    Addressee, Envelope, Note, Queue, QueueFault, QueueId, RecipientState, Terms, UnixSeconds,
};
use store::{BodyIn, Store};

use crate::machine::{Machine, Shape};
use crate::mailbox_look::letter;
use crate::volume_story::Told;

/// What was answered, and what was asked last.
/// At most one operation is open at a time, so that after a cut there are two possible worlds and not many: with it and without it.
#[derive(Default)]
struct Known {
    /// Letters in Sent.
    copies: BTreeSet<u64>,
    /// Letters that wait.
    waiting: BTreeMap<u64, QueueId>,
    submitted: u64,
    /// Submitted and not answered.
    submitting: Option<u64>,
    /// To be taken out of the queue, and not answered.
    removing: Option<u64>,
    /// To be expunged from Sent, and not answered.
    expunging: Vec<u64>,
    next: u64,
    account: Option<AccountId>,
}

struct Open {
    mailboxes: Mailboxes,
    queue: Queue,
}

pub fn run(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed ^ 0x7375_626d_6974);
    let mut told = Told::default();
    // One seed in four: each of its parts is in other stories as well.
    if rng.u8(..4) > 0 {
        return Ok(told);
    }
    let shape = Shape {
        legs: 2,
        leg_bytes: rng.u64(6 << 4..8 << 4) << 16,
        segment_bytes: 128 << 10,
        in_flight_max: rng.usize(1..9),
        clients: 1,
    };
    let machine = Machine::create(seed, shape)?;
    let known = Rc::new(RefCell::new(Known::default()));
    for round in 0..rng.u64(2..5) {
        let world = &machine.world;
        let io = world.io();
        // Half of the rounds end by themselves and are then cut off in idleness: what was answered must not depend on anything that comes later.
        let cut = rng.bool().then(|| rng.u64(1..400));
        let plan = rng.fork();
        let lived = world.run(async {
            let open = open(&machine, &io).await?;
            check(&open, &known).await?;
            if let Some(cut) = cut {
                world.crash_at(world.boundaries() + cut);
            }
            live(&open, &known, plan).await
        });
        match lived {
            Ok(lived) => lived.map_err(|text| format!("submissions, round {round}: {text}"))?,
            Err(Halt::PowerCut) => {}
            Err(halt) => return Err(format!("submissions, round {round}: {halt}")),
        }
        world.crash();
        told.crashes += 1;
    }
    let io = machine.world.io();
    let ended = machine.world.run(async {
        let open = open(&machine, &io).await?;
        check(&open, &known).await
    });
    ended
        .map_err(|halt| halt.to_string())?
        .map_err(|text| format!("submissions, at the end: {text}"))?;
    told.acked = known.borrow().submitted;
    told.digest = machine.world.digest();
    machine.world.crash();
    Ok(told)
}

async fn open(machine: &Machine, io: &Io) -> Result<Open, String> {
    let volume = machine
        .open(io)
        .await
        .map_err(|refusal| format!("open: {refusal}"))?;
    let settings = store::Settings {
        projection_cache_bytes: 1 << 20,
        compression_level: 1,
        lead: mail::header::bytes,
    };
    let opened = Store::open(io.clone(), volume, settings).await;
    let (store, replay) = opened.map_err(|fault| format!("store: {fault}"))?;
    machine.world.after_each_step(store.checker());
    // Checkpoints come often, and the log is short: a rebuild, a replay from a checkpoint and reclaim all happen within some hundred letters.
    let settings = mailbox::Settings {
        cache_bytes: 1 << 20,
        checkpoint_groups: 50,
        checkpoint_bytes: 1 << 20,
        checkpoint_us: 1_000_000,
    };
    let mut queue = None;
    let others = |tenancy: &_| {
        let made = queue.insert(Queue::new(tenancy));
        vec![made.tenant()]
    };
    let opened = Mailboxes::open_beside(io.clone(), store, replay, settings, others).await;
    let mailboxes = opened.map_err(|fault| format!("mailboxes: {fault}"))?;
    let queue = queue.ok_or("the queue was not made")?;
    Ok(Open { mailboxes, queue })
}

async fn live(open: &Open, known: &RefCell<Known>, mut rng: Rng) -> Result<(), String> {
    let account = account(open, known).await?;
    for _ in 0..rng.usize(20..200) {
        let some = {
            let known = known.borrow();
            rng.choice(known.waiting.iter())
                .map(|(number, id)| (*number, *id))
        };
        let done = match (rng.u8(..20), some) {
            (0, _) => open.mailboxes.checkpoint().await.or_else(refused),
            (1, _) => {
                open.mailboxes.reclaim().await;
                Ok(())
            }
            // The projection is thrown away at the next opening and built again from the log: what reclaim carried forward has to be enough.
            (2, _) if rng.u8(..8) == 0 => {
                let asked = open.mailboxes.store().request_rebuild().await;
                asked.map_err(|fault| format!("rebuild: {fault}"))
            }
            (3, _) => expunge(open, known, account, &mut rng).await,
            (4..9, Some((number, id))) => remove(open, known, number, id).await,
            (9..11, Some((_, id))) => tried(open, id).await,
            _ => submit(open, known, account).await,
        };
        done?;
    }
    Ok(())
}

/// A full volume refuses; that is no fault here.
fn refused(fault: MailboxFault) -> Result<(), String> {
    match fault {
        MailboxFault::Full | MailboxFault::Unavailable(_) => Ok(()),
        fault => Err(fault.to_string()),
    }
}

async fn account(open: &Open, known: &RefCell<Known>) -> Result<AccountId, String> {
    if let Some(account) = known.borrow().account {
        return Ok(account);
    }
    let ada = Address::from_parts("ada", "example.org").ok_or("plain words")?;
    match open.mailboxes.add_domain("example.org").await {
        Ok(()) | Err(MailboxFault::Exists) => {}
        Err(fault) => return Err(fault.to_string()),
    }
    let made = match open.mailboxes.account(&ada).await {
        // Its creation was not answered, and happened.
        Ok(Some(there)) => Ok(there.id),
        _ => open.mailboxes.add_account(&ada, "$argon2id$x", 0).await,
    };
    let account = made.map_err(|fault| fault.to_string())?;
    known.borrow_mut().account = Some(account);
    Ok(account)
}

async fn submit(open: &Open, known: &RefCell<Known>, account: AccountId) -> Result<(), String> {
    let number = {
        let mut known = known.borrow_mut();
        known.next += 1;
        known.submitting = Some(known.next);
        known.next
    };
    let raw = letter(number);
    let delivery = Delivery {
        body: BodyIn {
            name: BodyName::of(&raw),
            raw,
            summary: Bytes::new(),
        },
        internal_date: InternalDate::utc(number as i64),
        recipients: vec![Recipient {
            account,
            mailbox: "Sent".to_owned(),
            flags: Flags::default(),
        }],
    };
    let envelope = Envelope {
        from: "ada@example.org".to_owned(),
        recipients: vec![Addressee::new(format!("to{number}@example.net"))],
        arrived: UnixSeconds(number),
        warns: UnixSeconds(number + 14_400),
        expires: UnixSeconds(number + 432_000),
        terms: Terms::default(),
    };
    let mut given = None;
    // The queue's part joins the delivery's group: that the two cannot come apart is what this story is about.
    let placed = open.mailboxes.deliver_with(delivery, |_| {
        let (id, part) = open.queue.put(envelope, 0).map_err(|fault| match fault {
            QueueFault::Store(fault) => fault.into(),
            fault => MailboxFault::Unavailable(fault.to_string()),
        })?;
        given = Some(id);
        Ok(vec![part])
    });
    let placed = placed.await;
    let mut known = known.borrow_mut();
    known.submitting = None;
    match placed.into_iter().next() {
        Some(Ok(_)) => {
            known.copies.insert(number);
            known.waiting.extend(given.map(|id| (number, id)));
            known.submitted += 1;
        }
        Some(Err(fault)) => refused(fault)?,
        None => return Err("no answer for a recipient".to_owned()),
    }
    Ok(())
}

async fn remove(
    open: &Open,
    known: &RefCell<Known>,
    number: u64,
    id: QueueId,
) -> Result<(), String> {
    known.borrow_mut().removing = Some(number);
    let removed = open.queue.remove(id).await;
    let mut known = known.borrow_mut();
    known.removing = None;
    match removed {
        // Only an answer counts. Without one the number stays in `removing`, and the check takes either.
        Ok(()) => _ = known.waiting.remove(&number),
        Err(QueueFault::Store(fault)) => refused(fault.into())?,
        Err(fault) => return Err(format!("{id:?}: {fault}")),
    }
    Ok(())
}

async fn tried(open: &Open, id: QueueId) -> Result<(), String> {
    let outcome = queue::Outcome {
        recipient: 0,
        state: RecipientState::Waiting(UnixSeconds(u64::from(u32::MAX))),
        reply: "450 4.2.1".to_owned(),
        host: "mx.example.net".to_owned(),
    };
    let note = Note {
        at: UnixSeconds(1),
        warned: false,
        outcomes: vec![outcome],
    };
    match open.queue.settle(id, note, None).await {
        Ok(_) => Ok(()),
        Err(QueueFault::Store(fault)) => refused(fault.into()),
        Err(fault) => Err(format!("{id:?}: {fault}")),
    }
}

/// What is there is what was answered, with or without what was asked last.
async fn check(open: &Open, known: &RefCell<Known>) -> Result<(), String> {
    let Some(account) = known.borrow().account else {
        return Ok(());
    };
    let fault = |fault: MailboxFault| fault.to_string();
    let folders = open.mailboxes.list(account).await.map_err(fault)?;
    let sent = folders
        .iter()
        .find(|folder| folder.name == "Sent")
        .ok_or("Sent is gone")?;
    let view = open.mailboxes.view(sent.id).await.map_err(fault)?;
    let mut copies = BTreeSet::new();
    for message in view.messages.iter() {
        let number = message.internal_date.unix_seconds as u64;
        if message.body.name != BodyName::of(&letter(number)) || !copies.insert(number) {
            return Err(format!(
                "letter {number} in Sent is not what was sent, or is there twice"
            ));
        }
    }
    let mut waiting = BTreeMap::new();
    for entry in open.queue.entries(None, usize::MAX) {
        let number = entry.arrived.0;
        // Proved by its name and not only by the checksum of its place: a reference that reclaim moved wrongly leads to intact bytes of another letter.
        let body = open.mailboxes.store().body_proved(&entry.body).await;
        if body.as_ref() != Ok(&letter(number)) {
            return Err(format!(
                "the body of queue entry {number}: {:?}",
                body.map(drop)
            ));
        }
        if waiting.insert(number, entry.id).is_some() {
            return Err(format!("letter {number} waits twice"));
        }
    }
    let mut known = known.borrow_mut();
    if let Some(number) = known.submitting.take() {
        match (copies.contains(&number), waiting.get(&number)) {
            (true, Some(id)) => {
                known.copies.insert(number);
                known.waiting.insert(number, *id);
            }
            (false, None) => {}
            // The copy without the entry would be mail that its sender believes sent; the entry without the copy, mail nobody can find.
            half => return Err(format!("letter {number} came by halves: {half:?}")),
        }
    }
    if let Some(number) = known.removing.take()
        && !waiting.contains_key(&number)
    {
        known.waiting.remove(&number);
    }
    // One expunge is all or nothing.
    let expunging = std::mem::take(&mut known.expunging);
    if expunging.iter().all(|number| !copies.contains(number)) {
        known.copies.retain(|number| !expunging.contains(number));
    }
    match copies == known.copies && waiting == known.waiting {
        true => Ok(()),
        false => Err(format!(
            "in Sent {copies:?} and answered {:?}; {waiting:?} wait and answered {:?}",
            known.copies, known.waiting
        )),
    }
}

/// Half of what is in Sent is deleted; what waits goes on to wait.
async fn expunge(
    open: &Open,
    known: &RefCell<Known>,
    account: AccountId,
    rng: &mut Rng,
) -> Result<(), String> {
    let fault = |fault: MailboxFault| fault.to_string();
    let folders = open.mailboxes.list(account).await.map_err(fault)?;
    let sent = folders
        .iter()
        .find(|folder| folder.name == "Sent")
        .ok_or("Sent is gone")?
        .id;
    let view = open.mailboxes.view(sent).await.map_err(fault)?;
    let some = view.messages.iter().filter(|_| rng.bool());
    let (uids, numbers): (Vec<_>, Vec<u64>) = some
        .map(|message| (message.uid, message.internal_date.unix_seconds as u64))
        .unzip();
    // Before it is asked for: the power may go between the flags and the expunge, and then none of them is gone.
    known.borrow_mut().expunging.clone_from(&numbers);
    let deleted = Flags::system(SystemFlags::DELETED);
    let flagged = open
        .mailboxes
        .flag(sent, &uids, FlagChange::Add, &deleted)
        .await;
    let expunged = match flagged {
        Ok(_) => open.mailboxes.expunge(sent, &uids).await,
        Err(fault) => Err(fault),
    };
    let mut known = known.borrow_mut();
    known.expunging.clear();
    match expunged {
        Ok(_) => known.copies.retain(|number| !numbers.contains(number)),
        Err(fault) => refused(fault)?,
    }
    Ok(())
}
