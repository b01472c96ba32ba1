//! The other directory (LDAP), for people.

use serde_json::Value;

use crate::ldap::{Ask, LdapStatus, LdapUser, SyncReport};
use crate::table::table;

use super::typed;

pub fn show(ask: &Ask, value: &Value) -> Result<String, String> {
    Ok(match ask {
        Ask::Status => status(&typed(value)?),
        Ask::Check { address } => user(address, &typed(value)?),
        Ask::Sync { .. } => report(&typed(value)?),
    })
}

fn status(status: &LdapStatus) -> String {
    let rows: Vec<Vec<String>> = status
        .servers
        .iter()
        .map(|server| {
            let state = match (server.up, &server.why) {
                (true, None) => "serves".to_owned(),
                (true, Some(why)) => format!("serves; the last question: {why}"),
                (false, why) => why.clone().unwrap_or_else(|| "does not serve".to_owned()),
            };
            vec![
                server.url.clone(),
                server.calls.to_string(),
                server.failures.to_string(),
                state,
            ]
        })
        .collect();
    let mut text = table(&["server", "calls", "failures", "state"], &rows);
    text += &format!(
        "\n{}: {} accounts ({} disabled), {} aliases, {} groups",
        status.domains.join(" "),
        status.accounts,
        status.disabled,
        status.aliases,
        status.groups
    );
    match &status.last {
        Some(last) => {
            text += &format!(
                "\nlast reading, {}:\n{}",
                plan::date(last.unix_s),
                report(last)
            )
        }
        None => text += "\nit was not read since the start",
    }
    match status.next_s {
        Some(next) => text += &format!("\nit is read again on {}", plan::date(next)),
        None => text += "\nit is read when `ringpostctl ldap sync` says so",
    }
    text
}

fn user(address: &str, user: &LdapUser) -> String {
    let mut lines = Vec::new();
    match (user.found, &user.dn) {
        (true, Some(dn)) => {
            lines.push(format!("{address} is {dn}"));
            let own = user.address.as_deref();
            lines.push(format!("address: {}", own.unwrap_or("none of ldap.domains")));
            if !user.aliases.is_empty() {
                lines.push(format!("aliases: {}", user.aliases.join(" ")));
            }
            if user.disabled {
                lines.push("the directory has disabled this user".to_owned());
            }
        }
        _ => lines.push(format!(
            "the directory does not have exactly one user {address}, or the user is not in the required group"
        )),
    }
    let account = match (user.account.as_str(), user.account_disabled) {
        ("ldap", false) => "the account here is the directory's",
        ("ldap", true) => "the account here is the directory's, and disabled",
        ("local", _) => "the account here is not the directory's: it has a password of its own",
        _ => "there is no account here",
    };
    lines.push(account.to_owned());
    if let Some(proved) = user.proved_s {
        lines.push(format!(
            "its password was last right on {}",
            plan::date(proved)
        ));
    }
    lines.join("\n")
}

fn report(report: &SyncReport) -> String {
    let mut text = String::new();
    for change in &report.changes {
        text += &format!("{} {}", change.what, change.name);
        if let Some(error) = &change.error {
            text += &format!(": {error}");
        }
        text.push('\n');
    }
    let shown = report.changes.len() as u64;
    if shown < report.changes_total {
        text += &format!("and {} more\n", report.changes_total - shown);
    }
    for note in &report.notes {
        text += &format!("note: {note}\n");
    }
    let done = match (&report.stopped, report.dry_run) {
        (Some(why), _) => return text + &format!("nothing was changed: {why}"),
        (None, true) => "would be made",
        (None, false) => "were made",
    };
    let made = report.changes_total - report.failed;
    text += &format!(
        "{} people and {} groups were read; {made} changes {done}",
        report.people, report.groups
    );
    match report.failed {
        0 => text,
        failed => text + &format!(", {failed} failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::ChangeLine;

    #[test]
    fn a_reading_says_what_it_changed_and_why_it_did_not() {
        let mut read = SyncReport {
            people: 7,
            changes: vec![ChangeLine {
                what: "make account".into(),
                name: "ada@example.org".into(),
                error: None,
            }],
            changes_total: 1,
            notes: vec!["two have one address".into()],
            ..SyncReport::default()
        };
        let text = report(&read);
        assert!(
            text.starts_with("make account ada@example.org\nnote: two"),
            "{text}"
        );
        assert!(
            text.ends_with("7 people and 0 groups were read; 1 changes were made"),
            "{text}"
        );
        read.stopped = Some("3 of 3 accounts would be disabled".into());
        assert!(report(&read).ends_with("nothing was changed: 3 of 3 accounts would be disabled"));
    }

    #[test]
    fn a_user_of_this_directory_alone_is_told_from_others() {
        let local = LdapUser {
            found: false,
            dn: None,
            address: None,
            aliases: vec![],
            disabled: false,
            account: "local".into(),
            account_disabled: false,
            proved_s: None,
        };
        let text = user("ada@example.org", &local);
        assert!(
            text.contains("exactly one") && text.contains("a password of its own"),
            "{text}"
        );
    }
}
