//! The certificate that ringpostd makes for itself: for one year, under the server's name, renewed before it ends.

use std::time::Duration;

use ::admin::certificate::{Facts, SELF_SIGNED};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

const DAY_S: i64 = 24 * 60 * 60;
const GOOD_DAYS: i64 = 365;
/// A clock that runs behind ours by less than this takes a certificate made now.
const BEFORE_DAYS: i64 = 1;
/// Replaced when so few days are left: before the alarm, which is for certificates that only their owner can replace.
const RENEW_DAYS: i64 = 30;
/// Longest common name (RFC 5280 appendix A.1, ub-common-name); longer server names stand among the DNS names alone.
const COMMON_NAME_MAX: usize = 64;

const _: () = assert!(RENEW_DAYS > ::admin::limits::CERTIFICATE_SOON_DAYS);

/// Certificate and key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub chain: String,
    pub key: String,
}

/// Without the key: what is printed for debugging ends in logs.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// Makes one with `key` (PEM), so that a client that trusts the previous one by its key trusts this one too; with a new key where there
/// is none or it is not of our kind.
pub fn make(server_name: &str, key: Option<&str>, now_s: i64) -> Result<Pair, rcgen::Error> {
    let key = match key.map(KeyPair::from_pem) {
        Some(Ok(key)) => key,
        _ => KeyPair::generate()?,
    };
    let mut names = vec![server_name.to_owned()];
    for name in ["localhost", "127.0.0.1", "::1"] {
        if name != server_name {
            names.push(name.to_owned());
        }
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    if server_name.len() <= COMMON_NAME_MAX {
        params
            .distinguished_name
            .push(DnType::CommonName, server_name);
    }
    params
        .distinguished_name
        .push(DnType::OrganizationName, SELF_SIGNED);
    let day = |days: i64| {
        let seconds = (now_s + days * DAY_S).max(0).cast_unsigned();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = day(-BEFORE_DAYS);
    params.not_after = day(GOOD_DAYS);
    let made = params.self_signed(&key)?;
    Ok(Pair {
        chain: made.pem(),
        key: key.serialize_pem(),
    })
}

/// Whether a self-signed certificate is to be replaced: it ends soon, or is for another name.
pub fn is_due(facts: &Facts, server_name: &str, now_s: i64) -> bool {
    facts.days_left(now_s) < RENEW_DAYS || !facts.names.iter().any(|name| name == server_name)
}
