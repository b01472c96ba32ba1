//! `fsck` and `spool fsck`, online and beside the mail: the legs, the log, the mailboxes, and every body proved by its name.

use ::admin::limits::FSCK_FINDINGS_MAX;
use ::admin::reply::{LegLine, LegVerdict, SpoolVerdict, Verdict};
use ::volume::{LegState, ScrubReport, Volume};
use base::BodyName;
use mailbox::{Account, MailboxFault, MailboxId, Mailboxes, View};
use spool::Spool;
use storage::upkeep::retire_replaced;

use crate::admin::accounts::{self, parse_address};
use crate::admin::limits::FSCK_BODIES_AT_ONCE;
use crate::admin::shared::{Admin, Refused, volume_of};
use crate::admin::{legs, volume};
use crate::engine::Whose;

/// `quick`: membership and what is known to be damaged. `full`: also reads every live byte of every leg, walks every mailbox
/// and proves every body.
pub async fn check(admin: &Admin, full: bool) -> Result<Verdict, Refused> {
    let mut verdict = Verdict {
        full,
        clean: false,
        legs: Vec::new(),
        scrub: None,
        accounts: 0,
        mailboxes: 0,
        messages: 0,
        bodies_proved: 0,
        findings: Vec::new(),
    };
    if full {
        let report = admin
            .ask(async |mailboxes| volume_of(&mailboxes).scrub().await)
            .await?;
        verdict.findings.extend(damaged(&report));
        verdict.scrub = Some(volume::scrubbed(&report));
        walk(admin, &mut verdict).await?;
    }
    let planned = admin.plan().storage.legs.len();
    let (lines, refuses, damage) = admin
        .ask(async move |mailboxes| {
            let volume = volume_of(&mailboxes);
            retire_replaced(volume, planned).await;
            (legs::lines(volume), volume.refuses(), volume.damage().len())
        })
        .await?;
    // The walk above may have found damage that nothing had read before, so what the volume says of itself is asked last.
    if let Some(why) = refuses {
        verdict
            .findings
            .push(format!("the volume accepts no mail: {why}"));
    }
    // A full run has named the batches already: twice the same finding would look like two.
    if damage > 0 && !full {
        verdict.findings.push(format!(
            "{damage} batches were found damaged on every leg: run `fsck full`"
        ));
    }
    verdict.legs = judged(lines, full);
    verdict.clean = verdict.findings.is_empty() && all_in_sync(&verdict.legs);
    Ok(verdict)
}

/// As `check`, of the spool: `full` also reads every message that waits or is kept, and proves it.
pub async fn check_spool(admin: &Admin, full: bool) -> Result<SpoolVerdict, Refused> {
    let mut findings = Vec::new();
    let (mut scrub, mut messages_proved) = (None, 0);
    if full {
        let work = async |volume: Volume| volume.scrub().await;
        let report = admin.on_volume(Whose::Spool, work).await?;
        findings.extend(damaged(&report));
        scrub = Some(volume::scrubbed(&report));
        messages_proved = walk_spool(admin, &mut findings).await?;
    }
    let work = async |spool: Spool| {
        let volume = spool.tenancy().store().volume().clone();
        let (lines, damage) = (legs::lines(&volume), volume.damage().len());
        let gauges = spool.gauges();
        let counts = (gauges.waiting() as u64, gauges.kept() as u64);
        (lines, volume.refuses(), damage, counts)
    };
    let (lines, refuses, damage, (waiting, kept)) = admin.ask_spool(work).await?;
    if let Some(why) = refuses {
        findings.push(format!("the spool takes no mail: {why}"));
    }
    if damage > 0 && !full {
        findings.push(format!(
            "{damage} batches were found damaged on every leg: run `spool fsck full`"
        ));
    }
    let legs = judged(lines, full);
    Ok(SpoolVerdict {
        full,
        clean: findings.is_empty() && all_in_sync(&legs),
        legs,
        scrub,
        waiting,
        kept,
        messages_proved,
        findings,
    })
}

/// How many messages are what was taken; the others become findings. What leaves the spool meanwhile is neither.
/// A page at a time, each a request of its own: the spool's thread takes mail between two of them, and a check of hours delays no sender.
async fn walk_spool(admin: &Admin, findings: &mut Vec<String>) -> Result<u64, Refused> {
    let (mut after, mut proved) = (None, 0);
    loop {
        // until a page is empty; each one is behind the last
        let page = async move |spool: Spool| {
            let mut wrong = Vec::new();
            let mut proved = 0;
            let ids = spool.every(after, FSCK_BODIES_AT_ONCE);
            for id in &ids {
                match spool.read(*id).await {
                    Some(Ok(_)) => proved += 1,
                    Some(Err(fault)) => {
                        wrong.push(format!("message {} in the spool: {fault}", id.0))
                    }
                    None => {}
                }
            }
            (ids.last().copied(), proved, wrong)
        };
        let (last, some, wrong) = admin.ask_spool(page).await?;
        proved += some;
        // The count of findings is bounded, the walk is not: with a whole leg gone the first hundred say it, and the rest is still read.
        let left = FSCK_FINDINGS_MAX.saturating_sub(findings.len());
        findings.extend(wrong.into_iter().take(left));
        if last.is_none() {
            return Ok(proved);
        }
        after = last;
    }
}

fn damaged(report: &ScrubReport) -> Vec<String> {
    let damaged = report.damaged.iter().take(FSCK_FINDINGS_MAX);
    let sentence = damaged.map(|batch| {
        format!(
            "batch {} (segment {}) is damaged on every leg",
            batch.lsn, batch.segment.0
        )
    });
    sentence.collect()
}

fn judged(lines: Vec<LegLine>, full: bool) -> Vec<LegVerdict> {
    let judged = lines.into_iter().map(|leg| LegVerdict {
        verdict: judge(&leg, full),
        leg,
    });
    judged.collect()
}

fn all_in_sync(legs: &[LegVerdict]) -> bool {
    let in_sync = legs::state_name(LegState::InSync);
    legs.iter().all(|leg| leg.leg.state == in_sync)
}

/// Words for a person. `in sync` after a quick check says less than after a full one, and has to read so.
fn judge(leg: &LegLine, full: bool) -> String {
    let how = match leg.state.as_str() {
        "in_sync" if full => "in sync, every live byte read and verified",
        "in_sync" => "in sync",
        "failed" => "does not answer: bring its device back, or replace it",
        "catching_up" | "rebuilding" => "being filled; mail is safe on the other legs",
        _ => "out of the mirror: attach it again, or attach a blank one",
    };
    match (&leg.why, leg.state.as_str()) {
        (Some(why), state) if state != "in_sync" => format!("{how} ({why})"),
        _ => how.to_owned(),
    }
}

/// Through every account and every folder while mail flows. What is removed meanwhile is not a finding; what is delivered meanwhile may be missed.
async fn walk(admin: &Admin, verdict: &mut Verdict) -> Result<(), Refused> {
    for line in accounts::list(admin).await? {
        verdict.accounts += 1;
        let address = parse_address(&line.address)?;
        let boxes = admin
            .mailboxes(
                async move |mailboxes| match mailboxes.account(&address).await? {
                    Some(account) => named(&mailboxes, &account).await,
                    // Removed since it was listed.
                    None => Ok(Vec::new()),
                },
            )
            .await?;
        for (mailbox, name) in boxes {
            verdict.mailboxes += 1;
            let whose = format!("{} of {}", name, line.address);
            check_mailbox(admin, mailbox, &whose, verdict).await?;
        }
    }
    Ok(())
}

async fn named(
    mailboxes: &Mailboxes,
    account: &Account,
) -> Result<Vec<(MailboxId, String)>, MailboxFault> {
    let listed = mailboxes.list(account.id).await?;
    Ok(listed
        .into_iter()
        .filter(|mailbox| mailbox.selectable)
        .map(|mailbox| (mailbox.id, mailbox.name))
        .collect())
}

async fn check_mailbox(
    admin: &Admin,
    mailbox: MailboxId,
    whose: &str,
    verdict: &mut Verdict,
) -> Result<(), Refused> {
    let view = match admin
        .ask(async move |mailboxes| mailboxes.view(mailbox).await)
        .await?
    {
        Ok(view) => view,
        Err(MailboxFault::NoMailbox) => return Ok(()),
        Err(fault) => {
            find(verdict, format!("{whose}: {fault}"));
            return Ok(());
        }
    };
    verdict.messages += view.messages.len() as u64;
    // Before the bodies: an index in disorder is found in a moment, and a walk that is broken off has said so already.
    for wrong in order(&view) {
        find(verdict, format!("{whose}: {wrong}"));
    }
    for chunk in view.messages.chunks(FSCK_BODIES_AT_ONCE) {
        let bodies: Vec<_> = chunk.iter().map(|message| message.body.clone()).collect();
        let wanted: Vec<_> = bodies.iter().map(|body| body.name).collect();
        let results = admin
            .ask(async move |mailboxes| {
                // A few at once, and hashed where they are: only names leave the owner's thread, and mail is served between two requests.
                let read = mailboxes.bodies(&bodies).await;
                let names = read
                    .into_iter()
                    .map(|body| body.map(|bytes| BodyName::of(&bytes)));
                names.collect::<Vec<_>>()
            })
            .await?;
        for ((message, wanted), result) in chunk.iter().zip(wanted).zip(results) {
            match result {
                Ok(name) if name == wanted => verdict.bodies_proved += 1,
                Ok(_) => find(
                    verdict,
                    format!(
                        "{whose}: message {} is not what was accepted",
                        message.uid.0
                    ),
                ),
                // Expunged and reclaimed since the view was taken, or truly lost: look again.
                Err(fault) => {
                    let (uid, still) = (
                        message.uid,
                        admin
                            .ask(async move |mailboxes| mailboxes.view(mailbox).await)
                            .await?,
                    );
                    if still
                        .is_ok_and(|view| view.messages.iter().any(|message| message.uid == uid))
                    {
                        find(verdict, format!("{whose}: message {}: {fault}", uid.0));
                    }
                }
            }
        }
    }
    Ok(())
}

/// RFC 3501 §2.3.1.1: UIDs ascend, and UIDNEXT is above them all.
fn order(view: &View) -> Vec<String> {
    let mut wrong = Vec::new();
    // Each is a promise that clients keep copies by. A client that it was broken to shows wrong mail, and never asks again.
    for pair in view.messages.windows(2) {
        if pair[0].uid >= pair[1].uid {
            wrong.push(format!(
                "UID {} is followed by {}",
                pair[0].uid.0, pair[1].uid.0
            ));
        }
    }
    if view
        .messages
        .last()
        .is_some_and(|last| last.uid >= view.status.uid_next)
    {
        wrong.push(format!(
            "UIDNEXT {} is already taken",
            view.status.uid_next.0
        ));
    }
    if view
        .messages
        .iter()
        .any(|message| message.modseq > view.status.highest_modseq)
    {
        wrong.push("a message changed after HIGHESTMODSEQ".into());
    }
    if view.status.messages as usize != view.messages.len() {
        wrong.push(format!(
            "{} messages are counted and {} are there",
            view.status.messages,
            view.messages.len()
        ));
    }
    wrong
}

fn find(verdict: &mut Verdict, finding: String) {
    // The rest is dropped: the first thousand say what the state is, and an answer is bounded.
    if verdict.findings.len() < FSCK_FINDINGS_MAX {
        verdict.findings.push(finding);
    }
}
