//! The storage thread's opening: the mail's volume, and on it mailboxes, queue, lessons, scripts, counts for reports and keys of logins.

use std::rc::Rc;
use std::sync::Arc;

use ::storage::filter::{Counters, Filter};
use ::storage::outgoing::Outgoing;
use ::storage::tallies::Tallies;
use device::Io;
use lessons::Lessons;
use logins::Keyring;
use mailbox::Mailboxes;
use plan::Misfit;
use queue::Queue;
use reports::Reports;
use runtime::SessionHost;
use scripts::Scripts;

use crate::engine::{self, Engine, OpenLegs, Opening};

/// What it answers with, on its own thread.
pub struct Opened {
    /// The mailboxes and the queue.
    pub outgoing: Outgoing,
    /// Devices, clock and tasks of the storage thread.
    pub io: Io,
    /// The open legs, for administration.
    pub legs: Rc<OpenLegs>,
    /// What the operator should know: legs omitted, damage found.
    pub notes: Vec<String>,
    /// The volume was made just now, or its first start was cut short: the first accounts are still to be made.
    pub is_new: bool,
}

/// Runs on the storage core. `tallies`: where cores count for reports. `scripted`: the name in what scripts send, and where they count.
pub async fn open(
    opening: Opening,
    tallies: Tallies,
    scripted: (String, Arc<Counters>),
) -> Result<Opened, Misfit> {
    let plan = &opening.plan;
    let Engine {
        io,
        legs,
        store,
        replay,
        mut notes,
        is_new,
    } = engine::open(&opening).await?;
    let settings = mailbox::Settings {
        cache_bytes: plan.mailbox_cache_bytes as usize,
        checkpoint_groups: plan.checkpoint_groups,
        checkpoint_bytes: plan.checkpoint_bytes,
        checkpoint_us: plan.checkpoint_us,
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
    let mailboxes = Mailboxes::open_beside(io.clone(), store, replay, settings, others)
        .await
        .map_err(|fault| Misfit::new(format!("the mailboxes cannot be opened: {fault}")))?;
    let queue = queue.expect("opening makes the tenants");
    let lessons = lessons.expect("opening makes the tenants");
    let scripts = scripts.expect("opening makes the tenants");
    let reports = reports.expect("opening makes the tenants");
    let left_out = mailboxes.store().open_report().damaged_stretches;
    if left_out > 0 {
        notes.push(format!(
            "{left_out} ranges of the log are damaged on every leg, and the mailboxes lack what was stored only there. Attach a leg that still has them and restart to recover it. `ringpostctl fsck full` lists them"
        ));
    }
    if let Some(why) = mailboxes.store().volume().refuses() {
        notes.push(format!(
            "mail can be read but none is accepted until this is resolved: {why}"
        ));
    }
    let outgoing = Outgoing::new(mailboxes, queue).with_lessons(lessons);
    let (name, counters) = scripted;
    let filter = Filter::new(scripts.clone(), SessionHost::of_core(), name, counters);
    let outgoing = outgoing.with_scripts(scripts).with_filter(filter);
    let outgoing = outgoing.with_reports(reports, tallies);
    let outgoing = outgoing.with_keyring(keyring.expect("opening makes the tenants"));
    outgoing.set_fresh_key(random()?);
    Ok(Opened {
        outgoing,
        io,
        legs,
        notes,
        is_new,
    })
}

/// From the system, for keys.
pub fn random() -> Result<[u8; 32], Misfit> {
    let mut bytes = [0; 32];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let filled = provider.secure_random.fill(&mut bytes);
    let why = "the system gives no random numbers";
    filled.map_err(|_| Misfit::new(why.to_owned()))?;
    Ok(bytes)
}
