//! What a certificate says: until when it is good, who made it, whether it may be an authority.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::{CERTIFICATE_SOON_DAYS, CERTIFICATE_URGENT_DAYS};

/// The organisation on certificates that ringpostd makes for itself: those it may replace, no others.
pub const SELF_SIGNED: &str = "Ringpost self-signed";

const DAY_S: i64 = 24 * 60 * 60;

/// What one certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// ringpostd made it, for want of one.
    pub self_made: bool,
    /// DNS names.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before_s: i64,
    pub not_after_s: i64,
}

impl Facts {
    /// `None`: not an X.509 certificate.
    pub fn of(der: &[u8]) -> Option<Facts> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let organisation = parsed.subject().iter_organization().next();
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|names| {
            let dns = names
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    x509_parser::prelude::GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                });
            dns.collect()
        });
        Some(Facts {
            self_made: parsed.subject() == parsed.issuer()
                && organisation.is_some_and(|name| name.as_str() == Ok(SELF_SIGNED)),
            names: names.unwrap_or_default(),
            not_before_s: parsed.validity().not_before.timestamp(),
            not_after_s: parsed.validity().not_after.timestamp(),
        })
    }

    /// Whole days until it is over; negative afterwards.
    pub fn days_left(&self, now_s: i64) -> i64 {
        (self.not_after_s - now_s).div_euclid(DAY_S)
    }
}

/// Whether `pem` may stand in `[admin] client_ca`. `Err`: one sentence.
pub fn check_authority(pem: &str) -> Result<(), String> {
    let none = || "it contains no PEM certificate".to_owned();
    let mut count = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|_| none())?;
        block.parse_x509().map_err(|_| none())?;
        count += 1;
    }
    if count == 0 { Err(none()) } else { Ok(()) }
}

/// Seconds since 1970.
pub fn now_s() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

/// When the first certificate of the chain ends: from then on clients refuse it. `None`: there is no readable one.
pub fn ends_s(chain: &[Vec<u8>]) -> Option<i64> {
    chain
        .iter()
        .filter_map(|der| Some(Facts::of(der)?.not_after_s))
        .min()
}

/// Why clients refuse this chain now; one sentence without its end.
pub fn refused_by_clients(chain: &[Vec<u8>], now_s: i64) -> Option<String> {
    for der in chain {
        let Some(facts) = Facts::of(der) else {
            return Some("a certificate in it cannot be read".into());
        };
        if facts.not_after_s < now_s {
            return Some(format!(
                "the certificate expired on {}",
                plan::date(facts.not_after_s.max(0) as u64)
            ));
        }
        if facts.not_before_s > now_s {
            return Some(format!(
                "the certificate is not valid before {} (the clock here shows {})",
                plan::date(facts.not_before_s.max(0) as u64),
                plan::date(now_s.max(0) as u64)
            ));
        }
    }
    None
}

/// What the operator should do about the chain that is shown; a sentence for alarms and the log.
pub fn alarm(chain: &[Vec<u8>], now_s: i64) -> Option<String> {
    const FIX: &str = "`ringpostctl certificate set` installs a new one (`certificate reload` if the settings name its files)";
    alarm_with(chain, now_s, "clients", FIX)
}

/// As `alarm`, of a certificate that an authority gave us and that is renewed by itself: it is there when that has failed for long.
pub fn alarm_of_ordered(chain: &[Vec<u8>], now_s: i64) -> Option<String> {
    const FIX: &str = "`ringpostctl certificate status` says why it is not renewed";
    let alarm = alarm_with(chain, now_s, "clients", FIX)?;
    Some(format!("acme: {alarm}"))
}

/// Whether so little time is left that it is to be an error in the log.
pub fn is_urgent(chain: &[Vec<u8>], now_s: i64) -> bool {
    ends_within(chain, now_s, CERTIFICATE_URGENT_DAYS, 8)
}

/// As `alarm`, of the certificate that this node shows to other nodes.
pub fn alarm_of_node(chain: &[Vec<u8>], now_s: i64) -> Option<String> {
    const FIX: &str =
        "replace the file and its key, then `ringpostctl certificate reload` reads them";
    let alarm = alarm_with(chain, now_s, "other nodes", FIX)?;
    Some(format!("peers.certificate: {alarm}"))
}

fn alarm_with(chain: &[Vec<u8>], now_s: i64, whom: &str, fix: &str) -> Option<String> {
    if let Some(why) = refused_by_clients(chain, now_s) {
        return Some(format!("{why}, and {whom} refuse TLS with it: {fix}"));
    }
    let ends = ends_s(chain)?;
    let days = (ends - now_s).div_euclid(DAY_S);
    let urgent = match is_urgent(chain, now_s) {
        true => "; this is urgent",
        false => "",
    };
    ends_within(chain, now_s, CERTIFICATE_SOON_DAYS, 4).then(|| {
        format!(
            "the certificate expires on {}, in {days} days{urgent}: {fix}",
            plan::date(ends.max(0) as u64)
        )
    })
}

/// Whether the first certificate that ends has fewer than `days` left, and less than a share of its life: one that is good for a week only is
/// not an alarm all its life.
fn ends_within(chain: &[Vec<u8>], now_s: i64, days: i64, share: i64) -> bool {
    let all = chain.iter().filter_map(|der| Facts::of(der));
    let first = all.min_by_key(|facts| facts.not_after_s);
    first.is_some_and(|facts| {
        let life_s = facts.not_after_s - facts.not_before_s;
        facts.days_left(now_s) < days && facts.not_after_s - now_s < life_s / share
    })
}

/// What the first certificate of a chain, the server's own, says.
pub fn facts_of(chain: &[Vec<u8>]) -> Option<Facts> {
    Facts::of(chain.first()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    /// Good from 2026-01-01 to 2026-12-31.
    fn chain() -> Vec<Vec<u8>> {
        let mut params = CertificateParams::new(["mail.example.org".to_owned()]).expect("right");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 12, 31);
        let key = KeyPair::generate().expect("a key");
        vec![params.self_signed(&key).expect("signed").der().to_vec()]
    }

    #[test]
    fn a_certificate_raises_an_alarm_before_it_ends_and_after() {
        let chain = chain();
        let at = |year, month, day| date_time_ymd(year, month, day).unix_timestamp();
        assert_eq!(alarm(&chain, at(2026, 6, 1)), None);
        assert_eq!(refused_by_clients(&chain, at(2026, 12, 20)), None);
        let soon = alarm(&chain, at(2026, 12, 20)).expect("eleven days");
        assert!(
            soon.contains("in 11 days") && soon.contains("2026-12-31"),
            "{soon}"
        );
        assert!(!soon.contains("urgent"), "{soon}");
        let last = alarm(&chain, at(2026, 12, 26)).expect("five days");
        assert!(last.contains("in 5 days; this is urgent"), "{last}");
        let over = alarm(&chain, at(2027, 1, 2)).expect("over");
        assert!(over.contains("expired on 2026-12-31"), "{over}");
        let early = refused_by_clients(&chain, at(2025, 12, 1)).expect("not yet");
        assert!(early.contains("not valid before 2026-01-01"), "{early}");
    }

    #[test]
    fn a_certificate_of_a_week_is_an_alarm_in_its_last_days_only() {
        let mut params = CertificateParams::new(["mail.example.org".to_owned()]).expect("right");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 1, 9);
        let key = KeyPair::generate().expect("a key");
        let chain = vec![params.self_signed(&key).expect("signed").der().to_vec()];
        let at = |day| date_time_ymd(2026, 1, day).unix_timestamp();
        assert_eq!(alarm_of_ordered(&chain, at(6)), None);
        let soon = alarm_of_ordered(&chain, at(8)).expect("a day");
        assert!(
            soon.starts_with("acme: ") && soon.contains("in 1 days"),
            "{soon}"
        );
    }

    #[test]
    fn what_others_made_is_not_ours_and_what_is_no_certificate_is_said_so() {
        let facts = Facts::of(&chain()[0]).expect("readable");
        assert!(!facts.self_made);
        assert_eq!(facts.names, ["mail.example.org"]);
        assert_eq!(Facts::of(&[0x30; 64]), None);
        assert!(refused_by_clients(&[vec![0x30; 64]], 0).is_some());
    }
}
