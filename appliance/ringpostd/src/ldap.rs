//! Another directory (LDAP): logins ask it, and its people, addresses and groups are brought here.
//!
//! What must hold: what is wrong with the settings is reported before anything is touched, and a server that does not answer keeps nothing from starting. The
//! password of the settings' name is read from a file that the daemon alone may read, and stands in no text. All that talks to a server is `core/ldap`, on
//! its own thread; `sync.rs` brings people here, on the main thread, beside administration.

mod apply;
mod differences;
pub mod sync;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::ldap::{Checked, Filter, Ldap, Person, Server, Settings, Tls};
use client::login::outside::{Answer, Asking, Outside};
use mail::{Address, spelling};
use plan::Misfit;
use rustls::{ClientConfig, RootCertStore};

use crate::certificate::{others_read, parse_chain};
use sync::Syncing;

/// The directory as the daemon uses it.
pub struct Directory {
    pub ldap: Ldap,
    pub settings: plan::ldap::Ldap,
    /// How reading everything went.
    pub(crate) syncing: Mutex<Syncing>,
}

impl Directory {
    /// `None`: the settings name none. Starts the thread; no server is asked yet.
    pub fn open(settings: &plan::ldap::Ldap) -> Result<Option<Arc<Directory>>, Misfit> {
        if !settings.is_on() {
            return Ok(None);
        }
        let asked = asked(settings)?;
        let tls = trust(settings.ca.as_deref())?;
        let ldap = Ldap::start(asked, tls);
        let ldap = ldap.map_err(|error| {
            Misfit::new(format!(
                "cannot start the thread that asks the directory: {error}"
            ))
        })?;
        Ok(Some(Arc::new(Directory {
            ldap,
            settings: settings.clone(),
            syncing: Mutex::default(),
        })))
    }

    /// What the operator should look at.
    pub fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        for server in self.ldap.gauges().health() {
            if let (false, Some(why)) = (server.is_up, server.why) {
                alarms.push(format!(
                    "ldap: {} does not serve: {why}: look at that server; `ringpostctl ldap status` says when it is back",
                    server.url
                ));
            }
        }
        let syncing = self.syncing.lock().expect("no holder panics");
        alarms.extend(syncing.alarm());
        alarms
    }
}

impl Outside for Directory {
    fn answers_for(&self, name: &str) -> bool {
        let domain = name.rsplit_once('@').map(|(_, domain)| domain);
        domain.is_some_and(|domain| {
            let mut domains = self.settings.domains.iter();
            domains.any(|ours| ours.eq_ignore_ascii_case(domain))
        })
    }

    fn makes_accounts(&self) -> Option<u64> {
        self.settings
            .create_accounts
            .then_some(self.settings.quota.0)
    }

    fn kept_for(&self) -> Duration {
        self.settings.cache.0
    }

    fn check(&self, name: String, password: Vec<u8>) -> Asking {
        let ldap = self.ldap.clone();
        Box::pin(async move {
            let asked = name.clone();
            match ldap.check(name, password).await {
                Ok(Checked::Right(person)) => answer_of(&person, &asked),
                Ok(Checked::Wrong | Checked::Unknown) => Answer::Wrong,
                Err(away) => {
                    tracing::debug!(%away, "no server of the directory answers");
                    Answer::Away
                }
            }
        })
    }
}

/// Under which address the person is right, as accounts have it. Without one it is the user's name there, in the domain that was asked for: what was typed may be spelled in many ways
/// that the directory takes for one, and each would be another account.
fn answer_of(person: &Person, asked: &str) -> Answer {
    if let Some(address) = &person.address {
        // One that cannot be an account's is not none: it would do for any account.
        return parse(address).map_or(Answer::Wrong, |address| Answer::Right(Some(address)));
    }
    let named = || {
        let (_, domain) = asked.rsplit_once('@')?;
        let user = person.user.as_deref().filter(|user| !user.contains('@'));
        Address::from_parts(&user?.to_lowercase(), domain)
    };
    Answer::Right(named())
}

pub(crate) fn parse(text: &str) -> Option<Address> {
    let (local, domain) = text.rsplit_once('@')?;
    Address::from_parts(local, domain)
}

/// One text for all spellings of an address.
pub(crate) fn canonical(address: &Address) -> String {
    let keys = spelling::keys(address).into_iter();
    keys.min().unwrap_or_else(|| address.key())
}

/// The settings as `core/ldap` has them.
fn asked(settings: &plan::ldap::Ldap) -> Result<Settings, Misfit> {
    let schema = settings.schema();
    let filter = |key: &str, text: &str| {
        Filter::parse(text).map_err(|why| Misfit::new(format!("ldap.{key}: {why}")))
    };
    let mut servers = Vec::new();
    for url in &settings.servers {
        let server = plan::ldap::server(url).map_err(Misfit::new)?;
        servers.push(Server {
            url: url.clone(),
            host: server.host,
            port: server.port,
            tls: match (server.is_ldaps, settings.insecure) {
                (true, _) => Tls::Implicit,
                (false, false) => Tls::Start,
                (false, true) => Tls::Never,
            },
        });
    }
    let groups = match schema.group_filter.as_str() {
        "" => None,
        text => Some(filter("group_filter", text)?),
    };
    Ok(Settings {
        servers,
        bind_dn: settings.bind_dn.clone(),
        bind_password: secret(settings.bind_password_file.as_deref())?,
        base: settings.base.clone(),
        user_filter: filter("user_filter", &schema.user_filter)?,
        mail: schema.mail,
        aliases: schema.aliases,
        disabled: schema.disabled,
        domains: settings
            .domains
            .iter()
            .map(|domain| domain.to_lowercase())
            .collect(),
        required_group: settings.required_group.clone(),
        has_chain_rule: schema.has_chain_rule,
        groups,
        group_base: settings
            .group_base
            .clone()
            .unwrap_or_else(|| settings.base.clone()),
        member: schema.member,
        user: schema.user,
        deadline: settings.deadline.0,
    })
}

/// The password in the file, without the end of its line.
fn secret(path: Option<&Path>) -> Result<::ldap::Secret, Misfit> {
    let Some(path) = path else {
        return Ok(::ldap::Secret::default());
    };
    let wrong = |why: &str| {
        Misfit::new(format!(
            "ldap.bind_password_file: {}: {why}",
            path.display()
        ))
    };
    if others_read(path) {
        return Err(wrong(
            "others may read or change it: give it to the daemon alone (chmod 600)",
        ));
    }
    let mut bytes = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    while matches!(bytes.last(), Some(b'\r' | b'\n')) {
        bytes.pop();
    }
    match bytes.len() {
        1..=PASSWORD_BYTES_MAX => Ok(::ldap::Secret::new(bytes)),
        0 => Err(wrong(
            "it is empty: write the password of ldap.bind_dn into it",
        )),
        _ => Err(wrong("it is too long for a password")),
    }
}

/// Whom the servers' certificates may be from.
fn trust(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Misfit> {
    let roots = match ca {
        None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let wrong = |why: String| Misfit::new(format!("ldap.ca: {}: {why}", path.display()));
            let mut roots = RootCertStore::empty();
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            for one in parse_chain(&pem).map_err(wrong)? {
                roots.add(one).map_err(|error| wrong(error.to_string()))?;
            }
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Misfit::new(error.to_string()))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

const PASSWORD_BYTES_MAX: usize = 1_024;
/// The plan counts what the crate holds, and what is compared here: the accounts that are marked, and changes.
const _: () = assert!(::ldap::limits::MEMORY_BYTES + COMPARED_BYTES <= plan::limits::LDAP_BYTES);
const COMPARED_BYTES: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_an_address_is_called_by_the_name_there_and_not_by_what_was_typed() {
        let key = |person: &Person, asked: &str| match answer_of(person, asked) {
            Answer::Right(address) => address.map(|address| address.key()).unwrap_or_default(),
            _ => "wrong".to_owned(),
        };
        let mut ada = Person {
            user: Some("Ada".to_owned()),
            ..Person::default()
        };
        // Fullwidth, which the directory takes for the same.
        assert_eq!(key(&ada, "\u{ff41}da@example.org"), "ada@example.org");
        assert_eq!(key(&ada, "ada"), "");
        ada.address = Some("lovelace@example.org".to_owned());
        assert_eq!(key(&ada, "ada@example.org"), "lovelace@example.org");
        ada.address = Some(format!("{}@example.org", "a".repeat(500)));
        assert_eq!(key(&ada, "ada@example.org"), "wrong");
        ada.address = None;
        ada.user = Some("ada@corp.local".to_owned());
        assert_eq!(key(&ada, "ada@example.org"), "");
    }
}
