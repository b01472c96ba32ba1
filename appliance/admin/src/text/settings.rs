//! Settings from afar, for people.

use plan::units::date;

use crate::settings::{Checked, Line, Outcome, Probation, Shown};
use crate::table::table;

pub(super) fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Shown(shown) => show_text(shown),
        Outcome::History { lines } => show_history(lines),
        Outcome::Checked(checked) => show_checked(checked, "would be"),
        Outcome::Applied(checked) => show_checked(checked, "is"),
        Outcome::Confirmed { .. } => "confirmed: these settings are permanent now".into(),
        Outcome::Reverted { next, .. } => next.clone(),
        Outcome::Refused { reason } => reason.clone(),
    }
}

/// Comments of TOML before the text: what is shown can be edited and applied.
fn show_text(shown: &Shown) -> String {
    let mut text = format!("# Settings from {}.\n", shown.from);
    if let Some(fixed) = &shown.fixed {
        text.push_str(&format!("# Cannot be changed remotely: {fixed}.\n"));
    }
    if let Some(told) = &shown.probation {
        text.push_str(&format!("# {}.\n", told.sentence()));
    }
    text.push_str(&shown.text);
    text
}

fn show_history(lines: &[Line]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                date(line.at),
                line.who.clone(),
                line.did.clone(),
                line.keys.join(" "),
            ]
        })
        .collect();
    table(&["WHEN", "WHO", "DID", "KEYS"], &rows)
}

fn show_checked(checked: &Checked, is: &str) -> String {
    let mut text = String::new();
    for mistake in &checked.mistakes {
        text.push_str(&format!("wrong: {mistake}\n"));
    }
    if checked.changes.is_empty() && checked.mistakes.is_empty() {
        text.push_str("these settings are already in force: nothing changes\n");
    }
    let rows: Vec<Vec<String>> = checked
        .changes
        .iter()
        .map(|change| vec![change.key.clone(), change.effect.words().into()])
        .collect();
    if !rows.is_empty() {
        text.push_str(&table(&["KEY", "CHANGES"], &rows));
    }
    for note in &checked.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let within = match checked.within_s {
        0 => String::new(),
        seconds => format!(" within {seconds} s"),
    };
    text.push_str(&match checked.probation {
        Probation::No => String::new(),
        Probation::Now => format!(
            "It {is} on probation: `ringpostctl settings confirm`{within} over a new connection, or the previous settings are restored.\n"
        ),
        Probation::NextRestart => format!(
            "It {is} tried at the next restart: `ringpostctl reboot`, then `settings confirm`{within}, or the appliance restarts with the previous settings.\n"
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use crate::settings::{Change, Effect};

    use super::*;

    #[test]
    fn what_is_applied_says_when_and_what_is_to_be_done() {
        let checked = Checked {
            changes: vec![Change {
                key: "network.dns".into(),
                effect: Effect::Now,
            }],
            probation: Probation::Now,
            within_s: 300,
            ..Checked::default()
        };
        let text = show(&Outcome::Applied(checked.clone()));
        for told in [
            "network.dns",
            "now",
            "settings confirm",
            "300 s",
            "previous",
        ] {
            assert!(text.contains(told), "{told} in {text}");
        }
        let waits = Checked {
            probation: Probation::NextRestart,
            ..checked
        };
        assert!(show(&Outcome::Applied(waits)).contains("ringpostctl reboot"));
    }

    #[test]
    fn what_is_shown_can_be_applied_again() {
        let shown = Shown {
            from: "the applied settings".into(),
            text: "[time]\nntp = [\"a\"]\n".into(),
            fixed: Some("a credential".into()),
            probation: None,
        };
        let text = show_text(&shown);
        let table: Result<toml::Table, _> = text.parse();
        assert!(
            table.is_ok_and(|table| table.contains_key("time")),
            "{text}"
        );
    }
}
