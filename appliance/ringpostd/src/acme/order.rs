//! One order (RFC 8555 §7.4): account, names proved, request, certificate; and the question when to renew.

use std::time::Duration;

use files::Mode;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use plan::acme::Challenge;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::web::Web;
use super::zone::Zone;
use super::{Acme, Facts, covers, kept_key, now_s};
use crate::certificate::{certified, parse_chain, parse_key, write_pair};
use crate::self_signed::Pair;

/// How long the authority may look at the names, and make the certificate. It polls at first twice a second, and ever less often.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .timeout(Duration::from_secs(240));
/// For the names together; what was put into the zone is taken away afterwards.
const PROVE_WITHIN: Duration = Duration::from_secs(15 * 60);
/// RFC 8555 §8.3 has tokens of some 22 characters and more.
const TOKEN_BYTES_MAX: usize = 256;
/// An authority's words, as far as they are kept and shown.
const WORDS_MAX: usize = 500;

/// A moment of the window, and how soon to ask again.
pub(super) type Window = ((i64, i64), Duration);

/// When the authority wants the kept certificate renewed (RFC 9773 §4). `None`: it does not say.
pub(super) async fn window(acme: &Acme, web: Web) -> Result<Option<Window>, String> {
    let pem = std::fs::read(&acme.places.certificate).map_err(|error| error.to_string())?;
    let chain = parse_chain(&pem)?;
    // A certificate of the operator's own, or one without an authority key identifier: ARI knows it by that.
    let Some(id) = identifier(&chain) else {
        return Ok(None);
    };
    let account = account(acme, web).await?;
    match account.renewal_info(&id).await {
        Ok((info, again)) => {
            let window = info.suggested_window;
            let ends = (window.start.unix_timestamp(), window.end.unix_timestamp());
            Ok(Some((ends, again)))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(words(&error)),
    }
}

/// A certificate for all names, durable in the state directory.
pub(super) async fn order(acme: &Acme, web: Web) -> Result<CertifiedKey, String> {
    let account = account(acme, web).await?;
    let names: Vec<Identifier> = acme.names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = begin(acme, &account, &names).await?;
    // Outside of the future that may time out, so that what was put into the zone by then is known and can be taken away.
    let mut records = Vec::new();
    let proved = tokio::time::timeout(PROVE_WITHIN, prove(acme, &mut order, &mut records)).await;
    // In any case: records that stay would fill the zone, one for each try.
    if let Some(zone) = &acme.zone {
        take_away(zone, &records).await;
    }
    proved.map_err(|_| "the look at the names took longer than 15 minutes")??;
    // The same key again where there is one: a TLSA record that pins it stays true over renewals.
    let key = match kept_key(&acme.places.key)?
        .as_deref()
        .map(KeyPair::from_pem)
    {
        Some(Ok(key)) => key,
        Some(Err(error)) => return Err(format!("{}: {error}", acme.places.key.display())),
        None => KeyPair::generate().map_err(|error| error.to_string())?,
    };
    let mut params =
        CertificateParams::new(acme.names.clone()).map_err(|error| error.to_string())?;
    // Names are in the SAN; authorities ignore a common name, or refuse one that is too long.
    params.distinguished_name = DistinguishedName::new();
    let request = params
        .serialize_request(&key)
        .map_err(|error| error.to_string())?;
    order
        .finalize_csr(request.der())
        .await
        .map_err(|error| words(&error))?;
    let chain = order
        .poll_certificate(&POLL)
        .await
        .map_err(|error| words(&error))?;
    let pair = Pair {
        chain,
        key: key.serialize_pem(),
    };
    let certified = checked(acme, &pair)?;
    write_pair(&acme.places.certificate, &acme.places.key, &pair)
        .map_err(|error| format!("{}: {error}", acme.places.certificate.display()))?;
    Ok(certified)
}

/// What the authority gave, if it can be shown: for our key, for all names, and good now.
fn checked(acme: &Acme, pair: &Pair) -> Result<CertifiedKey, String> {
    let chain = parse_chain(pair.chain.as_bytes())?;
    let facts = chain.first().and_then(|der| Facts::of(der));
    let facts = facts.ok_or("the authority gave a certificate that cannot be read")?;
    if !covers(&facts, &acme.names) {
        return Err("the authority gave a certificate for other names".to_owned());
    }
    if facts.not_before_s > now_s() {
        return Err(
            "the authority gave a certificate that is not good yet by the clock here".to_owned(),
        );
    }
    if facts.not_after_s <= now_s() {
        return Err(
            "the authority gave a certificate that has expired by the clock here".to_owned(),
        );
    }
    certified(chain, parse_key(pair.key.as_bytes())?)
}

/// Ours at the directory of the settings; made where there is none, or where another directory is set now.
async fn account(acme: &Acme, web: Web) -> Result<Account, String> {
    let path = &acme.places.account;
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let builder = Account::builder_with_http(Box::new(web));
    match std::fs::read(path) {
        Ok(bytes) => {
            let kept: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|error| wrong(error.into()))?;
            if kept["directory"] == acme.settings.directory {
                let kept: AccountCredentials =
                    serde_json::from_value(kept).map_err(|error| wrong(error.into()))?;
                let account = builder.from_credentials(kept).await;
                return account.map_err(|error| words(&error));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(error)),
    }
    let contact: Vec<&str> = acme.settings.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: acme.settings.terms_agreed,
        only_return_existing: false,
    };
    let made = builder.create(&wanted, acme.settings.directory.clone(), None);
    let (account, credentials) = made.await.map_err(|error| words(&error))?;
    let bytes = serde_json::to_vec(&credentials).map_err(|error| error.to_string())?;
    files::replace(path, &bytes, Mode::Private).map_err(wrong)?;
    Ok(account)
}

/// A new order, which replaces the kept certificate where the authority has words for that (RFC 9773 §5).
async fn begin(acme: &Acme, account: &Account, names: &[Identifier]) -> Result<Order, String> {
    let says_when = acme.tries().window.is_some();
    let chain = std::fs::read(&acme.places.certificate)
        .ok()
        .filter(|_| says_when);
    let chain = chain.and_then(|pem| parse_chain(&pem).ok());
    let replaced = chain.as_deref().and_then(identifier);
    let is_renewal = replaced.is_some();
    let mut wanted = NewOrder::new(names);
    if let Some(id) = replaced {
        wanted = wanted.replaces(id);
    }
    match account.new_order(&wanted).await {
        Ok(order) => Ok(order),
        // It may be replaced already, by an order whose answer was lost; and some authorities do not repeat the name, which the library takes for a
        // failure. A refusal of another kind comes back.
        Err(error) if is_renewal && !is_limit(&error) => {
            let order = account.new_order(&NewOrder::new(names)).await;
            order.map_err(|error| words(&error))
        }
        Err(error) => Err(words(&error)),
    }
}

/// RFC 8555 §6.6.
fn is_limit(error: &Error) -> bool {
    let kind = match error {
        Error::Api(problem) => problem.r#type.as_deref(),
        _ => None,
    };
    kind.is_some_and(|kind| kind.ends_with(":rateLimited"))
}

/// How the authority calls a certificate (RFC 9773 §4.1). `None`: it lacks what that is made of.
fn identifier(chain: &[CertificateDer<'static>]) -> Option<CertificateIdentifier<'static>> {
    let id = CertificateIdentifier::try_from(chain.first()?).ok()?;
    Some(id.into_owned())
}

/// Proves every name that the authority asks about. `records`: what was put into the zone, whatever comes of it.
async fn prove(
    acme: &Acme,
    order: &mut Order,
    records: &mut Vec<(String, String)>,
) -> Result<(), String> {
    let kind = match acme.settings.challenge {
        Challenge::Http => ChallengeType::Http01,
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
        Challenge::Dns => ChallengeType::Dns01,
    };
    // All answers are there before the authority looks at the first name.
    let mut count = 0;
    let mut all = order.authorizations();
    while let Some(found) = all.next().await {
        let mut found = found.map_err(|error| words(&error))?;
        count += 1;
        if count > acme.names.len() {
            return Err("the authority asks about more names than were ordered".to_owned());
        }
        match found.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err("the authority has ended the look at a name".to_owned()),
        }
        let challenge = found.challenge(kind.clone());
        let challenge = challenge
            .ok_or("the authority does not offer this challenge: choose another acme.challenge")?;
        let Identifier::Dns(name) = challenge.identifier().identifier else {
            return Err("the authority asks about something that is not a name".to_owned());
        };
        if challenge.token.len() > TOKEN_BYTES_MAX {
            return Err("the authority gave a token that is too long".to_owned());
        }
        let answer = challenge.key_authorization();
        match &acme.zone {
            None if kind == ChallengeType::Http01 => {
                acme.answers.put_text(&challenge.token, answer.as_str());
            }
            None => acme
                .answers
                .put_certificate(name, answer.digest().as_ref())?,
            Some(zone) => {
                let record = (format!("_acme-challenge.{name}"), answer.dns_value());
                records.push(record.clone());
                zone.set(&record.0, &record.1, true).await?;
            }
        }
    }
    if let Some(zone) = acme.zone.as_ref().filter(|_| !records.is_empty()) {
        tokio::time::sleep(zone.wait).await;
    }
    let mut all = order.authorizations();
    while let Some(found) = all.next().await {
        let mut found = found.map_err(|error| words(&error))?;
        if found.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = found.challenge(kind.clone())
        {
            challenge.set_ready().await.map_err(|error| words(&error))?;
        }
    }
    match order.poll_ready(&POLL).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(refusal(order).await),
        Err(error) => Err(words(&error)),
    }
}

/// Why the authority does not believe that a name is ours.
async fn refusal(order: &mut Order) -> String {
    let mut all = order.authorizations();
    while let Some(Ok(mut found)) = all.next().await {
        let Ok(state) = found.refresh().await else {
            continue;
        };
        let why = state.challenges.iter().find_map(|one| one.error.as_ref());
        if let Some(why) = why {
            let name = state.identifier().to_string();
            return bounded(format!("{name}: {why}"));
        }
    }
    "the authority refuses the order and does not say why".to_owned()
}

/// A record that stays is of use only with the account's key; the log says so.
async fn take_away(zone: &Zone, records: &[(String, String)]) {
    for (name, text) in records {
        if let Err(why) = zone.set(name, text, false).await {
            tracing::warn!(name, why, "a record for the authority stays in the zone");
        }
    }
}

fn words(error: &Error) -> String {
    bounded(error.to_string())
}

/// In one line of few printable characters: it is kept, logged and shown.
fn bounded(text: String) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests;
