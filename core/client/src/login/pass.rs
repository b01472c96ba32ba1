//! Passes: how an administrator opens a session of an account without its password, to move mail in or out.
//!
//! A pass is random, for one account, for one login by IMAP, and for a minute. It exists in memory only, as a hash: a restart ends it, and the administrator's program
//! asks for another one. The login stands in the audit with what it was for and which administrator asked.
//!
//! Why a pass and no request that appends messages: a session of IMAP has its bounds already (memory, quota, the size of a message, overload), and it reads and writes,
//! so that import and export need no other way to mail. An authorization identity (RFC 4422 §2) would need credentials of administrators that last.

use std::sync::Mutex;

use mailbox::AccountId;

use super::audit::Protocol;
use super::fill_random;

/// Passes that were not used yet. One more takes the place of the oldest: an import waits for one at a time.
const PASSES_MAX: usize = 64;
/// From the request to the login there is one connection to be made.
const PASS_AGE_MAX_S: i64 = 60;

/// What was given out.
#[derive(Default)]
pub(super) struct Passes(Mutex<Vec<Pass>>);

struct Pass {
    account: AccountId,
    /// BLAKE3 of the pass.
    hash: blake3::Hash,
    until_unix_s: i64,
    /// For the audit.
    purpose: String,
}

impl Passes {
    /// A pass for one login to `account`.
    pub fn give(&self, account: AccountId, purpose: String, now_unix_s: i64) -> String {
        let mut random = [0; 32];
        fill_random(&mut random);
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let pass = format!("pass-{hex}");
        let mut passes = self.0.lock().expect("no holder panics");
        passes.retain(|pass| pass.is_fresh(now_unix_s));
        if passes.len() >= PASSES_MAX {
            passes.remove(0);
        }
        passes.push(Pass {
            account,
            hash: blake3::hash(pass.as_bytes()),
            until_unix_s: now_unix_s + PASS_AGE_MAX_S,
            purpose,
        });
        pass
    }

    /// What the login is for, where `password` is a pass of this account; it is none from then on.
    pub fn take(
        &self,
        account: AccountId,
        protocol: Protocol,
        password: &[u8],
        now_unix_s: i64,
    ) -> Option<String> {
        if protocol != Protocol::Imap || !password.starts_with(b"pass-") {
            return None;
        }
        let hash = blake3::hash(password);
        let mut passes = self.0.lock().expect("no holder panics");
        // `blake3::Hash` compares in constant time.
        let at = passes.iter().position(|pass| {
            pass.account == account && pass.hash == hash && pass.is_fresh(now_unix_s)
        })?;
        Some(passes.remove(at).purpose)
    }
}

impl Pass {
    /// A clock that was set back makes a pass no older than it may be.
    fn is_fresh(&self, now_unix_s: i64) -> bool {
        (self.until_unix_s - PASS_AGE_MAX_S..=self.until_unix_s).contains(&now_unix_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: AccountId = AccountId(1);
    const BEN: AccountId = AccountId(2);

    #[test]
    fn a_pass_is_for_one_account_one_protocol_and_one_login() {
        let passes = Passes::default();
        let pass = passes.give(ANN, "import".into(), 1_000);
        let pass = pass.as_bytes();
        assert_eq!(passes.take(BEN, Protocol::Imap, pass, 1_000), None);
        for other in [Protocol::Pop3, Protocol::Submission, Protocol::Sieve] {
            assert_eq!(passes.take(ANN, other, pass, 1_000), None);
        }
        assert_eq!(passes.take(ANN, Protocol::Imap, b"pass-", 1_000), None);
        let purpose = passes.take(ANN, Protocol::Imap, pass, 1_060);
        assert_eq!(purpose.as_deref(), Some("import"));
        assert_eq!(passes.take(ANN, Protocol::Imap, pass, 1_060), None);
    }

    #[test]
    fn a_pass_ends_with_its_time_also_where_the_clock_is_set_back() {
        let passes = Passes::default();
        let pass = passes.give(ANN, "import".into(), 1_000);
        for now in [1_061, 999, 0] {
            assert_eq!(passes.take(ANN, Protocol::Imap, pass.as_bytes(), now), None);
        }
    }

    #[test]
    fn passes_are_bounded_and_differ() {
        let passes = Passes::default();
        let first = passes.give(ANN, "import".into(), 1_000);
        for _ in 0..PASSES_MAX {
            assert_ne!(passes.give(ANN, "import".into(), 1_000), first);
        }
        assert_eq!(passes.0.lock().expect("no holder panics").len(), PASSES_MAX);
        let taken = passes.take(ANN, Protocol::Imap, first.as_bytes(), 1_000);
        assert_eq!(taken, None, "the oldest one made room");
    }
}
