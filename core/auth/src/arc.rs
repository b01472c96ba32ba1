//! ARC: the chain of sealed results that relays added (RFC 8617 §5.2).
//!
//! It is verified and reported. It changes no disposition: that would need a list of relays whose word counts.

use mail_auth::AuthenticatedMessage;
use mail_auth::arc::ChainValidation;
use mail_auth::common::crypto::Algorithm;
use mail_auth::common::verify::VerifySignature;
use mail_auth::dkim::Canonicalization;

use crate::dkim::{Job, without_signature};
use crate::limits::ARC_SETS_MAX;
use crate::signed::{Room, signed, signed_fields};
use crate::{Found, Keys, Outcome, found};

/// What the chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arc {
    pub found: Found,
    /// Who sealed last; empty without a chain.
    pub sealer: String,
}

/// A chain before its keys are there.
/// In two steps, because keys are asked for by all checks of a message together, and this one must not wait for another's.
pub(crate) struct Chain {
    sealer: String,
    /// Already settled, or what is to be verified: the last message signature, and every seal.
    state: Result<Vec<Job>, Found>,
}

impl Chain {
    pub(crate) fn of(message: &AuthenticatedMessage, room: &mut Room, unix_seconds: u64) -> Chain {
        let last = message.as_headers.last();
        Chain {
            sealer: last.map_or_else(String::new, |seal| seal.header.d.clone()),
            state: jobs(message, room, unix_seconds),
        }
    }

    pub(crate) fn jobs(&self) -> &[Job] {
        self.state.as_deref().unwrap_or_default()
    }

    pub(crate) fn verify(self, keys: &Keys) -> Arc {
        let found = match &self.state {
            Err(found) => *found,
            Ok(jobs) => {
                let mut results = jobs.iter().map(|job| job.verify(keys.get(&job.key)));
                let bad = results.find(|result| result.outcome != Outcome::Pass);
                match bad {
                    None => found(Outcome::Pass, ""),
                    Some(unknown) if unknown.outcome == Outcome::TempError => unknown,
                    // §5.2: the chain is none, pass or fail.
                    Some(bad) => found(Outcome::Fail, bad.why),
                }
            }
        };
        Arc {
            found,
            sealer: self.sealer,
        }
    }
}

fn jobs(
    message: &AuthenticatedMessage,
    room: &mut Room,
    unix_seconds: u64,
) -> Result<Vec<Job>, Found> {
    let fail = |why| found(Outcome::Fail, why);
    if message.has_arc_errors {
        return Err(fail("a set has an error"));
    }
    let (seals, signatures) = (&message.as_headers, &message.ams_headers);
    let results = &message.aar_headers;
    let sets = seals.len();
    // Each relay adds three fields; one that is missing was taken out, or never there.
    if (sets, sets) != (signatures.len(), results.len()) {
        return Err(fail("a set is not complete"));
    }
    let Some(last) = signatures.last() else {
        return Err(found(Outcome::None, ""));
    };
    if sets > ARC_SETS_MAX {
        return Err(found(Outcome::Policy, "too many sets"));
    }
    for at in 0..sets {
        let instance = at as u32 + 1;
        let numbers = [
            seals[at].header.i,
            signatures[at].header.i,
            results[at].header.i,
        ];
        let wanted = match at {
            0 => ChainValidation::None,
            _ => ChainValidation::Pass,
        };
        // The parser sorts them by instance, so that a gap or a double shows here.
        if numbers != [instance; 3] {
            return Err(fail("sets are missing or doubled"));
        }
        if seals[at].header.cv != wanted {
            return Err(fail("a relay found the chain broken"));
        }
        let algorithms = [seals[at].header.a, signatures[at].header.a];
        if algorithms.contains(&Algorithm::RsaSha1) {
            return Err(fail("SHA-1"));
        }
    }
    let signature = &last.header;
    // RFC 8617 §4.1.2: AMS has no x=; who writes one means it.
    if signature.x != 0 && signature.x <= unix_seconds {
        return Err(fail("the signature has expired"));
    }
    let hash = message
        .body_hashes
        .iter()
        .find(|(form, algorithm, length, _)| {
            *form == signature.cb && *algorithm == signature.a.into() && *length == signature.l
        });
    // Only the last relay's signature covers the body: those before it may have changed it, which the next one vouched for by its seal.
    if hash.is_none_or(|(.., hash)| *hash != signature.bh) {
        return Err(fail("the body was changed"));
    }
    let too_much = found(Outcome::Policy, "too much is signed");
    let own = without_signature(last.value);
    let fields = signed_fields(message, signature.ch, &signature.h, (last.name, &own));
    let bytes = signed(signature.ch, fields, &signature.h, room).ok_or(too_much)?;
    let mut jobs = vec![job(signature, bytes, signature.a)];
    for at in 0..sets {
        let own = without_signature(seals[at].value);
        // RFC 8617 §5.1.1: a seal covers all sets up to its own, each in this order, and its own seal without the signature.
        let fields = (0..=at).flat_map(|of| {
            let seal = match of == at {
                true => own.as_slice(),
                false => seals[of].value,
            };
            [
                (results[of].name, results[of].value),
                (signatures[of].name, signatures[of].value),
                (seals[of].name, seal),
            ]
        });
        let bytes = signed(Canonicalization::Relaxed, fields, &[], room).ok_or(too_much)?;
        let seal = &seals[at].header;
        jobs.push(job(seal, bytes, seal.a));
    }
    Ok(jobs)
}

fn job(of: &impl VerifySignature, signed: Vec<u8>, algorithm: Algorithm) -> Job {
    Job {
        key: of.domain_key(),
        signed,
        signature: of.signature().to_vec(),
        algorithm,
        identity: None,
    }
}
