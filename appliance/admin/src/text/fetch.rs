//! Accounts elsewhere, for people.

use serde_json::Value;

use crate::fetch::{Ask, FetchLine, LastLine, Outcome, Server};
use crate::table::{span, table};

use super::typed;

pub fn show(ask: &Ask, value: &Value) -> Result<String, String> {
    Ok(match ask {
        Ask::List { .. } => list(&typed::<Vec<FetchLine>>(value)?),
        Ask::Add { .. } => {
            let line: FetchLine = typed(value)?;
            format!(
                "mail of {} at {} is fetched as number {} of {}; the first time begins now",
                line.user, line.server.host, line.number, line.account
            )
        }
        Ask::Show { .. } | Ask::Change { .. } => detail(&typed(value)?),
        Ask::Remove { .. } => "it is not fetched any more; what was fetched stays here".to_owned(),
        Ask::Run { .. } => outcome(&typed(value)?, false),
        Ask::Check { .. } => outcome(&typed(value)?, true),
    })
}

/// As it is given to `fetch add`.
fn url(server: &Server) -> String {
    let scheme = match server.tls.as_str() {
        "inside" => format!("{}s", server.protocol),
        _ => server.protocol.clone(),
    };
    let host = match server.host.contains(':') {
        true => format!("[{}]", server.host),
        false => server.host.clone(),
    };
    format!("{scheme}://{host}:{}", server.port)
}

fn state(line: &FetchLine) -> String {
    if line.stopped.is_some() {
        return "stopped".to_owned();
    }
    if line.running {
        return "under way".to_owned();
    }
    match &line.last {
        Some(LastLine { error: Some(_), .. }) => "fails".to_owned(),
        Some(_) => "fetched".to_owned(),
        None => "waits".to_owned(),
    }
}

fn list(lines: &[FetchLine]) -> String {
    if lines.is_empty() {
        return "nothing is fetched from accounts elsewhere".to_owned();
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.account.clone(),
                line.number.to_string(),
                url(&line.server),
                line.user.clone(),
                span(u64::from(line.every_s)),
                state(line),
            ]
        })
        .collect();
    let mut text = table(
        &["account", "number", "server", "user", "every", "state"],
        &rows,
    );
    for line in lines {
        let failed = line.last.as_ref().and_then(|last| last.error.as_ref());
        if let Some(why) = line.stopped.as_ref().or(failed) {
            text += &format!("{} {}: {why}\n", line.account, line.number);
        }
    }
    text.trim_end().to_owned()
}

fn detail(line: &FetchLine) -> String {
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    let mut lines = vec![
        format!("account: {}, number {}", line.account, line.number),
        format!("server: {}", url(&line.server)),
        format!("user: {}", line.user),
        format!("folder: {}", line.folder),
        format!("every: {}", span(u64::from(line.every_s))),
        match line.delete_after_days {
            None => "there: messages stay".to_owned(),
            Some(0) => "there: messages are deleted once they are here".to_owned(),
            Some(days) => {
                format!("there: messages are deleted {days} days after they were fetched")
            }
        },
        format!("scripts run: {}", yes(line.filter)),
        format!("junk is filed: {}", yes(line.judge)),
        format!("private networks: {}", yes(line.allow_private)),
        format!(
            "remembered: {} messages that are here and still there",
            line.remembered
        ),
        format!("state: {}", state(line)),
    ];
    if let Some(why) = &line.stopped {
        lines.push(format!("stopped: {why}"));
    }
    if line.server.tls == "absent" {
        lines.push("without TLS: who listens sees the password and the mail".to_owned());
    }
    if let Some(due) = line.due_s {
        lines.push(format!("next time: in {}", span(due)));
    }
    if let Some(last) = &line.last {
        lines.push(format!("last time: {}", plan::date(last.unix_s)));
        lines.extend(of_last(last, false));
    }
    lines.join("\n")
}

fn of_last(last: &LastLine, is_check: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !is_check {
        lines.push(format!(
            "fetched {}, deleted there {}, left there {}",
            last.fetched, last.deleted, last.left
        ));
    }
    lines.extend(last.error.iter().map(|why| format!("it failed: {why}")));
    lines.extend(last.note.iter().cloned());
    lines
}

fn outcome(outcome: &Outcome, is_check: bool) -> String {
    if outcome.under_way {
        return "it is still under way: `ringpostctl fetch show` says how it went".to_owned();
    }
    let mut lines = of_last(&outcome.last, is_check);
    if is_check && outcome.last.error.is_none() {
        lines.push(format!(
            "the login works; messages to look at: {}",
            outcome.listed
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Password;

    fn line() -> FetchLine {
        FetchLine {
            account: "ann@example.org".into(),
            number: 2,
            server: Server {
                protocol: "pop3".into(),
                host: "::1".into(),
                port: 995,
                tls: "inside".into(),
            },
            user: "ann".into(),
            folder: "INBOX".into(),
            every_s: 900,
            delete_after_days: Some(7),
            filter: true,
            judge: false,
            allow_private: true,
            remembered: 3,
            stopped: Some("the server refuses the password: -ERR no".into()),
            refusals: 5,
            running: false,
            due_s: None,
            last: None,
        }
    }

    #[test]
    fn a_list_says_where_from_and_why_not() {
        let text = list(&[line()]);
        assert!(
            text.contains("pop3s://[::1]:995") && text.contains("stopped"),
            "{text}"
        );
        assert!(text.ends_with("ann@example.org 2: the server refuses the password: -ERR no"));
        assert!(list(&[]).contains("nothing"));
        let text = detail(&line());
        assert!(
            text.contains("7 days after") && text.contains("15 min"),
            "{text}"
        );
    }

    #[test]
    fn a_password_is_in_no_text_of_a_request() {
        let password = Password("secret".into());
        assert_eq!(format!("{password:?}"), "Password(..)");
        let sent = serde_json::to_value(&password).expect("a document");
        assert_eq!(sent, "secret");
    }
}
