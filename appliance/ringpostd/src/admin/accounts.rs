//! Accounts: listed, made, changed, removed.

use ::admin::reply::{AccountDetail, AccountLine, MailboxLine};
use ::admin::request::Request;
use mail::{Address, spelling};
use mailbox::{Account, MailboxFault, Mailboxes};
use serde_json::Value;
use storage::logins::{self, ChangeFault, Password};
use storage::outgoing::Outgoing;
use storage::quarantine;

use crate::admin::limits::ACCOUNTS_PAGE;
use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about accounts.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::AccountAdd {
            address,
            password_hash,
            quota_bytes,
            keys,
        } => document(&add(admin, &address, password(password_hash, keys), quota_bytes).await?),
        Request::AccountList => document(&list(admin).await?),
        Request::AccountShow { address } => document(&show(admin, &address).await?),
        Request::AccountRemove { address } => document(&remove(admin, &address).await?),
        Request::AccountPassword {
            address,
            password_hash,
            keys,
        } => document(&set_password(admin, &address, password(password_hash, keys)).await?),
        Request::AccountQuota {
            address,
            quota_bytes,
        } => document(&set_quota(admin, &address, quota_bytes).await?),
        _ => Err("not about accounts".into()),
    }
}

/// Makes an account. The password was hashed where it was typed.
async fn add(
    admin: &Admin,
    address: &str,
    password: Password,
    quota_bytes: u64,
) -> Result<(), Refused> {
    let address = parse_address(address)?;
    let work = async move |outgoing: Outgoing| {
        let added = logins::add_account(&outgoing, &address, &password, quota_bytes);
        Ok(added.await.map(drop))
    };
    said(admin.outgoing(work).await?)
}

/// The hash, with the keys that were made beside it.
/// Both were made from the same password where it was typed; the daemon sees neither, and cannot tell whether they belong together.
fn password(hash: String, keys: Option<::admin::logins::Keys>) -> Password {
    let iterations = keys.as_ref().map_or(0, |keys| keys.iterations);
    Password {
        hash,
        keys: keys.map(|keys| ::logins::Keys {
            stored: keys.stored,
            server: keys.server,
        }),
        iterations,
    }
}

fn said<T>(done: Result<T, ChangeFault>) -> Result<T, Refused> {
    done.map_err(|fault| fault.to_string())
}

/// One account with its mailboxes.
async fn show(admin: &Admin, address: &str) -> Result<AccountDetail, Refused> {
    let address = parse_address(address)?;
    let work = async move |mailboxes: Mailboxes| detail(&mailboxes, &address).await;
    admin.mailboxes(work).await
}

/// Removes an account and its mail.
async fn remove(admin: &Admin, address: &str) -> Result<(), Refused> {
    let account = account_of(admin, address).await?;
    let work =
        async move |outgoing: Outgoing| Ok(logins::remove_account(&outgoing, account.id).await);
    said(admin.outgoing(work).await?)
}

/// Replaces the hash of an account's password.
async fn set_password(admin: &Admin, address: &str, password: Password) -> Result<(), Refused> {
    let account = account_of(admin, address).await?;
    let id = account.id;
    if let Some(ldap) = admin.ldap() {
        let marked = async move |mailboxes: Mailboxes| Ok(mailboxes.directory().account_mark(id));
        if admin.mailboxes(marked).await?.is_some() {
            return Err(format!(
                "the password of {address} is the directory's ({}): change it there",
                ldap.settings.servers.join(" ")
            ));
        }
    }
    let work = async move |outgoing: Outgoing| {
        // Hash and keys in one step: with one of them old, a person would log in by one mechanism and not by another.
        Ok(logins::set_password(&outgoing, account.id, &password).await)
    };
    said(admin.outgoing(work).await?)
}

/// An account that administrators may change. Its number is never another one's.
pub(crate) async fn account_of(admin: &Admin, address: &str) -> Result<Account, Refused> {
    let address = parse_address(address)?;
    not_reserved(&address)?;
    let work = async move |mailboxes: Mailboxes| exactly(&mailboxes, &address).await;
    admin.mailboxes(work).await
}

fn not_reserved(address: &Address) -> Result<(), Refused> {
    match quarantine::is_reserved(address.domain()) {
        true => Err(
            "this account has the quarantine: see `ringpostctl quarantine`; its size is a setting"
                .into(),
        ),
        false => Ok(()),
    }
}

/// Sets the bytes that an account may hold; 0 means no bound.
async fn set_quota(admin: &Admin, address: &str, quota_bytes: u64) -> Result<(), Refused> {
    let work = async move |mailboxes: &Mailboxes, account: Account| {
        mailboxes.set_quota(account.id, quota_bytes).await
    };
    on_account(admin, address, work).await
}

/// Every account, fetched page by page so that mail goes on between.
pub(crate) async fn list(admin: &Admin) -> Result<Vec<AccountLine>, Refused> {
    let mut lines: Vec<AccountLine> = Vec::new();
    loop {
        // until a page is not full
        let after = lines.last().map(|line| line.address.clone());
        let page = admin
            .mailboxes(async move |mailboxes| {
                mailboxes.accounts(after.as_deref(), ACCOUNTS_PAGE).await
            })
            .await?;
        let full = page.len() == ACCOUNTS_PAGE;
        lines.extend(page.iter().map(account_line));
        if !full {
            return Ok(lines);
        }
    }
}

async fn on_account<W>(admin: &Admin, address: &str, work: W) -> Result<(), Refused>
where
    W: AsyncFnOnce(&Mailboxes, Account) -> Result<(), MailboxFault> + Send + 'static,
{
    let address = parse_address(address)?;
    not_reserved(&address)?;
    admin
        .mailboxes(async move |mailboxes| {
            let account = exactly(&mailboxes, &address).await?;
            work(&mailboxes, account).await
        })
        .await
}

pub(crate) fn parse_address(text: &str) -> Result<Address, Refused> {
    let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    Address::from_parts(local, domain)
        .ok_or_else(|| format!("`{text}` is not an address: write it like alice@example.org"))
}

/// The account of exactly this address: administration does not follow `+detail`.
pub(crate) async fn exactly(
    mailboxes: &Mailboxes,
    address: &Address,
) -> Result<Account, MailboxFault> {
    let found = mailboxes.account(address).await?;
    found
        .filter(|account| spelling::keys(address).contains(&account.address.key()))
        .ok_or(MailboxFault::NoAccount)
}

fn account_line(account: &Account) -> AccountLine {
    AccountLine {
        address: account.address.key(),
        quota_bytes: account.quota_bytes,
        used_bytes: account.used_bytes,
    }
}

async fn detail(mailboxes: &Mailboxes, address: &Address) -> Result<AccountDetail, MailboxFault> {
    let account = exactly(mailboxes, address).await?;
    let mut lines = Vec::new();
    for mailbox in mailboxes.list(account.id).await? {
        // A name that is only the parent of others has no messages to count.
        if !mailbox.selectable {
            continue;
        }
        let status = mailboxes.status(mailbox.id).await?;
        lines.push(MailboxLine {
            name: mailbox.name,
            messages: status.messages,
            unseen: status.unseen,
            bytes: status.size_bytes,
        });
    }
    Ok(AccountDetail {
        account: account_line(&account),
        mailboxes: lines,
    })
}
