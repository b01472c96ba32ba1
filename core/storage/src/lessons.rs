//! What people taught about junk, as other cores ask for it: what words say of a message, and a lesson more.
//!
//! What must hold: a question costs a bounded look at models in memory, and writes nothing; lessons never stand before mail: they are
//! asked for when what they are about is durable, and a full or slow volume loses them without harm.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use base::Host;
use base::host::sleep_us;
use lessons::{Kind, Lesson, LessonFault, Lessons, Model, Whom};
use mailbox::{AccountId, MailboxFault, Mailboxes};
use spam::{Counts, Totals, Whose, Words, bayes};

/// The words of one message, and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `spam::Reading::tokens`.
    pub tokens: Vec<u64>,
    pub of: Vec<For>,
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct For {
    /// `None`: the address leads on.
    pub account: Option<AccountId>,
    /// In any spelling.
    pub domain: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing was taught here to anyone.
    Untrained,
    /// For each recipient what its own lessons say, or those of its domain.
    Words(Vec<Option<Words>>),
}

/// What words say for each recipient. Past `MODELS_ASKED_MAX` models the rest of the recipients get nothing.
pub fn words(mailboxes: &Mailboxes, lessons: Option<&Lessons>, asked: &Asked) -> Answer {
    let Some(lessons) = lessons.filter(|lessons| !lessons.is_empty()) else {
        return Answer::Untrained;
    };
    let mut known: HashMap<Whom, Option<u16>> = HashMap::new();
    let mut junk_permille = |whom: Whom| {
        if let Some(known) = known.get(&whom) {
            return *known;
        }
        if known.len() >= MODELS_ASKED_MAX {
            return None;
        }
        let found = lessons
            .with(&whom, |model| said(model, &asked.tokens))
            .flatten();
        known.insert(whom, found);
        found
    };
    let each = asked.of.iter().map(|of| {
        let own = of
            .account
            .and_then(|account| junk_permille(Whom::Account(account.0)));
        let (junk_permille, whose) = match own {
            Some(own) => (own, Whose::Person),
            None => (
                junk_permille(domain(mailboxes, &of.domain)?)?,
                Whose::Domain,
            ),
        };
        Some(Words {
            junk_permille,
            whose,
        })
    });
    Answer::Words(each.collect())
}

fn said(model: &Model, tokens: &[u64]) -> Option<u16> {
    let (junk, good) = model.totals();
    let totals = Totals {
        junk: junk.into(),
        good: good.into(),
    };
    let counts = model.counts(tokens).map(|(junk, good)| Counts {
        junk: junk.into(),
        good: good.into(),
    });
    bayes::junk_permille(totals, counts)
}

/// A message of which a person said what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taught {
    pub account: AccountId,
    pub name: base::BodyName,
    pub is_junk: bool,
    pub tokens: Vec<u64>,
}

/// Teaches the person's model and the domain's. `false`: they know it already.
pub async fn teach(
    mailboxes: &Mailboxes,
    lessons: &Lessons,
    taught: Taught,
) -> Result<bool, LessonFault> {
    let account = taught.account;
    let of_all = match mailboxes.directory().account_by_id(account).await {
        Ok(Some(account)) => domain(mailboxes, account.address.domain()),
        Ok(None) => return Err(LessonFault::Refused("the account is gone")),
        Err(fault) => return Err(unavailable(fault.into())),
    };
    let [a, b, c, d, e, f, g, h, ..] = taught.name.0;
    let lesson = Lesson {
        message: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        kind: Some(match taught.is_junk {
            true => Kind::Junk,
            false => Kind::Good,
        }),
        words: taught.tokens,
    };
    let of: Vec<Whom> = [Some(Whom::Account(account.0)), of_all]
        .into_iter()
        .flatten()
        .collect();
    lessons.learn(&of, lesson).await
}

/// Whose the lessons of a domain are: of one name, whether it is written in letters or in ASCII. `None`: it is not a domain of ours.
pub fn domain(mailboxes: &Mailboxes, domain: &str) -> Option<Whom> {
    mailboxes.directory().our_domain(domain).map(Whom::Domain)
}

/// Removes the models of accounts and domains that are gone. What cannot be looked up stays.
pub async fn sweep(mailboxes: &Mailboxes, lessons: &Lessons) -> Result<usize, LessonFault> {
    let mut removed = 0;
    for whom in lessons.owners() {
        let is_there = match &whom {
            Whom::Domain(domain) => mailboxes.has_domain(domain),
            Whom::Account(account) => {
                let found = mailboxes
                    .directory()
                    .account_by_id(AccountId(*account))
                    .await;
                found.map_err(|fault| unavailable(fault.into()))?.is_some()
            }
        };
        if !is_there {
            removed += usize::from(lessons.remove(&whom).await?);
        }
    }
    Ok(removed)
}

/// Runs on the owner's thread until the thread ends: after changes of accounts and domains it removes the models of those that are gone.
pub async fn watch(host: Rc<dyn Host>, mailboxes: Mailboxes, lessons: Lessons) {
    let generation = mailboxes.directory_generation();
    let mut swept = None;
    loop {
        // until the thread ends
        sleep_us(&*host, SWEEP_EVERY_US).await;
        let now = generation.load(Ordering::Acquire);
        if swept == Some(now) || mailboxes.store().volume().refuses().is_some() {
            continue;
        }
        match sweep(&mailboxes, &lessons).await {
            Ok(removed) => {
                swept = Some(now);
                if removed > 0 {
                    tracing::info!(removed, "lessons of owners that are gone were removed");
                }
            }
            Err(fault) => tracing::debug!(%fault, "lessons are looked through again later"),
        }
    }
}

fn unavailable(fault: MailboxFault) -> LessonFault {
    LessonFault::Store(store::StoreFault::Deferred(fault.to_string()))
}

/// How long the lessons of an account that was removed stay.
const SWEEP_EVERY_US: u64 = 60_000_000;
/// Models that one message is held against: some 20 µs each.
const MODELS_ASKED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use mail::Address;

    use super::*;
    use crate::rig;

    fn tokens(from: u64) -> Vec<u64> {
        (from..from + 20).collect()
    }

    /// A person's own lessons win over the domain's, which serve everyone else; the models go with their owners.
    #[test]
    fn a_persons_lessons_come_before_the_domains_and_go_with_the_account() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let mailboxes = outgoing.mailboxes().clone();
            let lessons = outgoing.lessons().expect("the rig has some").clone();
            let mut accounts = Vec::new();
            for local in ["alice", "bob", "carol"] {
                let address = Address::from_parts(local, "example.org").expect("an address");
                let made = mailboxes.add_account(&address, "$argon2id$x", 0).await;
                accounts.push(made.expect("an account"));
            }
            let of = |account: usize| For {
                account: Some(accounts[account]),
                domain: "example.org".to_owned(),
            };
            let asked = Asked {
                tokens: tokens(1),
                of: vec![of(0), of(1), of(2)],
            };
            assert_eq!(words(&mailboxes, Some(&lessons), &asked), Answer::Untrained);
            // Bob calls junk what Alice and Carol like: two against one in the domain.
            for message in 0..10u8 {
                for (account, is_junk) in [(0, false), (1, true), (2, false)] {
                    for from in [1, 100] {
                        let taught = Taught {
                            account: accounts[account],
                            name: base::BodyName(
                                [message * 6 + account as u8 * 2 + u8::from(from == 1) * 64; 32],
                            ),
                            is_junk: is_junk == (from == 1),
                            tokens: tokens(from),
                        };
                        assert_eq!(teach(&mailboxes, &lessons, taught).await, Ok(true));
                    }
                }
            }
            let stranger = For {
                account: None,
                domain: "example.org".to_owned(),
            };
            let asked = Asked {
                of: vec![of(0), of(1), stranger],
                ..asked
            };
            let Answer::Words(said) = words(&mailboxes, Some(&lessons), &asked) else {
                panic!("it is trained");
            };
            let whose: Vec<_> = said
                .iter()
                .map(|words| words.expect("words").whose)
                .collect();
            assert_eq!(whose, [Whose::Person, Whose::Person, Whose::Domain]);
            let permille: Vec<_> = said
                .iter()
                .map(|words| words.expect("words").junk_permille)
                .collect();
            assert!(
                permille[0] < 100 && permille[1] > 900 && permille[2] < 400,
                "{permille:?}"
            );

            assert_eq!(sweep(&mailboxes, &lessons).await, Ok(0));
            mailboxes
                .remove_account(accounts[1])
                .await
                .expect("removed");
            assert_eq!(sweep(&mailboxes, &lessons).await, Ok(1));
            assert_eq!(lessons.count().0, 3);
        });
    }

    /// A domain in letters has a name in ASCII too (RFC 5891 §4.4): senders use either, and its lessons are the same.
    #[test]
    fn a_domain_has_one_model_in_either_spelling() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let mailboxes = outgoing.mailboxes().clone();
            let lessons = outgoing.lessons().expect("the rig has some").clone();
            mailboxes
                .add_domain("m\u{fc}nchen.example")
                .await
                .expect("new");
            let address = Address::from_parts("alice", "xn--mnchen-3ya.example");
            let address = address.expect("an address");
            let added = mailboxes.add_account(&address, "$argon2id$x", 0);
            let account = added.await.expect("an account");
            for message in 0..30u8 {
                let is_junk = message % 2 == 0;
                let taught = Taught {
                    account,
                    name: base::BodyName([message * 2; 32]),
                    is_junk,
                    tokens: tokens(if is_junk { 1 } else { 100 }),
                };
                assert_eq!(teach(&mailboxes, &lessons, taught).await, Ok(true));
            }
            assert_eq!(lessons.count().0, 2);
            let names = [
                "M\u{dc}NCHEN.example",
                "XN--mnchen-3ya.example",
                "a.example",
            ];
            let of = names.map(|name| For {
                account: None,
                domain: name.to_owned(),
            });
            let asked = Asked {
                tokens: tokens(1),
                of: of.to_vec(),
            };
            let Answer::Words(said) = words(&mailboxes, Some(&lessons), &asked) else {
                panic!("it is trained");
            };
            assert!(said[0].is_some_and(|words| words.junk_permille > 900));
            assert_eq!(said[0], said[1]);
            assert_eq!(said[2], None, "not ours");
        });
    }

    /// The volume fills with mail: a lesson is refused, what was taught still speaks, and an owner's lessons can be removed.
    #[test]
    fn a_full_volume_takes_no_lessons_and_keeps_those_that_it_has() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let mailboxes = outgoing.mailboxes().clone();
            let lessons = outgoing.lessons().expect("the rig has some").clone();
            let address = Address::from_parts("alice", "example.org").expect("an address");
            let added = mailboxes.add_account(&address, "$argon2id$x", 0).await;
            let account = added.expect("an account");
            let taught = |name: u8| Taught {
                account,
                name: base::BodyName([name; 32]),
                is_junk: true,
                tokens: tokens(1),
            };
            assert_eq!(teach(&mailboxes, &lessons, taught(2)).await, Ok(true));
            let mut state = 1u64;
            let mut refused = None;
            for _ in 0..400 {
                let raw: Vec<u8> = (0..1 << 17)
                    .flat_map(|_| {
                        state = state
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        (state >> 32).to_le_bytes()
                    })
                    .collect();
                let delivery = mailbox::Delivery {
                    body: store::BodyIn {
                        name: base::BodyName::of(&raw),
                        raw: raw.into(),
                        summary: bytes::Bytes::new(),
                    },
                    internal_date: mail::InternalDate::utc(1_000),
                    recipients: vec![mailbox::Recipient {
                        account,
                        mailbox: "INBOX".to_owned(),
                        flags: mail::Flags::default(),
                    }],
                };
                refused = mailboxes
                    .deliver(delivery)
                    .await
                    .pop()
                    .and_then(Result::err);
                if refused.is_some() {
                    break;
                }
            }
            assert_eq!(refused, Some(MailboxFault::Full));
            // A small lesson may still fit where a letter does not; some later none does.
            let mut last = Ok(true);
            for name in 2..120u8 {
                last = teach(&mailboxes, &lessons, taught(2 * name)).await;
                if last.is_err() {
                    break;
                }
            }
            let full = LessonFault::Store(store::StoreFault::Full);
            assert_eq!(last, Err(full));
            let known = lessons.with(&Whom::Account(account.0), |model| model.totals().0);
            assert!(known.is_some_and(|junk| junk >= 1));
            assert_eq!(lessons.remove(&Whom::Account(account.0)).await, Ok(true));
        });
    }
}
