//! How much a message looks like junk: evidence in, a score with its reasons out.
//!
//! Pure: no sockets, no store, no clock. `Reading::of` looks at the bytes once (`structure.rs`, `words.rs`); the caller adds what it knows of
//! the peer and of the author, and what trained words say (`bayes.rs`); `judge` adds it all up, and `field.rs` writes one header
//! field that a person can read.
//!
//! What must hold:
//! - what is unknown counts for nothing: a look-up that failed makes no mail junk.
//! - the work is bounded by `limits.rs` for any bytes, and no bytes stop us.
//! - every word of the field is ours: nothing that a stranger wrote is in it.
//!
//! The weights are in `weights.rs`, in tenths of a point, and are not settings: a threshold is, and people train the rest.
//! Start reading at `judge`.
#![forbid(unsafe_code)]

pub mod bayes;
mod field;
pub mod fuzzing;
pub mod limits;
mod links;
mod reading;
#[cfg(test)]
mod tests;
mod weights;
mod words;

use std::fmt;

pub use bayes::{Counts, Totals};
pub use field::{FIELD, field};
pub use reading::{Reading, Sign};
pub use words::Want;

use limits::REASONS_MAX;
use weights::*;

/// Tenths of a point; positive is towards junk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Points(pub i32);

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let tenths = self.0.unsigned_abs();
        write!(f, "{sign}{}.{}", tenths / 10, tenths % 10)
    }
}

/// What a check of the author came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proof {
    Pass,
    Fail,
    /// The domain says "probably not".
    SoftFail,
    /// There was nothing to check.
    Absent,
    /// It could not be looked up, or was not.
    #[default]
    Unknown,
}

/// What is known of the author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Author {
    pub spf: Proof,
    pub dkim: Proof,
    pub dmarc: Proof,
}

/// What was seen of the peer that brought the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peer {
    /// Score of the DNS lists that it is on; negative: lists of good ones.
    pub lists: i32,
    /// It gave itself a wrong name.
    pub hello: bool,
    /// It has no reverse name that points back.
    pub reverse_name: bool,
    /// It did not wait for its turn.
    pub early: bool,
}

/// Whose words spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    Domain,
    Person,
}

/// What trained words say of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// 0: good for certain, 1,000: junk for certain.
    pub junk_permille: u16,
    pub whose: Whose,
}

/// Why a message got points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    DmarcFails,
    DmarcPasses,
    SpfFails,
    SpfDoubts,
    DkimFails,
    NoProof,
    Listed,
    ListedGood,
    HelloName,
    NoReverseName,
    Early,
    Structure(Sign),
    JunkWords(Whose),
    GoodWords(Whose),
}

impl Reason {
    /// As the field says it: printable ASCII without `;`, `(` and `)`.
    pub fn text(self) -> &'static str {
        match self {
            Reason::DmarcFails => "DMARC fails",
            Reason::DmarcPasses => "DMARC passes",
            Reason::SpfFails => "SPF fails",
            Reason::SpfDoubts => "SPF doubts",
            Reason::DkimFails => "DKIM fails",
            Reason::NoProof => "the author is not proved",
            Reason::Listed => "the peer is on DNS lists",
            Reason::ListedGood => "the peer is on lists of good peers",
            Reason::HelloName => "a wrong HELO name",
            Reason::NoReverseName => "no reverse name",
            Reason::Early => "the peer did not wait",
            Reason::Structure(sign) => sign.text(),
            Reason::JunkWords(Whose::Domain) => "words of this domain's junk",
            Reason::JunkWords(Whose::Person) => "words of this person's junk",
            Reason::GoodWords(Whose::Domain) => "words of this domain's good mail",
            Reason::GoodWords(Whose::Person) => "words of this person's good mail",
        }
    }
}

/// What a message is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Ham,
    /// At least half of the threshold.
    Unsure,
    Spam,
}

impl Class {
    pub const ALL: [Class; 3] = [Class::Ham, Class::Unsure, Class::Spam];

    /// For metrics.
    pub fn word(self) -> &'static str {
        match self {
            Class::Ham => "ham",
            Class::Unsure => "unsure",
            Class::Spam => "spam",
        }
    }
}

/// A score with its reasons, in the order of `judge`; reasons that gave nothing are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    pub score: Points,
    pub reasons: Vec<(Reason, Points)>,
}

impl Judgement {
    pub fn class(&self, junk: Points) -> Class {
        class(self.score, junk)
    }

    /// The same with what words say.
    pub fn with(mut self, words: Option<Words>) -> Judgement {
        if let Some(words) = words {
            let points = points_of(words);
            let reason = match points.0 < 0 {
                true => Reason::GoodWords(words.whose),
                false => Reason::JunkWords(words.whose),
            };
            self.add(reason, points);
        }
        self
    }

    fn add(&mut self, reason: Reason, points: Points) {
        if points.0 != 0 && self.reasons.len() < REASONS_MAX {
            self.score.0 += points.0;
            self.reasons.push((reason, points));
        }
    }
}

/// What a message with this score is taken for.
pub fn class(score: Points, junk: Points) -> Class {
    match () {
        () if score >= junk => Class::Spam,
        () if 2 * score.0 >= junk.0 => Class::Unsure,
        () => Class::Ham,
    }
}

/// Adds up what is known of a message, without words (`Judgement::with`).
pub fn judge(author: &Author, peer: &Peer, reading: &Reading) -> Judgement {
    let mut judgement = Judgement::default();
    match author.dmarc {
        Proof::Fail => judgement.add(Reason::DmarcFails, DMARC_FAILS),
        Proof::Pass => judgement.add(Reason::DmarcPasses, DMARC_PASSES),
        _ => {}
    }
    match author.spf {
        Proof::Fail => judgement.add(Reason::SpfFails, SPF_FAILS),
        Proof::SoftFail => judgement.add(Reason::SpfDoubts, SPF_DOUBTS),
        _ => {}
    }
    if author.dkim == Proof::Fail {
        judgement.add(Reason::DkimFails, DKIM_FAILS);
    }
    if author.spf == Proof::Absent && author.dkim == Proof::Absent {
        judgement.add(Reason::NoProof, NO_PROOF);
    }
    let lists = peer.lists.clamp(-100, 100) * LISTED_EACH.0;
    match lists < 0 {
        true => judgement.add(Reason::ListedGood, Points(lists.max(-LISTED_MAX.0))),
        false => judgement.add(Reason::Listed, Points(lists.min(LISTED_MAX.0))),
    }
    for (is_so, reason, points) in [
        (peer.hello, Reason::HelloName, HELLO_NAME),
        (peer.reverse_name, Reason::NoReverseName, NO_REVERSE_NAME),
        (peer.early, Reason::Early, EARLY),
    ] {
        if is_so {
            judgement.add(reason, points);
        }
    }
    for sign in &reading.signs {
        judgement.add(Reason::Structure(*sign), sign.points());
    }
    judgement
}

/// Words that are even give nothing; the points rise with the distance from even. A person's own words weigh more than all else that a
/// message usually has: what a person says about the person's mail is so.
fn points_of(words: Words) -> Points {
    let (junk, good) = match words.whose {
        Whose::Domain => (DOMAIN_JUNK, DOMAIN_GOOD),
        Whose::Person => (PERSON_JUNK, PERSON_GOOD),
    };
    let distance = i32::from(words.junk_permille.min(1_000)) - 500;
    let most = if distance < 0 { good } else { junk };
    Points(most.0 * distance / 500)
}
