//! Settings from afar: what is asked is handed to `ringpost-boot settings serve`, which checks and changes; shown here.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use boot::ask::{self, Outcome, Request as Ask, Shown};
use boot::change::{Checked, Probation};
use boot::history::Line;
use plan::units::date;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::admin::{Admin, Caller};
use crate::answer::{Refused, volume_of};
use crate::credentials::check_authority;
use crate::legs;
use crate::limits::REQUEST_BYTES_MAX;
use crate::show::table;
use crate::words::Request;

/// One at a time: there is one exchange.
static ASKING: Mutex<()> = Mutex::const_new(());

/// Performs a request about settings. `Err`: one or more sentences, each with its fix.
pub(crate) async fn perform(
    admin: &Admin,
    request: Request,
    caller: &Caller,
) -> Result<Value, Refused> {
    let exchange = Path::new(ask::EXCHANGE);
    if !exchange.is_dir() {
        return Err(
            "this is no appliance image: change the file that --config names, and restart ringpostd"
                .into(),
        );
    }
    let who = caller.who.clone();
    let wanted = match request {
        Request::SettingsShow => Ask::Show,
        Request::SettingsHistory => Ask::History,
        Request::SettingsCheck { name, text } => {
            check_own_part(&text)?;
            let legs = legs_now(admin).await?;
            Ask::Check { name, text, legs }
        }
        Request::SettingsApply {
            name,
            text,
            within_s,
        } => {
            check_own_part(&text)?;
            Ask::Apply {
                name,
                text,
                legs: legs_now(admin).await?,
                within_s,
                who,
            }
        }
        Request::SettingsConfirm => Ask::Confirm {
            who,
            connected_ms: caller.connected_ms,
        },
        Request::SettingsRevert { within_s } => Ask::Revert {
            legs: legs_now(admin).await?,
            within_s,
            who,
        },
        _ => return Err("not about settings".into()),
    };
    let _alone = ASKING.lock().await;
    let asked = tokio::task::spawn_blocking(move || ask::ask(exchange, &wanted)).await;
    let outcome = asked.map_err(|error| error.to_string())??;
    log(&outcome, caller);
    match outcome {
        Outcome::Refused { reason } => Err(reason),
        outcome => serde_json::to_value(outcome).map_err(|error| error.to_string()),
    }
}

/// Who and which keys; never a value.
fn log(outcome: &Outcome, caller: &Caller) {
    let (did, keys) = match outcome {
        Outcome::Applied(checked) if checked.changes.is_empty() => return,
        Outcome::Applied(checked) if checked.probation == Probation::No => {
            ("applied", checked.keys())
        }
        Outcome::Applied(checked) => ("on probation", checked.keys()),
        Outcome::Confirmed { keys } => ("confirmed", keys.clone()),
        Outcome::Reverted { keys, .. } => ("taken back", keys.clone()),
        _ => return,
    };
    let (who, keys) = (&caller.who, keys.join(" "));
    tracing::info!(who, did, keys, "settings changed");
}

/// What only the engine knows how to read. That the text is settings at all, the other side says.
fn check_own_part(text: &str) -> Result<(), Refused> {
    let Ok(settings) = plan::Settings::parse_before_legs("settings", text) else {
        return Ok(());
    };
    let Some(authority) = &settings.admin.client_ca else {
        return Ok(());
    };
    let told = |why: String| format!("[admin] client_ca: {why}: paste ca.pem of `admin-cert`");
    if authority.trim_start().starts_with("-----BEGIN") {
        return check_authority(authority).map_err(told);
    }
    let pem = std::fs::read_to_string(authority)
        .map_err(|error| told(format!("{}: {error}", authority.escape_debug())))?;
    check_authority(&pem).map_err(told)
}

/// Where the volume's legs are: a setting may name those, and no others.
async fn legs_now(admin: &Admin) -> Result<Vec<String>, Refused> {
    let lines = admin
        .ask(async |mailboxes| legs::lines(volume_of(&mailboxes)))
        .await?;
    Ok(lines.into_iter().filter_map(|leg| leg.path).collect())
}

/// A settings file of this machine: what it is called, and its text.
pub(crate) fn read(file: &Path) -> Result<(String, String), String> {
    let told = |why: String| format!("{}: {why}", file.display());
    let opened = std::fs::File::open(file).map_err(|error| told(error.to_string()))?;
    let mut bytes = Vec::new();
    // What is left of a request is for the words around it and for escapes.
    let most = REQUEST_BYTES_MAX as u64 / 2;
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| told(error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(told(format!(
            "more than {} KiB are no settings: name another file",
            most >> 10
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        told(format!("line {line} is not UTF-8: save the file as UTF-8"))
    })?;
    let name = file.file_name().unwrap_or(file.as_os_str());
    let name: String = name.to_string_lossy().escape_debug().take(64).collect();
    Ok((name, text))
}

/// Asks whoever sits at the terminal. `Err`: not meant, or nobody there.
pub(crate) fn is_meant(checked: &str) -> Result<(), String> {
    if !std::io::stdin().is_terminal() {
        return Err("say that it is meant: add --yes (`settings check` shows what it does)".into());
    }
    eprint!("{checked}\nApply them? Write yes: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    match line.trim() {
        "yes" => Ok(()),
        _ => Err("nothing was changed".into()),
    }
}

pub(crate) fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Shown(shown) => show_text(shown),
        Outcome::History { lines } => show_history(lines),
        Outcome::Checked(checked) => show_checked(checked, "would be"),
        Outcome::Applied(checked) => show_checked(checked, "is"),
        Outcome::Confirmed { .. } => "confirmed: these are the settings from now on".into(),
        Outcome::Reverted { next, .. } => next.clone(),
        Outcome::Refused { reason } => reason.clone(),
    }
}

/// Comments of TOML before the text: what is shown can be edited and applied.
fn show_text(shown: &Shown) -> String {
    let mut text = format!("# Settings from {}.\n", shown.from);
    if let Some(fixed) = &shown.fixed {
        text.push_str(&format!("# Not changed from here: {fixed}.\n"));
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
        text.push_str("these are the settings already: nothing changes\n");
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
            "It {is} on probation: `ringpostctl settings confirm`{within} by a new connection, or the previous settings come back.\n"
        ),
        Probation::NextRestart => format!(
            "It {is} tried at the next restart: `ringpostctl reboot`, then `settings confirm`{within}, or the box restarts with the previous settings.\n"
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use boot::change::{Change, Effect};

    use super::*;

    #[test]
    fn a_file_that_is_no_text_or_too_long_is_refused_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("box.toml");
        let told = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("ours");
            read(&path).expect_err("no settings")
        };
        assert!(told(b"a\nb\n\xff").contains("line 3 is not UTF-8"));
        assert!(told(&vec![b'#'; REQUEST_BYTES_MAX]).contains("KiB"));
        std::fs::write(&path, "[time]\n").expect("ours");
        assert_eq!(read(&path), Ok(("box.toml".into(), "[time]\n".into())));
        assert!(read(Path::new("/dev/zero")).is_err());
    }

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

    #[test]
    fn an_authority_that_is_none_is_refused_before_it_locks_anybody_out() {
        let with = |authority: &str| {
            check_own_part(&format!(
                "[volume]\n[admin]\nclient_ca = \"\"\"{authority}\"\"\"\n"
            ))
        };
        assert!(with("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
        assert!(with("/nowhere/ca.pem").is_err());
        assert_eq!(check_own_part("[volume]\n"), Ok(()));
        assert_eq!(check_own_part("no settings"), Ok(()));
    }
}
