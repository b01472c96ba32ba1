//! Salts of keys, app passwords and the audit, as administrators ask for them.

use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::logins::{AppLine, Ask, Pass, Purpose, Salt, UsedLine};
use ::logins::App;
use client::login::audit::Protocol;
use sasl::scram::ITERATIONS;
use serde_json::Value;
use storage::logins::{self, NewApp};
use storage::outgoing::Outgoing;

use crate::admin::accounts::{account_of, parse_address};
use crate::admin::caller::Caller;
use crate::admin::shared::{Admin, Refused, document};
use crate::audit;
use crate::storage::random;

/// Performs a request about logins.
pub(crate) async fn perform(admin: &Admin, ask: Ask, caller: &Caller) -> Result<Value, Refused> {
    match ask {
        Ask::Pass { account, purpose } => document(&pass(admin, &account, purpose, caller).await?),
        Ask::Salt { account } => document(&salt(admin, &account).await?),
        Ask::AppAdd {
            account,
            name,
            scopes,
            digest,
            keys,
        } => {
            // Keys of fewer iterations would be accepted and be weaker than they look.
            if keys.iterations != ITERATIONS {
                return Err("these keys are not of the form that is used here: use the ringpostctl of this version".into());
            }
            let new = NewApp {
                name,
                scopes: bits_of(&scopes)?,
                digest,
                iterations: keys.iterations,
                keys: ::logins::Keys {
                    stored: keys.stored,
                    server: keys.server,
                },
                day: today(),
            };
            document(&add(admin, &account, new).await?)
        }
        Ask::AppList { account } => document(&list(admin, &account).await?),
        Ask::AppRemove { account, name } => document(&remove(admin, &account, name).await?),
        Ask::AuditList { of, count } => {
            let place = admin.plan().state.join(audit::PLACE);
            let count = count.unwrap_or(AUDIT_LINES);
            let read = move || audit::list(&place, of.as_deref(), count);
            document(&on_a_thread(read).await?)
        }
        Ask::OauthStatus => document(&admin.tokens().map_or(Vec::new(), |tokens| tokens.lines())),
        Ask::AuditVerify => {
            let place = admin.plan().state.join(audit::PLACE);
            let head = async move |outgoing: Outgoing| {
                Ok(outgoing.keyring().and_then(|keyring| keyring.head()))
            };
            // Read before the files: lines that are written meanwhile are behind it.
            let head = admin.outgoing(head).await?;
            document(&on_a_thread(move || audit::verify(&place, head)).await?)
        }
    }
}

/// Files may be some hundred megabytes.
async fn on_a_thread<T: Send + 'static>(
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(read).await;
    let done = done.map_err(|_| "the look at the audit was broken off")?;
    done.map_err(|error| format!("the audit cannot be read: {error}"))
}

async fn salt(admin: &Admin, account: &str) -> Result<Salt, Refused> {
    // The salt follows from the keyring's secret and the account's name. `fresh` becomes that secret on a volume that has none yet.
    let (address, fresh) = (parse_address(account)?, fresh()?);
    let work =
        async move |outgoing: Outgoing| Ok(logins::salt_of(&outgoing, &address, fresh).await);
    let salt = admin.outgoing(work).await?;
    Ok(Salt {
        salt: salt.map_err(|fault| fault.to_string())?.to_vec(),
        iterations: ITERATIONS,
    })
}

/// A login to the account without its password; the audit has it once it is used.
async fn pass(
    admin: &Admin,
    account: &str,
    purpose: Purpose,
    caller: &Caller,
) -> Result<Pass, Refused> {
    let account = account_of(admin, account).await?;
    let purpose = format!("administrator's {}: {}", purpose.name(), caller.who);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    Ok(Pass {
        user: account.address.key(),
        password: admin.logins().pass_for(account.id, purpose, now),
    })
}

async fn add(admin: &Admin, account: &str, new: NewApp) -> Result<(), Refused> {
    let (account, fresh) = (account_of(admin, account).await?.id, fresh()?);
    let work =
        async move |outgoing: Outgoing| Ok(logins::add_app(&outgoing, account, new, fresh).await);
    let added = admin.outgoing(work).await?;
    added.map(drop).map_err(|fault| fault.to_string())
}

async fn list(admin: &Admin, account: &str) -> Result<Vec<AppLine>, Refused> {
    let account = account_of(admin, account).await?.id;
    let work = async move |outgoing: Outgoing| Ok(logins::apps(&outgoing, account).await);
    let apps = admin.outgoing(work).await?;
    let apps = apps.map_err(|fault| fault.to_string())?;
    Ok(apps.iter().map(line).collect())
}

async fn remove(admin: &Admin, account: &str, name: String) -> Result<(), Refused> {
    let account = account_of(admin, account).await?.id;
    let work =
        async move |outgoing: Outgoing| Ok(logins::remove_app(&outgoing, account, &name).await);
    let removed = admin.outgoing(work).await?;
    removed.map_err(|fault| fault.to_string())
}

fn line(app: &App) -> AppLine {
    let of = |bits: u8| {
        let all = Protocol::ALL.into_iter();
        all.filter(move |protocol| protocol.bit() & bits != 0)
            .map(|protocol| protocol.name().to_owned())
    };
    AppLine {
        name: app.name.clone(),
        scopes: of(app.scopes).collect(),
        made: date(app.made_day),
        used: app.used.as_ref().map(|used| UsedLine {
            day: date(used.day),
            protocol: of(used.protocol).next().unwrap_or_default(),
            peer: used.peer.clone(),
        }),
    }
}

fn bits_of(scopes: &[String]) -> Result<u8, Refused> {
    let mut bits = 0;
    for scope in scopes {
        let protocol = Protocol::named(scope);
        bits |= protocol
            .ok_or_else(|| format!("`{scope}` is not imap, pop3, submission or sieve"))?
            .bit();
    }
    Ok(bits)
}

fn date(day: u32) -> String {
    let seconds = i64::from(day) * 86_400;
    let at = jiff::Timestamp::from_second(seconds);
    at.map_or_else(
        |_| day.to_string(),
        |at| at.strftime("%Y-%m-%d").to_string(),
    )
}

fn today() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs();
    u32::try_from(seconds / 86_400).unwrap_or(u32::MAX)
}

/// The secret of a volume that has none yet.
fn fresh() -> Result<[u8; 32], Refused> {
    random().map_err(|misfit| misfit.to_string())
}

const AUDIT_LINES: usize = 100;
