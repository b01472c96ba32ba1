//! Settings from afar: what is asked is handed to `ringpost-boot settings serve`, which checks and changes.

use std::path::Path;

use ::admin::certificate::check_authority;
use ::admin::request::Request;
use ::admin::settings::{self, Outcome, Probation, Request as Ask};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::admin::caller::Caller;
use crate::admin::legs;
use crate::admin::shared::{Admin, Refused, volume_of};

/// One at a time: there is one exchange.
static ASKING: Mutex<()> = Mutex::const_new(());

/// Performs a request about settings. `Err`: one or more sentences, each with its fix.
pub(crate) async fn perform(
    admin: &Admin,
    request: Request,
    caller: &Caller,
) -> Result<Value, Refused> {
    let exchange = Path::new(settings::EXCHANGE);
    if !exchange.is_dir() {
        return Err(
            "not an appliance image: change the file that --config names, and restart ringpostd"
                .into(),
        );
    }
    let who = caller.who.clone();
    // The daemon adds what only it knows (the legs in use, who asks, how old the connection is) and decides nothing: what may be written is
    // decided by the program that runs as root.
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
    let alone = ASKING.lock().await;
    let ask = move || {
        // Held until the answer is there, also when the caller has gone.
        let _alone = alone;
        settings::ask(exchange, &wanted)
    };
    let asked = tokio::task::spawn_blocking(ask).await;
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
        // A look leaves no line; each change does, with the same words as the history.
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

#[cfg(test)]
mod tests {
    use super::*;

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
