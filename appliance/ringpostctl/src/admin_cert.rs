//! Certificates for administration from other machines, made.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use admin::certificate::{Facts, now_s as clock_s};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::limits::{ADMIN_AUTHORITY_DAYS, ADMIN_CERTIFICATE_DAYS};

const DAY_S: i64 = 24 * 60 * 60;

/// Makes an authority and one client certificate in the new directory `to`: `ca.pem` goes into `[admin] client_ca` of the
/// appliances, `client.pem` and `client-key.pem` are what `--cert` and `--key` name. Where `to` has an authority already, only
/// a client is made, for a second administrator. A client's certificate is good for two years, the authority for ten.
pub fn make(to: &Path, name: &str) -> Result<Vec<String>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", to.display());
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .map_err(told)?;
    let mut written = Vec::new();
    let mut keep = |file: String, text: String| {
        let mut options = OpenOptions::new();
        let path = to.join(&file);
        let mut opened = options
            .write(true)
            // A key that exists is in use by an administrator: it is never written over.
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| {
                format!(
                    "{}: {error}; choose another --name or another directory",
                    path.display()
                )
            })?;
        opened.write_all(text.as_bytes()).map_err(told)?;
        written.push(file);
        Ok::<(), String>(())
    };
    let now_s = clock_s();
    let authority_key = to.join("ca-key.pem");
    let mut ends_s = now_s + ADMIN_CERTIFICATE_DAYS * DAY_S;
    let ca_key = if authority_key.exists() {
        let text = std::fs::read_to_string(&authority_key).map_err(told)?;
        // It signs nothing that would outlive it.
        ends_s = ends_s.min(authority_ends_s(to, now_s)?);
        KeyPair::from_pem(&text).map_err(failed)?
    } else {
        let key = KeyPair::generate().map_err(failed)?;
        keep("ca-key.pem".into(), key.serialize_pem())?;
        keep(
            "ca.pem".into(),
            authority(now_s).self_signed(&key).map_err(failed)?.pem(),
        )?;
        key
    };
    let issuer = Issuer::new(authority(now_s), ca_key);
    let mut client = good_until(now_s, ends_s);
    client.distinguished_name.push(DnType::CommonName, name);
    // Only that: a stolen client certificate must not pass for a server's.
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    client.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = client.signed_by(&key, &issuer).map_err(failed)?;
    keep(format!("{name}-key.pem"), key.serialize_pem())?;
    keep(format!("{name}.pem"), certificate.pem())?;
    Ok(written)
}

/// When the authority in `to` ends. `Err`: it has, or cannot be read.
fn authority_ends_s(to: &Path, now_s: i64) -> Result<i64, String> {
    let path = to.join("ca.pem");
    let pem = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let facts = x509_parser::pem::parse_x509_pem(&pem)
        .ok()
        .and_then(|(_, block)| Facts::of(&block.contents))
        .ok_or_else(|| format!("{} contains no PEM certificate", path.display()))?;
    if facts.not_after_s <= now_s {
        return Err(format!(
            "the authority in {} ended on {}: make a new one in another directory, and put its ca.pem into [admin] client_ca",
            to.display(),
            plan::date(facts.not_after_s.max(0) as u64)
        ));
    }
    Ok(facts.not_after_s)
}

/// A certificate that a clock which runs behind ours by less than a day takes too.
fn good_until(now_s: i64, ends_s: i64) -> CertificateParams {
    let at = |s: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(s.max(0).cast_unsigned());
    let mut params = CertificateParams::default();
    params.not_before = at(now_s - DAY_S);
    params.not_after = at(ends_s);
    params
}

fn authority(now_s: i64) -> CertificateParams {
    let mut authority = good_until(now_s, now_s + ADMIN_AUTHORITY_DAYS * DAY_S);
    authority
        .distinguished_name
        .push(DnType::CommonName, "Ringpost administration");
    // No authority below it.
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_administrator_gets_a_certificate_of_the_same_authority() {
        let directory = tempfile::tempdir().expect("a directory");
        let to = directory.path().join("admin");
        assert_eq!(
            make(&to, "anna"),
            Ok(["ca-key.pem", "ca.pem", "anna-key.pem", "anna.pem"]
                .map(String::from)
                .to_vec())
        );
        assert_eq!(
            make(&to, "ben"),
            Ok(["ben-key.pem", "ben.pem"].map(String::from).to_vec())
        );
        assert!(make(&to, "ben").is_err_and(|why| why.contains("--name")));
    }

    #[test]
    fn what_is_made_ends_and_no_client_outlives_its_authority() {
        let directory = tempfile::tempdir().expect("a directory");
        let to = directory.path();
        make(to, "anna").expect("made");
        let days_left = |file: &str| {
            let pem = std::fs::read(to.join(file)).expect("written");
            let (_, block) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
            let facts = Facts::of(&block.contents).expect("readable");
            assert!(facts.not_before_s < clock_s());
            facts.days_left(clock_s())
        };
        assert!((729..=730).contains(&days_left("anna.pem")));
        assert!((3_649..=3_650).contains(&days_left("ca.pem")));
        let keep = |ends_s| {
            let pem = std::fs::read_to_string(to.join("ca-key.pem")).expect("written");
            let mut old = authority(clock_s());
            old.not_after = good_until(0, ends_s).not_after;
            let made = old.self_signed(&KeyPair::from_pem(&pem).expect("a key"));
            std::fs::write(to.join("ca.pem"), made.expect("signed").pem()).expect("written");
        };
        keep(clock_s() + 100 * DAY_S);
        make(to, "ben").expect("made");
        assert!((99..=100).contains(&days_left("ben.pem")));
        keep(clock_s() - DAY_S);
        assert!(make(to, "carol").is_err_and(|why| why.contains("another directory")));
    }
}
