//! Accounts elsewhere, as administrators add, look at and change them. Each change is in the audit, without the password.

use std::sync::Arc;

use ::admin::fetch::{Ask, FetchLine, How, LastLine, Outcome, Password, Server};
use mailbox::names::{
    FETCH_FOLDER_BYTES_MAX, FETCH_USER_BYTES_MAX, FetchProtocol, FetchRow, FetchTls, Keep, Sealed,
};
use mailbox::{AccountId, MailboxFault, Mailboxes};
use serde_json::Value;

use crate::admin::accounts::{exactly, parse_address};
use crate::admin::acl::note;
use crate::admin::caller::Caller;
use crate::admin::shared::{Admin, Refused, document};
use crate::fetch::limits::{ADMIN_WITHIN, EVERY_S_DEFAULT, EVERY_S_MAX, EVERY_S_MIN};
use crate::fetch::{Done, Fetcher, Last};

/// Performs a request about accounts elsewhere.
pub(crate) async fn perform(admin: &Admin, ask: Ask, caller: &Caller) -> Result<Value, Refused> {
    admin.needs_storage()?;
    let off = "the settings do not fetch: write [fetch] with enabled = true, or start trial mode with --fetch";
    let fetcher = admin.fetcher().cloned().ok_or(off)?;
    match ask {
        Ask::List { account } => document(&list(admin, &fetcher, account).await?),
        Ask::Show { account, number } => {
            let person = person(admin, &account).await?;
            let row = row(admin, person.id, number).await?;
            document(&line(admin, &fetcher, &person, number, row).await?)
        }
        Ask::Add {
            account,
            server,
            user,
            password,
            how,
        } => {
            let person = person(admin, &account).await?;
            let mut row = fresh(server, user)?;
            apply(&mut row, how)?;
            check(&fetcher, &row)?;
            row.sealed = sealed(&fetcher, person.id, &row, password).await?;
            let (id, made) = (person.id, row.clone());
            let number = admin
                .mailboxes(async move |mailboxes: Mailboxes| {
                    Ok(mailboxes.directory().add_fetch(id, made).await?)
                })
                .await?;
            note(caller, &changed(&account, number, &row, "is fetched now"));
            fetcher.changed(person.id, number, row.serial);
            document(&line(admin, &fetcher, &person, number, row).await?)
        }
        Ask::Change {
            account,
            number,
            server,
            user,
            password,
            how,
        } => {
            let person = person(admin, &account).await?;
            let before = row(admin, person.id, number).await?;
            let after = altered(&fetcher, &person, before, server, user, password, how).await?;
            let (id, wanted) = (person.id, after.clone());
            let row = admin
                .mailboxes(async move |mailboxes: Mailboxes| {
                    let change = |row: &mut FetchRow| {
                        // How far it is may have changed meanwhile, and counts for the same account elsewhere.
                        let (validity, uid) = (row.validity, row.uid);
                        let is_same = row.serial == wanted.serial;
                        *row = wanted;
                        if is_same {
                            (row.validity, row.uid) = (validity, uid);
                        }
                    };
                    Ok(mailboxes
                        .directory()
                        .change_fetch(id, number, change)
                        .await?)
                })
                .await?;
            note(caller, &changed(&account, number, &row, "was changed"));
            fetcher.changed(person.id, number, row.serial);
            document(&line(admin, &fetcher, &person, number, row).await?)
        }
        Ask::Remove { account, number } => {
            let person = person(admin, &account).await?;
            let row = row(admin, person.id, number).await?;
            let id = person.id;
            admin
                .mailboxes(async move |mailboxes: Mailboxes| {
                    Ok(mailboxes.directory().remove_fetch(id, number).await?)
                })
                .await?;
            fetcher.removed(id, number);
            note(
                caller,
                &changed(&account, number, &row, "is not fetched any more"),
            );
            document(&())
        }
        Ask::Run { account, number } => {
            let person = person(admin, &account).await?;
            let serial = row(admin, person.id, number).await?.serial;
            document(&converse(&fetcher, (person.id, number), serial, false).await?)
        }
        Ask::Check { account, number } => {
            let person = person(admin, &account).await?;
            let serial = row(admin, person.id, number).await?.serial;
            document(&converse(&fetcher, (person.id, number), serial, true).await?)
        }
    }
}

async fn converse(
    fetcher: &Arc<Fetcher>,
    key: (AccountId, u32),
    serial: u32,
    is_check: bool,
) -> Result<Outcome, Refused> {
    let told = fetcher.now(key, serial, is_check)?;
    let outcome = |done: Done, under_way| Outcome {
        under_way,
        listed: done.listed,
        last: last(done.last),
    };
    Ok(match tokio::time::timeout(ADMIN_WITHIN, told).await {
        Ok(Ok(done)) => outcome(done, false),
        Ok(Err(_)) => return Err("the conversation did not begin: the log says why".to_owned()),
        Err(_) => outcome(Done::default(), true),
    })
}

async fn list(
    admin: &Admin,
    fetcher: &Fetcher,
    account: Option<String>,
) -> Result<Vec<FetchLine>, Refused> {
    let people = match account {
        Some(account) => vec![person(admin, &account).await?],
        None => {
            let work = async |mailboxes: Mailboxes| {
                let directory = mailboxes.directory();
                let mut all = Vec::new();
                let mut last = None;
                for (account, _, _) in directory.fetches() {
                    if last.replace(account) != Some(account)
                        && let Some(found) = mailboxes.directory().account_by_id(account).await?
                    {
                        all.push((account, found.address));
                    }
                    if all.len() >= LISTED_MAX {
                        break;
                    }
                }
                Ok::<_, MailboxFault>(all)
            };
            let found = admin.mailboxes(work).await?;
            let person = |(id, address): (AccountId, mail::Address)| Person {
                id,
                address: address.to_path(),
            };
            found.into_iter().map(person).collect()
        }
    };
    let mut lines = Vec::new();
    for person in people {
        let id = person.id;
        let rows = admin
            .mailboxes(async move |mailboxes: Mailboxes| Ok(mailboxes.directory().fetches_of(id)))
            .await?;
        for (number, row) in rows {
            lines.push(line(admin, fetcher, &person, number, row).await?);
        }
    }
    Ok(lines)
}

/// Whose it is.
struct Person {
    id: AccountId,
    address: String,
}

async fn person(admin: &Admin, account: &str) -> Result<Person, Refused> {
    let address = parse_address(account)?;
    let work = async move |mailboxes: Mailboxes| {
        let found = exactly(&mailboxes, &address).await?;
        Ok(Person {
            id: found.id,
            address: found.address.to_path(),
        })
    };
    admin.mailboxes(work).await
}

async fn row(admin: &Admin, account: AccountId, number: u32) -> Result<FetchRow, Refused> {
    let look = async move |mailboxes: Mailboxes| Ok(mailboxes.directory().fetch(account, number));
    let found = admin.mailboxes(look).await?;
    found.ok_or_else(|| {
        format!("there is no account elsewhere with number {number}: `ringpostctl fetch list` shows those that there are")
    })
}

async fn line(
    admin: &Admin,
    fetcher: &Fetcher,
    person: &Person,
    number: u32,
    row: FetchRow,
) -> Result<FetchLine, Refused> {
    let id = person.id;
    let count = admin
        .mailboxes(async move |mailboxes: Mailboxes| {
            Ok(mailboxes.directory().fetched_count(id, number))
        })
        .await?;
    let (of_last, running, due_s) = fetcher.state(&(id, number));
    Ok(FetchLine {
        account: person.address.clone(),
        number,
        server: Server {
            protocol: match row.protocol {
                FetchProtocol::Pop3 => "pop3".to_owned(),
                FetchProtocol::Imap => "imap".to_owned(),
            },
            host: row.host,
            port: row.port,
            tls: match row.tls {
                FetchTls::Inside => "inside".to_owned(),
                FetchTls::Started => "started".to_owned(),
                FetchTls::Absent => "absent".to_owned(),
            },
        },
        user: row.user,
        folder: row.folder,
        every_s: row.every_s,
        delete_after_days: match row.keep {
            Keep::Always => None,
            Keep::Days(days) => Some(days),
        },
        filter: row.is_filtered,
        judge: row.is_judged,
        allow_private: row.may_be_private,
        remembered: count as u64,
        due_s: due_s.filter(|_| row.stopped.is_empty()),
        stopped: (!row.stopped.is_empty()).then_some(row.stopped),
        refusals: row.refusals,
        running,
        last: of_last.map(last),
    })
}

fn last(last: Last) -> LastLine {
    LastLine {
        unix_s: last.unix_s,
        fetched: last.fetched,
        deleted: last.deleted,
        left: last.left,
        error: last.error,
        note: last.note,
    }
}

/// As it is without a word about how.
fn fresh(server: Server, user: String) -> Result<FetchRow, Refused> {
    let mut row = FetchRow {
        serial: fastrand::u32(1..),
        protocol: FetchProtocol::Pop3,
        tls: FetchTls::Inside,
        host: String::new(),
        port: 0,
        user,
        sealed: Sealed::default(),
        folder: "INBOX".to_owned(),
        every_s: EVERY_S_DEFAULT,
        keep: Keep::Always,
        is_filtered: true,
        is_judged: false,
        may_be_private: false,
        stopped: String::new(),
        refusals: 0,
        validity: 0,
        uid: 0,
    };
    place(&mut row, server)?;
    Ok(row)
}

fn place(row: &mut FetchRow, server: Server) -> Result<(), Refused> {
    row.protocol = match server.protocol.as_str() {
        "pop3" => FetchProtocol::Pop3,
        "imap" => FetchProtocol::Imap,
        other => return Err(format!("`{other}` is not a protocol: write pop3 or imap")),
    };
    row.tls = match server.tls.as_str() {
        "inside" => FetchTls::Inside,
        "started" => FetchTls::Started,
        "absent" => FetchTls::Absent,
        other => return Err(format!("`{other}`: write inside, started or absent")),
    };
    row.host = server.host.trim_end_matches('.').to_ascii_lowercase();
    row.port = server.port;
    Ok(())
}

fn apply(row: &mut FetchRow, how: How) -> Result<(), Refused> {
    if let Some(folder) = how.folder {
        row.folder = folder;
    }
    if let Some(every_s) = how.every_s {
        if !(EVERY_S_MIN..=EVERY_S_MAX).contains(&every_s) {
            return Err(format!(
                "fetch every {EVERY_S_MIN} to {EVERY_S_MAX} seconds"
            ));
        }
        row.every_s = every_s;
    }
    if how.keep == Some(true) {
        row.keep = Keep::Always;
    }
    if let Some(days) = how.delete_after_days {
        row.keep = Keep::Days(days.min(DAYS_MAX));
    }
    row.is_filtered = how.filter.unwrap_or(row.is_filtered);
    row.is_judged = how.judge.unwrap_or(row.is_judged);
    row.may_be_private = how.allow_private.unwrap_or(row.may_be_private);
    Ok(())
}

/// What would be refused later, or would end a line of the protocol or of a header.
fn check(fetcher: &Fetcher, row: &FetchRow) -> Result<(), Refused> {
    let is_host = (1..=253).contains(&row.host.len())
        && row
            .host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    if !is_host {
        return Err(format!(
            "`{}` is not a host: write its name in ASCII, or its address",
            row.host
        ));
    }
    if row.port == 0 {
        return Err("a port is 1 to 65535".to_owned());
    }
    let is_user = (1..=FETCH_USER_BYTES_MAX).contains(&row.user.len())
        && !row.user.contains(char::is_control);
    if !is_user {
        return Err("the user is missing, too long, or has control characters".to_owned());
    }
    let is_folder = (1..=FETCH_FOLDER_BYTES_MAX).contains(&row.folder.len())
        && !row.folder.contains(char::is_control);
    if !is_folder {
        return Err("the folder is missing, too long, or has control characters".to_owned());
    }
    if row.protocol == FetchProtocol::Pop3 && !row.folder.eq_ignore_ascii_case("INBOX") {
        return Err("POP3 has one folder: omit --folder, or use imaps://".to_owned());
    }
    fetcher.forbids(&row.host).map_or(Ok(()), Err)
}

/// Writes the key file the first time: not on the thread that serves administrators.
async fn sealed(
    fetcher: &Arc<Fetcher>,
    account: AccountId,
    row: &FetchRow,
    password: Password,
) -> Result<Sealed, Refused> {
    let (fetcher, row) = (fetcher.clone(), row.clone());
    let seal = move || fetcher.seal(account, &row, &password.0);
    let sealed = tokio::task::spawn_blocking(seal).await;
    sealed.map_err(|error| error.to_string())?
}

async fn altered(
    fetcher: &Arc<Fetcher>,
    person: &Person,
    before: FetchRow,
    server: Option<Server>,
    user: Option<String>,
    password: Option<Password>,
    how: How,
) -> Result<FetchRow, Refused> {
    let mut row = before.clone();
    if let Some(server) = server {
        place(&mut row, server)?;
    }
    row.user = user.unwrap_or(row.user);
    apply(&mut row, how)?;
    check(fetcher, &row)?;
    let is_elsewhere =
        (row.protocol, &row.host, &row.user) != (before.protocol, &before.host, &before.user);
    // Whoever may change a row must not have its password sent to a server of their own.
    match password {
        Some(password) => row.sealed = sealed(fetcher, person.id, &row, password).await?,
        None if is_elsewhere => {
            return Err(
                "another host, user or protocol needs the password again: add --password"
                    .to_owned(),
            );
        }
        None if row.tls == FetchTls::Absent && before.tls != FetchTls::Absent => {
            return Err(
                "the password was entered for a connection with TLS: add --password to send it without"
                    .to_owned(),
            );
        }
        None => {}
    }
    if is_elsewhere || row.folder != before.folder {
        row.serial = fastrand::u32(1..);
        (row.validity, row.uid) = (0, 0);
    }
    row.stopped.clear();
    row.refusals = 0;
    Ok(row)
}

/// For the audit.
fn changed(account: &str, number: u32, row: &FetchRow, what: &str) -> String {
    format!(
        "mail for {account} from {} at {} (number {number}): {what}",
        row.user, row.host
    )
}

const DAYS_MAX: u32 = 3_650;
/// People whose accounts elsewhere one answer lists.
const LISTED_MAX: usize = 2_000;
