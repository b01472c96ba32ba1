//! DKIM keys: made here, kept in the directory, shown without their private half.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::dkim as words;
use ::admin::request::Request;
use ::dkim::{Algorithm, SigningKey, ascii_domain, strings};
use mailbox::{DkimAlgorithm, DkimKey, DkimState, MailboxFault, PrivateKey};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about DKIM keys.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::DkimMake {
            domain,
            selector,
            algorithm,
        } => document(&make(admin, domain, selector, of_words(algorithm)).await?),
        Request::DkimList { domain } => {
            let keys = keys(admin, domain).await?;
            document(&keys.iter().map(line).collect::<Vec<_>>())
        }
        Request::DkimShow { domain, selector } => document(&show(admin, domain, &selector).await?),
        Request::DkimActivate { domain, selector } => {
            set_state(admin, domain, selector, DkimState::Active).await
        }
        Request::DkimRetire { domain, selector } => {
            set_state(admin, domain, selector, DkimState::Retired).await
        }
        Request::DkimRemove { domain, selector } => {
            let remove = admin.mailboxes(async move |mailboxes| {
                mailboxes.remove_dkim_key(&domain, &selector).await
            });
            document(&remove.await?)
        }
        _ => Err("not about DKIM keys".into()),
    }
}

/// Makes a key. The domain is checked before the work, because an RSA key takes seconds.
async fn make(
    admin: &Admin,
    domain: String,
    selector: Option<String>,
    algorithm: DkimAlgorithm,
) -> Result<words::DkimDetail, Refused> {
    // Refused before the work where that is certain.
    keys(admin, domain.clone()).await?;
    let private = generate(algorithm).await?;
    let made_unix_s = unix_now();
    let wanted = match selector {
        Some(selector) => vec![selector],
        None => selectors(algorithm, made_unix_s),
    };
    for (index, selector) in wanted.iter().enumerate() {
        let key = DkimKey {
            domain: domain.clone(),
            selector: selector.clone(),
            algorithm,
            state: DkimState::Made,
            made_unix_s,
            private: private.clone(),
        };
        let added = admin.ask(async move |mailboxes| mailboxes.add_dkim_key(key).await);
        match added.await? {
            Ok(key) => return detail(&key),
            Err(MailboxFault::Exists) if index + 1 < wanted.len() => {}
            Err(MailboxFault::Exists) => {
                return Err(format!(
                    "{domain} has a key with the selector {selector}: give another with --selector"
                ));
            }
            Err(fault) => return Err(fault.to_string()),
        }
    }
    Err("no selector is left for today: give one with --selector".into())
}

/// A private key, made on a thread for blocking work: RSA may take seconds. One at a time.
async fn generate(algorithm: DkimAlgorithm) -> Result<PrivateKey, Refused> {
    static ONE: Semaphore = Semaphore::const_new(1);
    let permit = ONE
        .acquire()
        .await
        .map_err(|_| "the appliance is stopping")?;
    // The work runs to its end, with or without its caller, and keeps its place until then.
    let making = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        SigningKey::generate(of_key(algorithm))
    });
    let made = making.await.map_err(|_| "the appliance is stopping")?;
    let made = made.map_err(|fault| fault.to_string())?;
    PrivateKey::new(&made).ok_or_else(|| "the key is too long to be kept".to_owned())
}

/// `r20261129` for RSA, `e20261129` for Ed25519; with a number behind it for more keys on one day.
fn selectors(algorithm: DkimAlgorithm, made_unix_s: u64) -> Vec<String> {
    let letter = match algorithm {
        DkimAlgorithm::Rsa2048 => 'r',
        DkimAlgorithm::Ed25519 => 'e',
    };
    let date = plan::units::date(made_unix_s);
    let day: String = date.chars().filter(char::is_ascii_digit).take(8).collect();
    let mut all = vec![format!("{letter}{day}")];
    all.extend((2..=SELECTORS_A_DAY_MAX).map(|number| format!("{letter}{day}-{number}")));
    all
}

/// One key with the record to publish.
async fn show(admin: &Admin, domain: String, selector: &str) -> Result<words::DkimDetail, Refused> {
    let keys = keys(admin, domain).await?;
    let found = keys
        .iter()
        .find(|key| key.selector.eq_ignore_ascii_case(selector));
    detail(found.ok_or("the domain has no key with this selector: `dkim list` shows them")?)
}

/// The keys of a domain that is ours.
pub(crate) async fn keys(admin: &Admin, domain: String) -> Result<Vec<DkimKey>, Refused> {
    let keys = admin.mailboxes(async move |mailboxes| {
        if !mailboxes.has_domain(&domain) {
            return Err(MailboxFault::Refused(
                "no such domain: `domain add` adds it",
            ));
        }
        mailboxes.dkim_keys(&domain).await
    });
    keys.await
}

/// A key begins to sign, or ends.
async fn set_state(
    admin: &Admin,
    domain: String,
    selector: String,
    state: DkimState,
) -> Result<Value, Refused> {
    let set = admin.mailboxes(async move |mailboxes| {
        let set = mailboxes.set_dkim_key_state(&domain, &selector, state);
        set.await
    });
    document(&set.await?)
}

/// A key with its DNS record.
pub(crate) fn detail(key: &DkimKey) -> Result<words::DkimDetail, Refused> {
    let read = SigningKey::parse(of_key(key.algorithm), key.private.secret());
    let record_text = read
        .and_then(|read| Arc::new(read).record())
        .map_err(|fault| fault.to_string())?;
    let record_name = record_name(key);
    Ok(words::DkimDetail {
        key: line(key),
        record_zone: format!("{record_name}. IN TXT {}", strings(&record_text)),
        record_name,
        record_text,
    })
}

/// Where its DNS record is (RFC 6376 §3.6.2.1).
pub(crate) fn record_name(key: &DkimKey) -> String {
    format!("{}._domainkey.{}", key.selector, ascii_domain(&key.domain))
}

/// A key as the table shows it.
fn line(key: &DkimKey) -> words::DkimLine {
    words::DkimLine {
        domain: key.domain.clone(),
        selector: key.selector.clone(),
        algorithm: match key.algorithm {
            DkimAlgorithm::Rsa2048 => words::DkimAlgorithm::Rsa2048,
            DkimAlgorithm::Ed25519 => words::DkimAlgorithm::Ed25519,
        },
        state: match key.state {
            DkimState::Made => words::DkimState::Made,
            DkimState::Active => words::DkimState::Active,
            DkimState::Retired => words::DkimState::Retired,
        },
        made_unix_s: key.made_unix_s,
    }
}

/// The directory's word for it.
fn of_words(algorithm: words::DkimAlgorithm) -> DkimAlgorithm {
    match algorithm {
        words::DkimAlgorithm::Rsa2048 => DkimAlgorithm::Rsa2048,
        words::DkimAlgorithm::Ed25519 => DkimAlgorithm::Ed25519,
    }
}

/// The signer's word for it.
fn of_key(algorithm: DkimAlgorithm) -> Algorithm {
    match algorithm {
        DkimAlgorithm::Rsa2048 => Algorithm::RsaSha256,
        DkimAlgorithm::Ed25519 => Algorithm::Ed25519Sha256,
    }
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |span| span.as_secs())
}

/// As many as a domain may have keys, and one more.
const SELECTORS_A_DAY_MAX: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_names_algorithm_and_day() {
        let all = selectors(DkimAlgorithm::Rsa2048, 1_795_000_000);
        assert_eq!(all[..2], ["r20261118", "r20261118-2"]);
        assert_eq!(selectors(DkimAlgorithm::Ed25519, 0)[0], "e19700101");
    }

    #[test]
    fn a_key_is_shown_with_its_record_and_without_its_private_half() {
        let made = SigningKey::generate(Algorithm::Ed25519Sha256).unwrap();
        let key = DkimKey {
            domain: "b\u{fc}cher.example".into(),
            selector: "e1".into(),
            algorithm: DkimAlgorithm::Ed25519,
            state: DkimState::Made,
            made_unix_s: 0,
            private: PrivateKey::new(&made).unwrap(),
        };
        let shown = detail(&key).unwrap();
        assert_eq!(shown.record_name, "e1._domainkey.xn--bcher-kva.example");
        let zone = format!("{}. IN TXT \"{}\"", shown.record_name, shown.record_text);
        assert_eq!(shown.record_zone, zone);
        let document = serde_json::to_value(&shown).unwrap();
        let object = document["key"].as_object().unwrap();
        let fields: Vec<&str> = object.keys().map(String::as_str).collect();
        let public = ["algorithm", "domain", "made_unix_s", "selector", "state"];
        assert_eq!(fields, public);
    }
}
