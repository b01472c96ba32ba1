//! What reclaim writes and reads when little or nothing happens: device bytes are counted.

use base::host::sleep_us;

use super::*;

const LARGE: u64 = 220;
const SHORT: u64 = 40;
const COPIES: u64 = 300;

fn letter(number: u64, bytes: usize, account: AccountId) -> Delivery {
    let raw = raw(number, bytes);
    Delivery {
        body: BodyIn {
            name: BodyName::of(&raw),
            raw,
            summary: Bytes::from_static(b"summary"),
        },
        internal_date: InternalDate::utc(number as i64),
        recipients: vec![to(account, "INBOX")],
    }
}

/// More than half full of large messages; of some short ones each has many references.
async fn shelve(mailboxes: &Mailboxes) -> (AccountId, MailboxId) {
    let (ada, bob) = (add(mailboxes, "ada").await, add(mailboxes, "bob").await);
    let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
    let archive = mailboxes.find(ada, "Archive").await.unwrap();
    let mut short = Vec::new();
    for number in 0..LARGE {
        let placed = mailboxes.deliver(letter(number, 90_000, bob)).await;
        placed[0].clone().unwrap();
        if number < SHORT {
            let placed = mailboxes.deliver(letter(1_000 + number, 900, ada)).await;
            short.push(placed[0].clone().unwrap().uid);
        }
    }
    for _ in 0..COPIES {
        mailboxes.copy(inbox, &short, archive).await.unwrap();
    }
    mailboxes.checkpoint().await.unwrap();
    let room = mailboxes.store().volume().room();
    assert!(
        room.spare_segments * 2 < room.segments,
        "reclaim is idle: {room:?}"
    );
    (ada, inbox)
}

async fn pass(rig: &Rig, mailboxes: &Mailboxes) {
    mailboxes.checkpoint().await.unwrap();
    mailboxes.reclaim().await;
    sleep_us(&*rig.world.io().host, 2_000_000).await;
}

fn written(mailboxes: &Mailboxes) -> u64 {
    mailboxes.store().volume().counters().bytes_written
}

/// Found on a volume at rest that wrote 12 MB a second: the segments that reclaim had just written looked dead to it.
#[test]
fn at_rest_reclaim_comes_to_an_end() {
    for restarted in [false, true] {
        let rig = Rig::of_size(100, 48 << 20, 1 << 20);
        let open = rig.block_on(async {
            let mailboxes = rig.open().await;
            shelve(&mailboxes).await;
            mailboxes
        });
        let open = if restarted {
            drop(open);
            rig.crash();
            rig.block_on(rig.open())
        } else {
            open
        };
        rig.block_on(async {
            // Each segment is counted once, and emptied once at most.
            for _ in 0..30 {
                pass(&rig, &open).await;
            }
            let before = (written(&open), open.inner.marks.get());
            for _ in 0..30 {
                pass(&rig, &open).await;
            }
            let after = (written(&open), open.inner.marks.get());
            assert_eq!(after, before, "bytes written and tables walked at rest");
        });
    }
}

/// Device bytes of a light churn, with reclaim or without.
fn churn(reclaims: bool) -> (u64, u64) {
    let rig = Rig::of_size(101, 48 << 20, 1 << 20);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let (ada, inbox) = shelve(&mailboxes).await;
        for _ in 0..30 {
            pass(&rig, &mailboxes).await;
        }
        let (before, marks) = (written(&mailboxes), mailboxes.inner.marks.get());
        for number in 0..150 {
            let placed = mailboxes.deliver(letter(5_000 + number, 3_000, ada)).await;
            let uid = placed[0].clone().unwrap().uid;
            let deleted = flags(SystemFlags::DELETED);
            let added = mailboxes
                .flag(inbox, &[uid], FlagChange::Add, &deleted)
                .await;
            assert_eq!(added.unwrap().len(), 1);
            mailboxes.expunge(inbox, &[uid]).await.unwrap();
            mailboxes.checkpoint().await.unwrap();
            if reclaims {
                pass(&rig, &mailboxes).await;
            }
        }
        (
            written(&mailboxes) - before,
            mailboxes.inner.marks.get() - marks,
        )
    })
}

/// For each byte that a segment gives back reclaim writes one at most (`RECLAIM_GAIN_PERCENT_EASY`): it doubles what is written.
#[test]
fn under_light_churn_reclaim_writes_no_more_than_the_clients() {
    let (alone, _) = churn(false);
    let (reclaimed, marks) = churn(true);
    assert!(
        reclaimed <= 2 * alone,
        "{alone} bytes alone, {reclaimed} with reclaim"
    );
    assert!(marks <= 30, "{marks} walks of the table in 150 passes");
}
