//! App passwords and the audit of logins, for people.

use serde_json::Value;

use crate::logins::{AppLine, Ask, AuditLine, AuditVerdict, ProviderLine};
use crate::table::table;

use super::typed;

pub fn show(ask: &Ask, value: &Value) -> Result<String, String> {
    Ok(match ask {
        Ask::AppList { .. } => apps(&typed::<Vec<AppLine>>(value)?),
        Ask::AuditList { .. } => lines(&typed::<Vec<AuditLine>>(value)?),
        Ask::AuditVerify => verdict(&typed(value)?),
        Ask::OauthStatus => providers(&typed::<Vec<ProviderLine>>(value)?),
        Ask::Salt { .. } | Ask::AppAdd { .. } | Ask::AppRemove { .. } => "done".into(),
        // For programs alone.
        Ask::Pass { .. } => "done".into(),
    })
}

fn apps(apps: &[AppLine]) -> String {
    if apps.is_empty() {
        return "there are no app passwords".into();
    }
    let rows: Vec<Vec<String>> = apps
        .iter()
        .map(|app| {
            let used = app.used.as_ref();
            let used = used.map_or("never".to_owned(), |used| {
                format!("{} by {} from {}", used.day, used.protocol, used.peer)
            });
            vec![
                app.name.clone(),
                app.scopes.join(","),
                app.made.clone(),
                used,
            ]
        })
        .collect();
    table(&["name", "for", "made", "last used"], &rows)
}

fn providers(providers: &[ProviderLine]) -> String {
    if providers.is_empty() {
        return "no provider of tokens is set: write [[oauth]] in the settings".into();
    }
    let rows: Vec<Vec<String>> = providers
        .iter()
        .map(|provider| {
            let answered = provider.answered_s.map_or("never".to_owned(), |at_s| {
                plan::date(at_s.max(0).cast_unsigned())
            });
            vec![
                provider.issuer.clone(),
                provider.by.clone(),
                provider.keys.to_string(),
                answered,
                provider.good.to_string(),
                provider.refused.to_string(),
                provider.unavailable.to_string(),
                provider.error.clone().unwrap_or_else(|| "-".into()),
            ]
        })
        .collect();
    let head = [
        "provider",
        "by",
        "keys",
        "answered",
        "good",
        "refused",
        "not checked",
        "trouble",
    ];
    table(&head, &rows)
}

/// Times stay in seconds, as the audit's files have them: a line of the table can then be looked for in the file.
fn lines(lines: &[AuditLine]) -> String {
    if lines.is_empty() {
        return "there are no logins in the audit".into();
    }
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.line.to_string(),
                line.unix_s.to_string(),
                line.protocol.clone(),
                line.mechanism.clone(),
                line.peer.clone(),
                or_dash(&line.tls),
                or_dash(&line.user),
                or_dash(&line.app),
                match (&line.what, line.more) {
                    (Some(what), _) => format!("{}: {what}", line.outcome),
                    (None, Some(more)) => format!("{} ({more} more)", line.outcome),
                    (None, None) => line.outcome.clone(),
                },
            ]
        })
        .collect();
    let head = [
        "line",
        "unix time",
        "by",
        "mechanism",
        "from",
        "TLS",
        "user",
        "app password",
        "outcome",
    ];
    table(&head, &rows)
}

fn verdict(verdict: &AuditVerdict) -> String {
    let AuditVerdict {
        lines,
        first,
        last,
        head,
        ..
    } = verdict;
    let head = match head {
        Some(head) => format!("the mirrored volume has the chain up to line {head}"),
        None => "the mirrored volume has no part of the chain yet".into(),
    };
    let mut text = format!("{lines} lines, {first} to {last}; {head}\n");
    for fault in &verdict.faults {
        text += &format!("{fault}\n");
    }
    text += match verdict.intact {
        true => "the audit is as it was written",
        false => "the audit is not as it was written, or not all of it is there",
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_that_was_changed_says_where() {
        let mut audit = AuditVerdict {
            intact: true,
            lines: 9,
            first: 2,
            last: 10,
            head: Some(10),
            faults: Vec::new(),
        };
        assert!(verdict(&audit).ends_with("the audit is as it was written"));
        audit.intact = false;
        audit.faults.push("line 7 is not what was written".into());
        let text = verdict(&audit);
        assert!(text.contains("line 7") && text.contains("is not as it was written"));
    }

    #[test]
    fn app_passwords_say_when_they_were_used() {
        let app = AppLine {
            name: "phone".into(),
            scopes: vec!["imap".into(), "submission".into()],
            made: "2026-11-30".into(),
            used: None,
        };
        let text = apps(&[app]);
        assert!(
            text.contains("imap,submission") && text.contains("never"),
            "{text}"
        );
    }
}
