//! Who administers: aliases and groups change, messages are held, released, retried and dropped, and the volume is filled and emptied.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use base::BodyName;
use bytes::Bytes;
use fastrand::Rng;
use mail::{Address, Flags, InternalDate, SystemFlags};
use mailbox::names::Posters;
use mailbox::{AccountId, Delivery, FlagChange, Mailboxes, Recipient};
use queue::{Entry, QueueFault, RecipientState, UnixSeconds};
use storage::outgoing::Outgoing;
use store::BodyIn;

use super::mail_text::Mail;
use super::model::{Held, Known};
use super::power_on::{PowerOn, SWIFT};

pub const ACCOUNTS: [&str; 3] = ["ada", "bob", HOG];
/// Its mail fills the volume.
const HOG: &str = "hog";
const GROUP: &str = "all@example.org";
const ALIASES: [&str; 3] = ["sales@example.org", "team@example.org", "@catch.org"];
/// Where names lead; the first is a name too, and leads on.
const LEAVES: [&str; 9] = [
    "sales@example.org",
    "ring@example.org",
    "x@d1.example",
    "y@d1.example",
    "x@d2.example",
    "x@d3.example",
    "x@swift.example",
    "ada@example.org",
    "bob@example.org",
];

pub struct Operator {
    pub power: Rc<PowerOn>,
    pub known: Rc<RefCell<Known>>,
    pub rng: Rng,
    pub fills: bool,
}

/// A blank volume gets its names.
pub async fn furnish(outgoing: &Outgoing, known: &RefCell<Known>) -> Result<(), String> {
    let mailboxes = outgoing.mailboxes();
    let directory = mailboxes.directory();
    let fault = |fault: &dyn std::fmt::Display| format!("names: {fault}");
    for domain in ["example.org", "catch.org"] {
        mailboxes
            .add_domain(domain)
            .await
            .map_err(|why| fault(&why))?;
    }
    for local in ACCOUNTS {
        let made = mailboxes
            .add_account(&at(&format!("{local}@example.org")), "$x", 0)
            .await;
        made.map_err(|why| fault(&why))?;
    }
    for (name, targets) in [
        // A circle on purpose. Expanding it has to end, and mail to it has to be refused or reported, never to go round.
        ("ring@example.org", &["ring2@example.org"][..]),
        ("ring2@example.org", &["ring@example.org"]),
        (ALIASES[0], &["x@d1.example", "ada@example.org"]),
        (ALIASES[1], &["sales@example.org", "x@d2.example"]),
        (ALIASES[2], &["y@d1.example"]),
    ] {
        let made = directory.put_alias(name, targets.iter().map(|path| at(path)).collect());
        made.await.map_err(|why| fault(&why))?;
        let targets = targets.iter().map(|path| (*path).to_owned()).collect();
        known.borrow_mut().leads(name, targets);
    }
    let owner = at("ada@example.org");
    let made = directory
        .make_group(GROUP, Posters::Anyone, owner, "All")
        .await;
    made.map_err(|why| fault(&why))?;
    let members = ["bob@example.org", "x@d3.example", "x@swift.example"];
    let added = directory.add_members(GROUP, members.map(at).to_vec()).await;
    added.map_err(|why| fault(&why))?;
    let mut known = known.borrow_mut();
    known.leads(GROUP, members.map(str::to_owned).to_vec());
    known.set_owner(GROUP, "ada@example.org");
    Ok(())
}

/// After a start: each name leads where it was asked to, and what is held still is.
// An operation that was not answered before the power went may have happened or not; `Known` holds both, and `led` settles on one.
pub fn look(outgoing: &Outgoing, known: &mut Known, now_us: u64) -> Result<(), String> {
    let directory = outgoing.mailboxes().directory();
    for name in known.names() {
        let targets: Vec<Address> = match directory.alias(&name) {
            Some((_, alias)) => alias.targets,
            None => {
                let groups = directory.groups(None, usize::MAX).into_iter();
                let group = groups.into_iter().find(|(group, ..)| *group == name);
                group.map_or(Vec::new(), |(_, group, _)| directory.members(&name, &group))
            }
        };
        let targets: Vec<String> = targets.iter().map(Address::to_path).collect();
        known.led(&name, &targets, now_us)?;
    }
    for id in known.held.keys() {
        if outgoing.queue().entry(*id).is_none_or(|entry| !entry.held) {
            return Err(format!("message {} was held, and is not", id.0));
        }
    }
    Ok(())
}

impl Operator {
    pub async fn run(&mut self, works: usize) -> Result<(), String> {
        let host = self.power.sessions();
        for _ in 0..works {
            host.sleep(Duration::from_millis(self.rng.u64(..1_200_000)))
                .await;
            if self.power.stop.is_requested() {
                break;
            }
            match self.rng.u8(..12) {
                0..=2 => self.change_alias().await,
                3 | 4 => self.change_group().await,
                5 | 6 => self.hold().await,
                7 => self.release_all().await,
                8 | 9 => self.retry().await?,
                10 => self.drop_one().await,
                _ if self.fills => self.fill().await,
                _ => _ = self.power.outgoing.mailboxes().reclaim().await,
            }
        }
        Ok(())
    }

    async fn change_alias(&mut self) {
        let name = ALIASES[self.rng.usize(..ALIASES.len())];
        let some = LEAVES
            .iter()
            .filter(|leaf| **leaf != name && (name == ALIASES[1] || **leaf != ALIASES[0]));
        let some = some.filter(|_| self.rng.u8(..3) == 0);
        let targets: Vec<String> = some.map(|leaf| (*leaf).to_owned()).collect();
        // Recorded before it is asked for. A letter that is expanded meanwhile may go the old or the new way, and both are right until the
        // answer is here.
        let before = self.known.borrow().targets(name);
        self.known.borrow_mut().leads(name, targets.clone());
        let directory = self.power.outgoing.mailboxes().directory();
        let done = match targets.is_empty() {
            true => directory.remove_alias(name).await,
            false => {
                let targets = targets.iter().map(|path| at(path)).collect();
                directory.put_alias(name, targets).await
            }
        };
        let leads = if done.is_ok() { targets } else { before };
        self.settle_name(name, leads);
    }

    async fn change_group(&mut self) {
        let before = self.known.borrow().targets(GROUP);
        let leaf = LEAVES[self.rng.usize(2..LEAVES.len())].to_owned();
        let mut targets = before.clone();
        // A group never becomes empty here: the model would have to know for each moment whether mail to it is refused.
        let is_member = targets.contains(&leaf);
        match is_member {
            true => targets.retain(|target| *target != leaf),
            false => targets.push(leaf.clone()),
        }
        if targets.is_empty() {
            return;
        }
        self.known.borrow_mut().leads(GROUP, targets.clone());
        let directory = self.power.outgoing.mailboxes().directory();
        let done = match is_member {
            true => directory.drop_members(GROUP, vec![at(&leaf)]).await,
            false => directory.add_members(GROUP, vec![at(&leaf)]).await,
        };
        let leads = if done.is_ok() { targets } else { before };
        self.settle_name(GROUP, leads);
    }

    // Answered: from now on only this counts. Refused (a full volume): only what was before.
    fn settle_name(&self, name: &str, leads: Vec<String>) {
        let mut known = self.known.borrow_mut();
        if let Err(words) = known.led(name, &leads, self.power.now_us()) {
            known.fail(words);
        }
        // What it leads to is the last one that is named.
        known.leads(name, leads.clone());
        let _named_just_now = known.led(name, &leads, self.power.now_us());
    }

    /// Some message; not one of those that must not wait.
    fn some(&mut self) -> Option<Entry> {
        let mut entries = self.power.outgoing.queue().entries(None, usize::MAX);
        entries.retain(|entry| {
            let mut recipients = entry.recipients.iter();
            recipients.all(|recipient| !recipient.to.path.ends_with(SWIFT))
        });
        let count = entries.len();
        (count > 0).then(|| entries.swap_remove(self.rng.usize(..count)))
    }

    async fn hold(&mut self) {
        let Some(entry) = self.some() else { return };
        let (outgoing, id) = (&self.power.outgoing, entry.id);
        if outgoing.hold(id, true).await.is_err() {
            return;
        }
        // So the story waits until nothing of it is under way, and only then takes note of who must not get it until the release.
        // What is under way when it is held may leave.
        let host = self.power.sessions();
        while outgoing.is_under_way(id) {
            if self.power.stop.is_requested() {
                return;
            }
            host.sleep(Duration::from_secs(1)).await;
        }
        let Some(entry) = outgoing.queue().entry(id) else {
            return;
        };
        let waiting = entry
            .recipients
            .iter()
            .filter(|each| matches!(each.state, RecipientState::Waiting(_)));
        let paths = waiting.map(|each| each.to.path.clone()).collect();
        let held = Held {
            body: entry.body.name,
            paths,
        };
        self.known.borrow_mut().held.insert(id, held);
    }

    /// Until it is so.
    pub async fn release_all(&mut self) {
        self.known.borrow_mut().held.clear();
        for entry in self.power.outgoing.queue().entries(None, usize::MAX) {
            if entry.held {
                drop(self.power.outgoing.hold(entry.id, false).await);
            }
        }
    }

    // A message that has left meanwhile, or a log that is full, is an honest answer; everything else is a fault.
    async fn retry(&mut self) -> Result<(), String> {
        let Some(entry) = self.some() else {
            return Ok(());
        };
        let now = UnixSeconds(self.power.host.unix_seconds().max(0) as u64);
        match self.power.outgoing.retry(entry.id, now).await {
            Ok(()) | Err(QueueFault::NoEntry | QueueFault::Store(_)) => Ok(()),
            Err(fault) => Err(format!("retry: {fault}")),
        }
    }

    async fn drop_one(&mut self) {
        let Some(entry) = self.some() else { return };
        let (outgoing, id) = (&self.power.outgoing, entry.id);
        let mut raw = Vec::new();
        while raw.len() < entry.body.raw_bytes as usize {
            let Some(Ok(piece)) = outgoing.body(id, raw.len() as u32).await else {
                return;
            };
            raw.extend_from_slice(&piece);
        }
        let mail = Mail::read(String::from_utf8_lossy(&raw).into_owned(), &entry.from);
        let Some(token) = mail.token else {
            let text = format!("message {} of the queue was not written", id.0);
            return self.known.borrow_mut().fail(text);
        };
        {
            // A removal whose answer is lost with the power may be durable: from here on nothing may be demanded for these recipients.
            // Whether or not it is answered.
            let mut known = self.known.borrow_mut();
            let paths: Vec<String> = match &mail.report {
                Some(report) => {
                    let cases = report.cases.iter();
                    cases.map(|(path, _)| format!("report on {path}")).collect()
                }
                None => entry
                    .recipients
                    .iter()
                    .map(|each| each.to.path.clone())
                    .collect(),
            };
            known.held.remove(&id);
            known
                .dropped
                .extend(paths.into_iter().map(|path| (token, path)));
        }
        drop(outgoing.queue().remove(id).await);
    }

    /// Until the volume takes no more.
    // Random bytes, so that compression saves nothing and the volume is full after a known amount of mail.
    async fn fill(&mut self) {
        self.known.borrow_mut().was_full = true;
        let mailboxes = self.power.outgoing.mailboxes();
        let Ok(Some(hog)) = mailboxes.account(&at("hog@example.org")).await else {
            return;
        };
        for count in 0..FILLED_MAX {
            let mut raw = vec![b'x'; self.rng.usize(20_000..400_000)];
            self.rng.fill(&mut raw);
            raw[..8].copy_from_slice(&count.to_le_bytes());
            let raw = Bytes::from(raw);
            let delivery = Delivery {
                body: BodyIn {
                    name: BodyName::of(&raw),
                    raw,
                    summary: Bytes::new(),
                },
                internal_date: InternalDate::utc(0),
                recipients: vec![Recipient {
                    account: hog.id,
                    mailbox: "INBOX".to_owned(),
                    flags: Flags::default(),
                }],
            };
            if mailboxes.deliver(delivery).await.iter().any(Result::is_err) {
                break;
            }
        }
    }

    /// There is room again.
    // Deleting must work on a full volume: it is the only way out that an operator has. What it freed is there a few checkpoints later.
    pub async fn empty(&self) -> Result<(), String> {
        let mailboxes = self.power.outgoing.mailboxes();
        let hog = mailboxes.account(&at("hog@example.org")).await;
        let hog = hog
            .map_err(|fault| fault.to_string())?
            .ok_or("no such account")?;
        let (inbox, uids) = inbox(mailboxes, hog.id).await?;
        if uids.is_empty() {
            return Ok(());
        }
        let deleted = Flags::system(SystemFlags::DELETED);
        let fault = |fault| format!("a full volume cannot be emptied: {fault}");
        let flagged = mailboxes
            .flag(inbox, &uids, FlagChange::Add, &deleted)
            .await;
        flagged.map_err(fault)?;
        mailboxes.expunge(inbox, &uids).await.map_err(fault)?;
        let host = self.power.sessions();
        for _ in 0..crate::limits::EMPTYING_PASSES_MAX {
            drop(mailboxes.checkpoint().await);
            mailboxes.reclaim().await;
            host.sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// The first mailbox of an account, and what is in it.
pub async fn inbox(
    mailboxes: &Mailboxes,
    account: AccountId,
) -> Result<(mailbox::MailboxId, Vec<mail::Uid>), String> {
    let folders = mailboxes
        .list(account)
        .await
        .map_err(|fault| fault.to_string())?;
    let inbox = folders.iter().find(|folder| folder.name == "INBOX");
    let inbox = inbox.ok_or("INBOX is gone")?.id;
    let view = mailboxes
        .view(inbox)
        .await
        .map_err(|fault| fault.to_string())?;
    Ok((
        inbox,
        view.messages.iter().map(|message| message.uid).collect(),
    ))
}

pub fn at(path: &str) -> Address {
    Address::from_path(path).expect("a plain address")
}

/// Messages that fill the volume at once; it is smaller.
const FILLED_MAX: u64 = 400;
