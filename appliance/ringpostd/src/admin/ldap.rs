//! The other directory (LDAP), as administrators ask about it.

use std::sync::Arc;

use ::admin::ldap::{Ask, LdapStatus, LdapUser, ServerLine};
use mailbox::Mailboxes;
use mailbox::names::Marked;
use serde_json::Value;

use crate::admin::accounts::exactly;
use crate::admin::shared::{Admin, Refused, document};
use crate::ldap::{Directory, parse, sync};

/// Performs a request about the directory.
pub(crate) async fn perform(admin: &Admin, ask: Ask) -> Result<Value, Refused> {
    let none = "the settings name no directory: write [ldap] with its servers";
    let directory = admin.ldap().cloned().ok_or(none)?;
    match ask {
        Ask::Status => document(&status(admin, &directory).await?),
        Ask::Check { address } => document(&check(admin, &directory, address).await?),
        Ask::Sync { dry_run, force } => {
            let done = sync::sync(&directory, admin.owner(), dry_run, force).await;
            document(&done?)
        }
    }
}

async fn status(admin: &Admin, directory: &Arc<Directory>) -> Result<LdapStatus, Refused> {
    let count = async |mailboxes: Mailboxes| {
        let directory = mailboxes.directory();
        let accounts = directory.marked_accounts();
        let disabled = accounts.iter().filter(|(_, mark)| mark.is_disabled).count();
        let names = |what| directory.marked_names(what).len();
        let (aliases, groups) = (names(Marked::Alias), names(Marked::Group));
        Ok((accounts.len(), disabled, aliases, groups))
    };
    let (accounts, disabled, aliases, groups) = admin.mailboxes(count).await?;
    let servers = directory.ldap.gauges().health();
    let servers = servers.into_iter().map(|server| ServerLine {
        url: server.url,
        up: server.is_up,
        why: server.why,
        calls: server.calls,
        failures: server.failures,
    });
    Ok(LdapStatus {
        servers: servers.collect(),
        domains: directory.settings.domains.clone(),
        accounts: accounts as u64,
        disabled: disabled as u64,
        aliases: aliases as u64,
        groups: groups as u64,
        last: directory.last_sync(),
        next_s: directory.next_sync_s(),
    })
}

async fn check(
    admin: &Admin,
    directory: &Arc<Directory>,
    asked: String,
) -> Result<LdapUser, Refused> {
    let person = directory.ldap.person(asked.clone()).await;
    let person = person.map_err(|away| format!("no server of the directory answers: {away}"))?;
    let own = person.as_ref().and_then(|person| person.address.clone());
    let address = parse(own.as_deref().unwrap_or(&asked));
    let look = async move |mailboxes: Mailboxes| {
        let Some(address) = address else {
            return Ok(None);
        };
        Ok(match exactly(&mailboxes, &address).await {
            Ok(account) => Some(mailboxes.directory().account_mark(account.id)),
            Err(mailbox::MailboxFault::NoAccount) => None,
            Err(fault) => return Err(fault),
        })
    };
    let account = admin.mailboxes(look).await?;
    let mark = account.flatten();
    let person = person.unwrap_or_default();
    Ok(LdapUser {
        found: !person.dn.is_empty(),
        dn: (!person.dn.is_empty()).then_some(person.dn),
        address: person.address,
        aliases: person.aliases,
        disabled: person.is_disabled,
        account: match account {
            None => "none",
            Some(None) => "local",
            Some(Some(_)) => "ldap",
        }
        .to_owned(),
        account_disabled: mark.is_some_and(|mark| mark.is_disabled),
        proved_s: mark.map(|mark| mark.proved_unix_s).filter(|at| *at > 0),
    })
}
