//! Logins as other cores ask for them: an account with what proves it, and the changes of accounts that take their keys with them.
//!
//! What must hold:
//! - a user that does not exist has a salt like any other, and always the same one: it is made of the name and of the volume's secret, as the salt of an
//!   account is. So no salt tells whether there is an account.
//! - keys and the password hash that they belong to are set in one group; keys that are made later are written only where the account still is and still has that hash.
//! - an account that is removed takes its row with it, in one group.
//! - only digests of app passwords come here.

use ::logins::limits::APPS_MAX;
use ::logins::{App, Changing, Keyring, Keys, LoginFault, Main, Row, Used};
use mail::{Address, spelling};
use mailbox::names::Mark;
use mailbox::{Account, AccountId, MailboxFault, Mailboxes};

use crate::outgoing::Outgoing;

/// Who may be meant by a user's name, and what proves it.
pub struct Known {
    /// `None`: there is no such account.
    pub account: Option<Account>,
    /// Of the account; empty where there is none.
    pub row: Row,
    /// Another directory owns the account.
    pub mark: Option<Mark>,
    /// Of its SCRAM keys, whether it exists or not.
    pub salt: [u8; 16],
    /// What hashes of app passwords are keyed with. `None`: the volume has no secret yet and takes no writes, so it has no app passwords and no keys, and none
    /// can be made; the salt is another one each time.
    pub app_key: Option<[u8; 32]>,
    /// Says which keys belong to the password hash.
    pub of: [u8; 16],
    /// The name as accounts have it: the same for all spellings of it.
    pub name: String,
    /// There is no such account, and the name is an address of a domain of this server.
    pub is_of_ours: bool,
}

/// How a password is changed or made: its argon2id hash, and the keys beside it.
#[derive(Debug, Clone)]
pub struct Password {
    pub hash: String,
    /// `None`: the program that made the hash made no keys. They are made at the next login with the password itself.
    pub keys: Option<Keys>,
    pub iterations: u32,
}

/// An app password that its maker knows; here its digest comes.
#[derive(Debug, Clone)]
pub struct NewApp {
    pub name: String,
    pub scopes: u8,
    /// BLAKE3 of the password as it is shown.
    pub digest: [u8; 32],
    pub keys: Keys,
    pub iterations: u32,
    pub day: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFault {
    #[error(transparent)]
    Account(#[from] MailboxFault),
    #[error(transparent)]
    Login(#[from] LoginFault),
    /// This storage keeps nothing about logins.
    #[error("nothing is kept about logins here")]
    NoKeyring,
    #[error("there is no such app password")]
    NoApp,
}

/// `user` is an address, or the local part of one when there is a single domain. `fresh` is random: the secret of a volume that has none yet.
pub async fn find(outgoing: &Outgoing, user: &str, fresh: [u8; 32]) -> Result<Known, ChangeFault> {
    let keyring = keyring(outgoing)?;
    // A volume that only reads still lets people in.
    let secret = keyring.secret(fresh).await.ok();
    let mailboxes = outgoing.mailboxes();
    let address = address_of(mailboxes, user);
    let account = match &address {
        Some(address) => match mailboxes.account(address).await {
            Err(MailboxFault::NoAccount) => None,
            found => found?,
        },
        None => None,
    };
    let row = match &account {
        Some(account) => keyring.row(account.id.0).await?,
        // It costs what a row costs.
        None => keyring.row(u32::MAX).await?,
    };
    let name = match (&account, address) {
        (Some(account), _) => account.address.key(),
        (None, Some(address)) => made_name(mailboxes, &address.untagged().unwrap_or(address)),
        (None, None) => user.to_lowercase(),
    };
    let is_of_ours = account.is_none() && is_of_ours(mailboxes, user);
    let of = account.as_ref().map(|account| of(&account.password_hash));
    Ok(Known {
        salt: salt(&secret.unwrap_or(fresh), &name),
        app_key: secret.map(|secret| blake3::derive_key(APP_CONTEXT, &secret)),
        of: of.unwrap_or_default(),
        mark: account
            .as_ref()
            .and_then(|account| mailboxes.directory().account_mark(account.id)),
        account,
        row,
        name,
        is_of_ours,
    })
}

/// The address that a user's name stands for.
pub fn address_of(mailboxes: &Mailboxes, user: &str) -> Option<Address> {
    let domains = mailboxes.domains();
    let (local, domain) = match (user.rsplit_once('@'), &domains[..]) {
        (Some((local, domain)), _) => (local, domain),
        (None, [only]) => (user, &only[..]),
        (None, _) => return None,
    };
    Address::from_parts(local, domain)
}

/// Whether a user's name is an address of a domain of this server. Anything else may be a password that was typed into the wrong field, with an at sign in it.
pub fn is_of_ours(mailboxes: &Mailboxes, user: &str) -> bool {
    let address = match user.contains('@') {
        true => address_of(mailboxes, user),
        false => None,
    };
    address.is_some_and(|address| name_here(mailboxes, &address).is_some())
}

/// What the key of a new account of this address would be: the same for all spellings of it.
fn made_name(mailboxes: &Mailboxes, address: &Address) -> String {
    name_here(mailboxes, address).unwrap_or_else(|| address.key())
}

/// `None`: the domain is another server's.
fn name_here(mailboxes: &Mailboxes, address: &Address) -> Option<String> {
    let keys = spelling::keys(address);
    let local = spelling::composed(&address.local().to_lowercase()).into_owned();
    let names = mailboxes.domains().into_iter();
    let mut names = names.map(|domain| format!("{local}@{domain}"));
    names.find(|name| keys.contains(name))
}

/// The salt for a password of this account, there already or not.
pub async fn salt_of(
    outgoing: &Outgoing,
    address: &Address,
    fresh: [u8; 32],
) -> Result<[u8; 16], ChangeFault> {
    let secret = keyring(outgoing)?.secret(fresh).await?;
    let found = outgoing.mailboxes().account(address).await;
    let account = match found {
        Err(MailboxFault::NoAccount) => None,
        found => found?,
    };
    // A new account beside one that its tag leads to has a salt of its own.
    let keys = spelling::keys(address);
    let account = account.filter(|account| keys.contains(&account.address.key()));
    let name = match account {
        Some(account) => account.address.key(),
        None => made_name(outgoing.mailboxes(), address),
    };
    Ok(salt(&secret, &name))
}

/// Makes an account; its keys are durable with it.
pub async fn add_account(
    outgoing: &Outgoing,
    address: &Address,
    password: &Password,
    quota_bytes: u64,
) -> Result<AccountId, ChangeFault> {
    let keyring = outgoing.keyring();
    let main = main_of(password);
    let beside = |account: AccountId| {
        // Where no row can wait just now, the keys are made at the first login.
        let part = keyring
            .zip(main)
            .and_then(|(keyring, main)| keyring.begun(account.0, main));
        part.into_iter().collect()
    };
    let mailboxes = outgoing.mailboxes();
    let added = mailboxes.add_account_beside(address, &password.hash, quota_bytes, beside);
    Ok(added.await?)
}

/// Sets the password and the keys that belong to it, in one group. App passwords stay.
pub async fn set_password(
    outgoing: &Outgoing,
    account: AccountId,
    password: &Password,
) -> Result<(), ChangeFault> {
    let directory = outgoing.mailboxes().directory();
    let Some(keyring) = outgoing.keyring() else {
        let set = directory.set_password_hash(account, &password.hash);
        return Ok(set.await.map_err(MailboxFault::from)?);
    };
    let changing = keyring.changing(account.0).await?;
    let part = changing.with_keys(main_of(password))?;
    let set = directory.set_password_hash_beside(account, &password.hash, vec![part]);
    Ok(set.await.map_err(MailboxFault::from)?)
}

/// Removes the account, its mail, its keys and its app passwords, in one group.
pub async fn remove_account(outgoing: &Outgoing, account: AccountId) -> Result<(), ChangeFault> {
    let mailboxes = outgoing.mailboxes();
    let Some(keyring) = outgoing.keyring() else {
        mailboxes.remove_account(account).await?;
        forget_mark(mailboxes, account).await;
        forget_fetches(mailboxes, account).await;
        return Ok(());
    };
    let changing = keyring.removing(account.0).await?;
    let beside = || changing.removed().into_iter().collect();
    let removed = mailboxes.remove_account_beside(account, beside);
    removed.await?;
    forget_mark(mailboxes, account).await;
    forget_fetches(mailboxes, account).await;
    Ok(())
}

/// Of an account that is gone. One that stays behind marks nothing, because the number is never used again; reading the other directory forgets it.
async fn forget_mark(mailboxes: &Mailboxes, account: AccountId) {
    if let Err(fault) = mailboxes.directory().remove_mark(account).await {
        tracing::debug!(account = account.0, %fault, "the mark of a removed account stays");
    }
}

/// Accounts elsewhere of an account that is gone. Those that stay behind are forgotten when they are due: nothing is fetched for a number without an account.
async fn forget_fetches(mailboxes: &Mailboxes, account: AccountId) {
    if let Err(fault) = mailboxes.directory().forget_fetches(account).await {
        tracing::debug!(account = account.0, %fault, "accounts elsewhere of a removed account stay");
    }
}

/// Keys that were made of the right password, for an account whose hash an older release wrote. `of` is the hash that the password was right for.
pub async fn learn_keys(
    outgoing: &Outgoing,
    account: AccountId,
    main: Main,
) -> Result<(), ChangeFault> {
    let (changing, hash) = changing(outgoing, account).await?;
    let row = changing.row.clone().unwrap_or_default();
    if of(&hash) != main.of || row.main.as_ref() == Some(&main) {
        return Ok(());
    }
    let main = Some(main);
    Ok(changing.put(Row { main, ..row }).await?)
}

/// An app password was used. Written for its first use on a day.
pub async fn note_use(
    outgoing: &Outgoing,
    account: AccountId,
    number: u32,
    used: Used,
) -> Result<(), ChangeFault> {
    let (changing, _) = changing(outgoing, account).await?;
    let mut row = changing.row.clone().unwrap_or_default();
    let Some(app) = row.apps.iter_mut().find(|app| app.number == number) else {
        return Ok(());
    };
    if app
        .used
        .as_ref()
        .is_some_and(|before| before.day >= used.day)
    {
        return Ok(());
    }
    app.used = Some(used);
    Ok(changing.put(row).await?)
}

/// The number of the new app password.
pub async fn add_app(
    outgoing: &Outgoing,
    account: AccountId,
    new: NewApp,
    fresh: [u8; 32],
) -> Result<u32, ChangeFault> {
    let secret = keyring(outgoing)?.secret(fresh).await?;
    let (changing, _) = changing(outgoing, account).await?;
    let mut row = changing.row.clone().unwrap_or_default();
    if row.apps.iter().any(|app| app.name == new.name) {
        return Err(LoginFault::Refused("an app password of this name is there").into());
    }
    let number = row.app_next;
    let next = number.checked_add(1);
    row.app_next = next.ok_or(LoginFault::Refused("no number is left"))?;
    let app_key = blake3::derive_key(APP_CONTEXT, &secret);
    row.apps.push(App {
        number,
        name: new.name,
        scopes: new.scopes,
        hash: *blake3::keyed_hash(&app_key, &new.digest).as_bytes(),
        iterations: new.iterations,
        keys: new.keys,
        made_day: new.day,
        used: None,
    });
    changing.put(row).await?;
    Ok(number)
}

/// By name.
pub async fn remove_app(
    outgoing: &Outgoing,
    account: AccountId,
    name: &str,
) -> Result<(), ChangeFault> {
    let changing = keyring(outgoing)?.removing(account.0).await?;
    // Without a row there is no app password, whether there is an account or not.
    let mut row = changing.row.clone().unwrap_or_default();
    let before = row.apps.len();
    row.apps.retain(|app| app.name != name);
    if row.apps.len() == before {
        return Err(ChangeFault::NoApp);
    }
    Ok(changing.put_less(row).await?)
}

/// Those of an account, in the order in which they were made.
pub async fn apps(outgoing: &Outgoing, account: AccountId) -> Result<Vec<App>, ChangeFault> {
    let row = keyring(outgoing)?.row(account.0).await?;
    assert!(
        row.apps.len() <= APPS_MAX,
        "a row is checked when it is read"
    );
    Ok(row.apps)
}

/// Which keys belong to this password hash.
pub fn of(password_hash: &str) -> [u8; 16] {
    let hash = blake3::hash(password_hash.as_bytes());
    let (first, _) = hash.as_bytes().split_at(16);
    first.try_into().expect("it has 16 bytes")
}

/// The row, held, of an account that is there, and its password hash. An account that is removed takes the same lock: no row is left behind.
async fn changing(
    outgoing: &Outgoing,
    account: AccountId,
) -> Result<(Changing<'_>, String), ChangeFault> {
    let changing = keyring(outgoing)?.changing(account.0).await?;
    let directory = outgoing.mailboxes().directory();
    let found = directory.account_by_id(account).await;
    match found {
        Ok(Some(found)) => Ok((changing, found.password_hash)),
        Ok(None) => Err(MailboxFault::NoAccount.into()),
        Err(fault) => Err(MailboxFault::from(fault).into()),
    }
}

fn keyring(outgoing: &Outgoing) -> Result<&Keyring, ChangeFault> {
    outgoing.keyring().ok_or(ChangeFault::NoKeyring)
}

fn main_of(password: &Password) -> Option<Main> {
    Some(Main {
        of: of(&password.hash),
        iterations: password.iterations,
        keys: password.keys.clone()?,
    })
}

fn salt(secret: &[u8; 32], name: &str) -> [u8; 16] {
    let key = blake3::derive_key(SALT_CONTEXT, secret);
    let hash = blake3::keyed_hash(&key, name.as_bytes());
    let (first, _) = hash.as_bytes().split_at(16);
    first.try_into().expect("it has 16 bytes")
}

// Contexts of `blake3::derive_key`: with other ones all salts and hashes would be others.
const SALT_CONTEXT: &str = "ringpost 2026-11-30 salts of SCRAM";
const APP_CONTEXT: &str = "ringpost 2026-11-30 hashes of app passwords";
