//! One story of the lintel, from one seed: SMTP, mailboxes and IMAP together, as they are shipped, on virtual time.
//!
//! Senders deliver (in pieces, pipelined, to several recipients, and often the connection breaks), one or two persons work on the mailboxes of each
//! account, watchers idle, clients with QRESYNC come back, and some clients say nothing for ever. Meanwhile checkpoints and reclaim run, every leg may refuse writes for a while,
//! one leg may be weak, storage is busy now and then, accounts reach their quota, the volume may fill to the last byte, the machine stops in peace
//! or loses its power.
//!
//! What is checked: every letter that was answered 250 is there, once and whole, and one that was not answered at most once for each try; what a
//! person was told by OK is so, and a command without an answer happened or did not; UIDs only grow, and numbers, EXISTS, EXPUNGE and flags fit
//! each other in every session; a session that watched knows in the end what a new one is told; a client that was away has what the server has
//! as soon as it is back, over power cuts too; nothing waits for ever, and when the last
//! client is gone no session and no memory is left.
//!
//! What is not told here: STARTTLS and TLS from the start, because the simulator has no TLS (`runtime::memory` is a connection in clear).

mod cache;
mod landlord;
mod model;
mod person;
mod returner;
mod sender;
mod servers;
mod talk;
mod watcher;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use base::Host;
use base::host::sleep_us;
use device::Io;
use device::sim::Halt;
use fastrand::Rng;
use mailbox::Mailboxes;
use runtime::SessionHost;
use smtp::Role;

use crate::knobs::Knobs;
use crate::limits::{LINTEL_SHARE, LINTEL_SILENCE};
use crate::machine::{Shape, Weakness};
use crate::mailbox_box::{ACCOUNTS, MailboxBox};
use crate::volume_story::Told;

use landlord::Landlord;
use model::{Account, Token};
use person::Person;
use returner::{Caches, Returner};
use sender::Sender;
use servers::Servers;
use watcher::Watcher;

/// What outlives a crash.
/// Models and caches stay, volumes are opened again: after a cut everybody comes back with what they knew, as mail programs do.
struct Town {
    mailbox_box: MailboxBox,
    accounts: Rc<Vec<RefCell<Account>>>,
    /// What clients with QRESYNC keep, one for each of `accounts`.
    caches: Vec<Rc<Caches>>,
    tokens: Rc<Cell<Token>>,
    acked: Rc<Cell<u64>>,
    broken: Rc<RefCell<Option<String>>>,
    /// The volume is filled now and then.
    fills: bool,
}

/// One seed in `LINTEL_SHARE` has this story.
pub fn run(seed: u64) -> Result<Told, String> {
    if !seed.is_multiple_of(LINTEL_SHARE) {
        return Ok(Told::default());
    }
    // On a thread of its own: what a session leaves in thread-locals (its watch, when the power goes) ends with the story.
    let told = std::thread::scope(|scope| scope.spawn(|| tell(seed)).join());
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn tell(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed ^ 0x6c69_6e74_656c);
    let fills = rng.u8(..8) == 0;
    let (leg_bytes, segment_bytes) = match fills {
        true => (rng.u64(10..14) << 20, 256 << 10),
        false => (
            rng.u64(16..28) << 20,
            [256 << 10, 512 << 10][rng.usize(..2)],
        ),
    };
    let shape = Shape {
        legs: 2,
        leg_bytes,
        segment_bytes,
        in_flight_max: rng.usize(1..9),
        clients: rng.usize(1..3),
    };
    let settings = mailbox::Settings {
        cache_bytes: [1, 64 << 10, 64 << 20][rng.usize(..3)],
        checkpoint_groups: [8, 50, u64::MAX][rng.usize(..3)],
        checkpoint_bytes: [64 << 10, 1 << 20, u64::MAX][rng.usize(..3)],
        checkpoint_us: [10_000, 1_000_000, u64::MAX][rng.usize(..3)],
    };
    // With one person an account is known exactly, with two what the other did is only bounded. Both are worth their stories.
    let persons = [1, 1, 2][rng.usize(..3)];
    let accounts =
        (0..shape.clients).flat_map(|client| (0..ACCOUNTS).map(move |whose| (client, whose)));
    let names = accounts.map(|(client, whose)| format!("c{client}-{whose}@example.org"));
    let account = |name: String| {
        let of = move |person| RefCell::new(Account::new(name.clone(), person, persons));
        (0..persons).map(of)
    };
    let accounts: Vec<_> = names.flat_map(account).collect();
    let town = Town {
        mailbox_box: MailboxBox::create(seed, shape, settings)?,
        caches: accounts.iter().map(|_| Rc::default()).collect(),
        accounts: Rc::new(accounts),
        tokens: Rc::new(Cell::new(1)),
        acked: Rc::default(),
        broken: Rc::default(),
        fills,
    };
    if rng.u8(..4) == 0 {
        town.mailbox_box.draw_weakness(&mut rng);
        // Nothing here tells the volume of what is lost without a sign; `mailbox_story` does.
        let weakness = &town.mailbox_box.weakness;
        weakness.set(Weakness {
            silent: false,
            ..weakness.get()
        });
    }
    town.mailbox_box.knobs.set(Knobs {
        all_refuse: rng.u8(..4) == 0,
        ..Knobs::default()
    });
    let mut told = Told::default();
    let rounds = rng.u64(1..4);
    for round in 0..=rounds {
        let last = round == rounds;
        let done = power_on(&town, &mut rng, round, last);
        done.map_err(|text| format!("the lintel, round {round}: {text}"))?;
        told.crashes += 1;
    }
    told.acked = town.acked.get();
    told.faults = town.mailbox_box.fault_counts();
    told.digest = town.mailbox_box.world.digest();
    Ok(told)
}

fn power_on(town: &Town, rng: &mut Rng, round: u64, last: bool) -> Result<(), String> {
    let mailbox_box = &town.mailbox_box;
    let world = &mailbox_box.world;
    mailbox_box.faults_off();
    if !last && mailbox_box.weakness.get().leg.is_some() {
        mailbox_box.draw_faults(rng);
    }
    if !last && rng.u8(..3) > 0 {
        world.crash_at(world.boundaries() + rng.u64(1..600));
    }
    let io = world.io();
    let plan = rng.fork();
    match world.run(work(town, &io, plan, round, last)) {
        Ok(done) => done?,
        Err(Halt::PowerCut) => {}
        Err(halt) => return Err(halt.to_string()),
    }
    town.unbroken()?;
    world.crash();
    Ok(())
}

async fn work(town: &Town, io: &Io, mut rng: Rng, round: u64, last: bool) -> Result<(), String> {
    let mailboxes = town.mailbox_box.open(io).await?;
    let busy_share = [0, 0, 10, 100][rng.usize(..4)];
    // In the last round everything must be found, so that nothing may refuse to look.
    let busy_share = if last { 0 } else { busy_share };
    let servers = Rc::new(Servers::new(
        io.host.clone(),
        &mailboxes,
        round,
        busy_share,
        rng.fork(),
    ));
    // Those who work end by themselves; those who watch are told (`quiet`) when the others have ended.
    let (running, quiet) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let watching = Rc::new(Cell::new(0));
    let start = |task: LocalWork, running: &Rc<Cell<usize>>| town.start(&*io.host, task, running);
    let works = match mailboxes.store().volume().refuses() {
        None if !last => rng.usize(1..45),
        // It can only be read, until the next opening.
        _ => 1,
    };
    town.set_quotas(&mailboxes, &mut rng, last).await?;
    if town.fills {
        let mut landlord = Landlord {
            host: io.host.clone(),
            mailboxes: mailboxes.clone(),
            rng: rng.fork(),
            only_leaves: last || works == 1,
        };
        start(Box::pin(async move { landlord.run().await }), &running);
    }
    for index in 0..town.accounts.len() {
        let mut person = town.person(&servers, index, &mut rng, busy_share == 0);
        start(Box::pin(async move { person.run(works).await }), &running);
        let mut watcher = Watcher {
            servers: servers.clone(),
            accounts: town.accounts.clone(),
            user: town.accounts[index].borrow().name.clone(),
            quiet: quiet.clone(),
            rng: rng.fork(),
        };
        // One for an account, at most.
        if town.accounts[index].borrow().is_first() && rng.u8(..3) > 0 {
            start(Box::pin(async move { watcher.run().await }), &watching);
        }
        if town.accounts[index].borrow().is_first() && rng.u8(..2) == 0 {
            let mut returner = town.returner(&servers, index, &quiet, rng.fork(), busy_share == 0);
            start(Box::pin(async move { returner.run().await }), &watching);
        }
    }
    for _ in 0..rng.usize(1..4) {
        let mut sender = Sender {
            servers: servers.clone(),
            accounts: town.accounts.clone(),
            tokens: town.tokens.clone(),
            acked: town.acked.clone(),
            rng: rng.fork(),
        };
        let letters = rng.usize(1..10);
        start(Box::pin(async move { sender.run(letters).await }), &running);
    }
    if rng.u8(..8) == 0 {
        let (servers, rng) = (servers.clone(), rng.fork());
        start(
            Box::pin(async move { say_nothing(&servers, rng).await }),
            &watching,
        );
    }
    // One at most: what has its place in the log waits until the legs take it, however long that is.
    let mut outage = true;
    let weak = !last && town.mailbox_box.weakness.get().leg.is_some();
    let stops = !last && rng.u8(..6) == 0;
    while running.get() > 0 {
        sleep_us(&*io.host, rng.u64(1..20_000)).await;
        match rng.u8(..24) {
            0 => drop(mailboxes.checkpoint().await),
            1 => _ = mailboxes.reclaim().await,
            2 if std::mem::take(&mut outage) => town.mailbox_box.begin_outage(io, &mut rng),
            // A stop in peace in the middle of everything: sessions get their BYE, and nothing that was answered may be missing afterwards.
            3 if stops => servers.stop.request(),
            4 | 5 if weak => town.mailbox_box.disturb(&mut rng),
            6 | 7 if weak => {
                let volume = mailboxes.store().volume();
                town.mailbox_box.attach_missing(volume).await;
            }
            _ => {}
        }
        town.unbroken()?;
    }
    quiet.set(true);
    while watching.get() > 0 {
        sleep_us(&*io.host, 10_000).await;
    }
    town.unbroken()?;
    servers.at_rest().await?;
    town.within_quotas(&mailboxes).await?;
    if last {
        // Nothing disturbs any more.
        town.mailbox_box
            .heal(io, mailboxes.store().volume())
            .await?;
        for index in 0..town.accounts.len() {
            let mut person = town.person(&servers, index, &mut rng, true);
            person.last_look().await?;
            let rng = rng.fork();
            let mut returner = town.returner(&servers, index, &quiet, rng, true);
            returner.last_look().await?;
        }
        servers.at_rest().await?;
    }
    end(&mailboxes, &mut rng).await;
    Ok(())
}

async fn end(mailboxes: &Mailboxes, rng: &mut Rng) {
    if rng.bool() {
        drop(mailboxes.close().await);
        drop(mailboxes.store().volume().close().await);
    }
}

type LocalWork = std::pin::Pin<Box<dyn Future<Output = Result<(), String>>>>;

impl Town {
    fn person(&self, servers: &Rc<Servers>, index: usize, rng: &mut Rng, strict: bool) -> Person {
        Person {
            servers: servers.clone(),
            accounts: self.accounts.clone(),
            index,
            tokens: self.tokens.clone(),
            acked: self.acked.clone(),
            break_share: [0, 12, 60][rng.usize(..3)],
            rng: rng.fork(),
            strict,
        }
    }

    fn returner(
        &self,
        servers: &Rc<Servers>,
        index: usize,
        quiet: &Rc<Cell<bool>>,
        rng: Rng,
        strict: bool,
    ) -> Returner {
        Returner {
            servers: servers.clone(),
            user: self.accounts[index].borrow().name.clone(),
            caches: self.caches[index].clone(),
            quiet: quiet.clone(),
            rng,
            strict,
            unknown: false,
        }
    }

    /// Some accounts get little more than they use; in the end none has a limit.
    async fn set_quotas(
        &self,
        mailboxes: &Mailboxes,
        rng: &mut Rng,
        last: bool,
    ) -> Result<(), String> {
        for account in self.addresses(mailboxes).await? {
            // Little more than is used, so that the limit is reached by the next letters and not only in theory.
            let limited = !last && rng.u8(..6) == 0;
            let quota_bytes = match limited {
                true => account.used_bytes + rng.u64(1..40_000),
                false => 0,
            };
            if quota_bytes != account.quota_bytes {
                // Refused while storage defers: then it has the limit that it had.
                drop(mailboxes.set_quota(account.id, quota_bytes).await);
            }
        }
        Ok(())
    }

    async fn within_quotas(&self, mailboxes: &Mailboxes) -> Result<(), String> {
        let over = |account: &mailbox::Account| {
            account.quota_bytes > 0 && account.used_bytes > account.quota_bytes
        };
        let accounts = self.addresses(mailboxes).await?;
        match accounts.iter().find(|account| over(account)) {
            Some(account) => Err(format!("an account is over its quota: {account:?}")),
            None => Ok(()),
        }
    }

    async fn addresses(&self, mailboxes: &Mailboxes) -> Result<Vec<mailbox::Account>, String> {
        let accounts = mailboxes.accounts(None, usize::MAX).await;
        let mut accounts = accounts.map_err(|fault| format!("accounts cannot be read: {fault}"))?;
        accounts.retain(|account| account.address.local() != landlord::LOCAL);
        Ok(accounts)
    }

    fn start(&self, host: &dyn Host, task: LocalWork, running: &Rc<Cell<usize>>) {
        let (broken, running) = (self.broken.clone(), running.clone());
        running.set(running.get() + 1);
        host.spawn(Box::pin(async move {
            if let Err(text) = task.await {
                // The first one only: what others find afterwards mostly follows from it.
                broken.borrow_mut().get_or_insert(text);
            }
            running.set(running.get() - 1);
        }));
    }

    fn unbroken(&self) -> Result<(), String> {
        match &*self.broken.borrow() {
            Some(text) => Err(text.clone()),
            None => Ok(()),
        }
    }
}

/// A client that says nothing, or half a line, and has to be left.
async fn say_nothing(servers: &Servers, mut rng: Rng) -> Result<(), String> {
    let line = match rng.bool() {
        true => servers.connect_smtp(Role::Smtp, 100),
        false => servers.connect_imap(100),
    };
    let Some(line) = line else { return Ok(()) };
    if rng.bool() {
        // It may have been left already.
        let _ = line.peer.send(b"EHLO half a li").await;
    }
    let host = SessionHost::on(servers.host.clone());
    let end = async { while line.peer.receive(&mut Vec::new(), 100).await > 0 {} };
    let ended = host.within(LINTEL_SILENCE, end).await;
    ended.ok_or("a silent client is never left")?;
    servers.ended(line).await
}
