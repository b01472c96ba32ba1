//! DKIM signatures over what leaves (RFC 6376): whose key, where it is kept on a core, and the field in front of the message.
//!
//! A message is signed once, when it is accepted for the queue: every try sends the same bytes, and a key that is retired meanwhile does not
//! change what waits. So `submit` and the reports of `relay` sign, and the sender does not. What stays here is not signed: no signature is
//! checked on the way to a mailbox of this box. A message for both is signed, since one body serves all its recipients.
//!
//! `d=` is the domain of the author, or the nearest domain above it that is ours and has an active key: what a receiver aligns with (RFC 9989,
//! relaxed; the domain itself comes first, which is strict alignment too). With an active key of each algorithm there are two signatures, RSA in front
//! (some receivers fail a message for an Ed25519 signature that they meet first). Of several active keys of one algorithm the newest signs.
//!
//! What must hold: RSA runs on the threads for large work, never on the core; unknown is not absent, so a message whose keys cannot be looked
//! up is deferred and not sent unsigned; what a core remembers of keys is bounded, and stands while the directory's generation does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dkim::{Algorithm, KeyFault, Signer, SigningKey};
use mailbox::{DkimAlgorithm, DkimKey, DkimState, MailboxFault, Mailboxes};
use runtime::SessionHost;
use runtime::limits::WORK_BYTES_MAX;
use storage::owner::Ask;

/// The keys that a core knows, and what it does with them. Clones share them.
#[derive(Clone, Default)]
pub struct Signing {
    known: Rc<RefCell<Known>>,
}

#[derive(Default)]
struct Known {
    generation: Option<Arc<AtomicU64>>,
    at: u64,
    /// By the domain of an author; empty: it has no active key.
    signers: HashMap<String, Arc<[Signer]>>,
}

/// What the owner of the volume answers.
struct Looked {
    generation: Arc<AtomicU64>,
    at: u64,
    keys: Vec<DkimKey>,
}

/// Why a message is not signed that should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsigned {
    /// Storage has too much to do.
    Busy,
    Storage(MailboxFault),
    /// A key of ours cannot be used: a fault of ours.
    Key(KeyFault),
}

impl Signing {
    /// Puts signatures into `content`, at `at`: in front of the message's own fields and behind ours. Unchanged where `domain`, the author's, has no
    /// active key. The content grows by `SIGNATURES_BYTES_MAX` at most. `Err`: why not, and the content as it was.
    pub async fn sign(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        domain: &str,
        mut content: Vec<u8>,
        at: usize,
    ) -> Result<Vec<u8>, (Unsigned, Vec<u8>)> {
        let signers = match self.signers(owner, host, domain).await {
            Ok(signers) if signers.is_empty() => return Ok(content),
            Ok(signers) => signers,
            Err(unsigned) => return Err((unsigned, content)),
        };
        let unix_seconds = host.unix_seconds().max(0) as u64;
        let bytes = content.len();
        let work = move || {
            let fields = match dkim::sign(&content[at..], &signers, unix_seconds) {
                Ok(fields) => fields,
                Err(fault) => return Err((Unsigned::Key(fault), content)),
            };
            if let Some(fields) = fields {
                assert!(fields.len() <= SIGNATURES_BYTES_MAX, "{}", fields.len());
                content.reserve_exact(fields.len());
                content.splice(at..at, fields);
            }
            Ok(content)
        };
        // RSA takes a millisecond: also a small message is signed beside the core. A large one is hashed where other large work is done.
        host.work(bytes.max(WORK_BYTES_MAX + 1), work).await
    }

    /// The keys that sign for `domain`.
    async fn signers(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        domain: &str,
    ) -> Result<Arc<[Signer]>, Unsigned> {
        if let Some(signers) = self.known.borrow().find(domain) {
            return Ok(signers);
        }
        let wanted = domain.to_owned();
        let looked = owner.ask(move |mailboxes| async move { look_up(&mailboxes, &wanted).await });
        let looked = looked.await.map_err(|_| Unsigned::Busy)?;
        let Looked {
            generation,
            at,
            keys,
        } = looked.map_err(Unsigned::Storage)?;
        let read = move || -> Result<Arc<[Signer]>, KeyFault> { keys.iter().map(signer).collect() };
        // Reading an RSA key checks it, which takes as long as a signature.
        let read = host.work(WORK_BYTES_MAX + 1, read).await;
        let signers = read.map_err(Unsigned::Key)?;
        let mut known = self.known.borrow_mut();
        known.keep(generation, at, domain, signers.clone());
        Ok(signers)
    }
}

impl Known {
    fn find(&self, domain: &str) -> Option<Arc<[Signer]>> {
        let generation = self.generation.as_ref()?.load(Ordering::Acquire);
        let known = self.signers.get(domain).filter(|_| generation == self.at);
        known.cloned()
    }

    fn keep(&mut self, generation: Arc<AtomicU64>, at: u64, domain: &str, signers: Arc<[Signer]>) {
        if self.at != at || self.signers.len() >= DOMAINS_KNOWN_MAX {
            self.signers.clear();
        }
        (self.generation, self.at) = (Some(generation), at);
        self.signers.insert(domain.to_owned(), signers);
    }
}

/// The keys of `domain` that sign, or those of the nearest domain above it that has some.
async fn look_up(mailboxes: &Mailboxes, domain: &str) -> Result<Looked, MailboxFault> {
    let generation = mailboxes.directory_generation();
    // Before the look: a change meanwhile makes what was found old at once.
    let at = generation.load(Ordering::Acquire);
    let mut keys = Vec::new();
    for candidate in upwards(domain) {
        if mailboxes.has_domain(candidate) {
            keys = newest(mailboxes.dkim_keys(candidate).await?);
        }
        if !keys.is_empty() {
            break;
        }
    }
    Ok(Looked {
        generation,
        at,
        keys,
    })
}

/// `domain`, and the domains above it but for the top.
fn upwards(domain: &str) -> impl Iterator<Item = &str> {
    let all = std::iter::successors(Some(domain), |domain| Some(domain.split_once('.')?.1));
    all.enumerate()
        .take_while(|(index, domain)| *index == 0 || domain.contains('.'))
        .map(|(_, domain)| domain)
        .take(DOMAINS_ABOVE_MAX)
}

/// The newest active key of each algorithm, RSA first.
fn newest(keys: Vec<DkimKey>) -> Vec<DkimKey> {
    let mut keys = keys;
    keys.retain(|key| key.state == DkimState::Active);
    keys.sort_by(|one, other| {
        let newest_first = other.made_unix_s.cmp(&one.made_unix_s);
        let of_one = newest_first.then(other.selector.cmp(&one.selector));
        one.algorithm.cmp(&other.algorithm).then(of_one)
    });
    keys.dedup_by_key(|key| key.algorithm);
    keys
}

fn signer(key: &DkimKey) -> Result<Signer, KeyFault> {
    let algorithm = match key.algorithm {
        DkimAlgorithm::Rsa2048 => Algorithm::RsaSha256,
        DkimAlgorithm::Ed25519 => Algorithm::Ed25519Sha256,
    };
    let read = SigningKey::parse(algorithm, key.private.secret())?;
    Ok(Signer::new(&key.domain, &key.selector, Arc::new(read)))
}

/// One signature of each algorithm.
pub const SIGNATURES_BYTES_MAX: usize = 2 * dkim::limits::SIGNATURE_BYTES_MAX;
/// Domains whose keys a core remembers, some 5 KiB each. When it is full it is emptied: the busy ones are back at once.
const DOMAINS_KNOWN_MAX: usize = 256;
/// A look-up walks up so many names; RFC 9989 §4.10 has 8 for a policy.
const DOMAINS_ABOVE_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use mailbox::PrivateKey;

    use super::*;

    fn key(selector: &str, algorithm: DkimAlgorithm, state: DkimState, made: u64) -> DkimKey {
        DkimKey {
            domain: "example.org".to_owned(),
            selector: selector.to_owned(),
            algorithm,
            state,
            made_unix_s: made,
            private: PrivateKey::new(b"x").expect("it is short"),
        }
    }

    #[test]
    fn the_newest_active_key_of_each_algorithm_signs() {
        use DkimAlgorithm::{Ed25519, Rsa2048};
        use DkimState::{Active, Made, Retired};
        let keys = vec![
            key("e", Ed25519, Active, 1),
            key("next", Rsa2048, Made, 9),
            key("old", Rsa2048, Active, 2),
            key("new", Rsa2048, Active, 3),
            key("gone", Rsa2048, Retired, 8),
        ];
        let chosen = newest(keys).into_iter().map(|key| key.selector);
        assert_eq!(chosen.collect::<Vec<_>>(), ["new", "e"]);
        assert_eq!(newest(vec![key("m", Rsa2048, Made, 1)]), []);
    }

    #[test]
    fn a_walk_goes_up_to_the_top_and_not_on_it() {
        let walk = |domain| upwards(domain).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(walk("a.b.example"), ["a.b.example", "b.example"]);
        assert_eq!(walk("localhost"), ["localhost"]);
        assert_eq!(walk(&["x"; 40].join(".")).len(), DOMAINS_ABOVE_MAX);
    }

    #[test]
    fn what_is_known_ends_with_the_generation_and_is_bounded() {
        let generation = Arc::new(AtomicU64::new(4));
        let mut known = Known::default();
        assert!(known.find("a").is_none());
        known.keep(generation.clone(), 4, "a", Arc::new([]));
        assert!(known.find("a").is_some() && known.find("b").is_none());
        generation.store(5, Ordering::Release);
        assert!(known.find("a").is_none());
        // What was looked up before the change is old when it comes.
        known.keep(generation.clone(), 4, "b", Arc::new([]));
        assert!(known.find("b").is_none());
        for index in 0..2 * DOMAINS_KNOWN_MAX {
            known.keep(generation.clone(), 5, &index.to_string(), Arc::new([]));
        }
        assert!(known.signers.len() <= DOMAINS_KNOWN_MAX);
    }
}
