//! Digests in memory: what is read once is remembered within a bound, and nothing about them is visible but reads.

use device::sim::Faults;

use super::*;

fn refs(view: &View) -> Vec<store::BodyRef> {
    let messages = view.messages.iter();
    messages.map(|message| message.body.clone()).collect()
}

async fn inbox(mailboxes: &Mailboxes, account: AccountId) -> View {
    let inbox = mailboxes.find(account, "INBOX").await.unwrap();
    mailboxes.view(inbox).await.unwrap()
}

fn device_reads(mailboxes: &Mailboxes) -> u64 {
    mailboxes.store().volume().counters().device_reads
}

#[test]
fn a_digest_is_read_from_a_leg_once() {
    let rig = Rig::new(90);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..40 {
            deliver(&mailboxes, number, ada).await;
        }
        let refs = refs(&inbox(&mailboxes, ada).await);
        let first = mailboxes.summaries(&refs[..30]).await;
        let reads = device_reads(&mailboxes);
        assert_eq!(mailboxes.summaries(&refs[..30]).await, first);
        assert_eq!(device_reads(&mailboxes), reads);
        // Some are remembered and some are not: each answer is at its place.
        for (number, digest) in mailboxes.summaries(&refs).await.into_iter().enumerate() {
            assert_eq!(digest.unwrap(), format!("summary {number}"));
        }
        let counts = mailboxes.digest_counts();
        assert_eq!((counts.remembered, counts.read), (60, 40));
    });
}

/// Unknown is not absent, and is not remembered.
#[test]
fn a_digest_that_could_not_be_read_is_asked_for_again() {
    let rig = Rig::new(91);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        deliver(&mailboxes, 1, ada).await;
        let refs = refs(&inbox(&mailboxes, ada).await);
        let broken = Faults {
            read_error: 1.0,
            ..Faults::default()
        };
        for leg in rig.legs {
            rig.world.set_faults(leg, broken.clone());
        }
        assert!(mailboxes.summaries(&refs).await[0].is_err());
        for leg in rig.legs {
            rig.world.set_faults(leg, Faults::default());
        }
        let digest = mailboxes.summaries(&refs).await.remove(0);
        assert_eq!(digest.unwrap(), "summary 1");
    });
}

/// Loaded mailboxes come first, and both together stay under the one bound.
#[test]
fn digests_and_mailboxes_share_one_bound() {
    let mut rig = Rig::new(92);
    rig.settings.cache_bytes = 1;
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let mut accounts = Vec::new();
        for number in 0..8 {
            accounts.push(add(&mailboxes, &format!("user{number}")).await);
        }
        for number in 0..4_000u64 {
            deliver(&mailboxes, number % 50, accounts[number as usize % 8]).await;
            if number % 500 == 0 {
                mailboxes.checkpoint().await.unwrap();
            }
        }
        mailboxes.checkpoint().await.unwrap();
        for round in 0..3 {
            for account in &accounts {
                let refs = refs(&inbox(&mailboxes, *account).await);
                for (index, digest) in mailboxes.summaries(&refs).await.iter().enumerate() {
                    assert!(digest.is_ok(), "{index} in round {round}");
                }
                let bytes = mailboxes.cached_bytes();
                assert!(bytes <= limits::CACHE_BYTES_MIN, "{bytes}");
            }
        }
        let counts = mailboxes.digest_counts();
        assert_eq!(counts.remembered + counts.read, 3 * 4_000);
    });
}
