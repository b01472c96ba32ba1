//! `volume accept-damage` and `spool accept-damage`: what every leg has lost of acknowledged mail is named, and given up when the operator says so.

use ::admin::limits::FSCK_FINDINGS_MAX;
use ::admin::reply::Damage;
use mailbox::Mailboxes;
use spool::Spool;
use volume::Volume;

use crate::admin::shared::{Admin, Refused, volume_of};

/// With `yes` it is given up; without, only shown. Refused when there is nothing to give up.
pub async fn accept(admin: &Admin, yes: bool) -> Result<Damage, Refused> {
    admin
        .ask(async move |mailboxes| {
            // Looked at and given up in one visit: nothing is given up that was not in this list.
            let mut damage = look(&mailboxes).await?;
            if yes {
                tracing::warn!(
                    batches = damage.batch_count,
                    "the operator gives up damaged batches"
                );
                let accepted = mailboxes.accept_damage().await;
                accepted.map_err(|fault| {
                    format!("not completed: {fault}; restart ringpostd and try again")
                })?;
                damage.accepted = true;
            }
            Ok(damage)
        })
        .await?
}

/// As `accept`, of the spool's volume.
pub async fn accept_of_spool(admin: &Admin, yes: bool) -> Result<Damage, Refused> {
    let work = async move |spool: Spool| {
        let volume = spool.tenancy().store().volume().clone();
        let mut damage = lost(&volume)?;
        damage.messages = spool.named_in_damage(FSCK_FINDINGS_MAX).await;
        if yes {
            tracing::warn!(
                batches = damage.batch_count,
                "the operator gives up damaged batches of the spool"
            );
            let accepted = spool.accept_damage().await;
            accepted.map_err(|fault| {
                format!("not completed: {fault}; restart ringpostd and try again")
            })?;
            damage.accepted = true;
        }
        Ok(damage)
    };
    admin.ask_spool(work).await?
}

async fn look(mailboxes: &Mailboxes) -> Result<Damage, Refused> {
    let mut damage = lost(volume_of(mailboxes))?;
    damage.messages = mailboxes.named_in_damage(FSCK_FINDINGS_MAX).await;
    Ok(damage)
}

/// Refused when there is nothing to give up.
fn lost(volume: &Volume) -> Result<Damage, Refused> {
    let Some(lost) = volume.would_give_up() else {
        return Err(
            "there is nothing to give up: no acknowledged batch is missing on every leg".into(),
        );
    };
    let batches = lost.iter().take(FSCK_FINDINGS_MAX);
    Ok(Damage {
        accepted: false,
        batch_count: lost.len(),
        unknown_end: lost.is_empty(),
        messages: Vec::new(),
        batches: batches.map(|lsn| lsn.0).collect(),
    })
}
