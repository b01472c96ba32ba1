//! A status document (`ringpost-update status --json`) for people.

use serde_json::Value;

/// Which version runs, which is next, and how each slot stands and why.
/// From the document of another program, perhaps of another version: what is missing in it is shown as a question mark, and nothing fails.
pub fn show(status: &Value) -> String {
    let mut text = format!("running {}", word(&status["running"]));
    if let Some(next) = status["next"].as_str() {
        text += &format!(", the next boot starts {next}");
    }
    for esp in status["esps"].as_array().into_iter().flatten() {
        for slot in esp["slots"].as_array().into_iter().flatten() {
            text += &format!(
                "\n{}  {:<10} {}",
                word(&esp["esp"]),
                word(&slot["version"]),
                standing(slot)
            );
        }
    }
    let disks = status["system_disks"].as_array();
    // One disk is the line above already.
    for disk in disks
        .into_iter()
        .flatten()
        .filter(|_| disks.is_some_and(|all| all.len() > 1))
    {
        text += &format!("\nsystem disk {}  {}", word(&disk["name"]), holds(disk));
    }
    text
}

fn holds(disk: &Value) -> String {
    let why = match disk["why"].as_str() {
        Some(why) => format!(": {why}"),
        None => String::new(),
    };
    match disk["standing"].as_str() {
        Some("started_from") => "the running system was booted from it".into(),
        Some("level") => "identical".into(),
        Some("behind") => format!("behind{why}"),
        Some("missing") => "missing".into(),
        Some("foreign") => format!("foreign{why}"),
        _ => "?".into(),
    }
}

fn standing(slot: &Value) -> String {
    let failed = &slot["failed"];
    let why = match failed["why"].as_str() {
        Some("") => "; its mail test failed without a message".to_owned(),
        Some(why) => format!("; {why}"),
        None => String::new(),
    };
    match slot["standing"].as_str() {
        Some("on_trial") => format!("on trial, {} left{why}", slot["left"]),
        Some("given_up") => match (slot["tried"].as_u64(), failed.is_object()) {
            (None | Some(0), false) => "rolled back by the administrator".into(),
            (Some(tried), false) => {
                format!(
                    "rolled back after {tried} {}; none reached the mail test",
                    boots(tried)
                )
            }
            (tried, true) => {
                let tried = tried
                    .unwrap_or(0)
                    .max(failed["times"].as_u64().unwrap_or(0));
                format!("rolled back after {tried} {}{why}", boots(tried))
            }
        },
        Some(other) => format!("{other}{why}"),
        None => "?".into(),
    }
}

fn boots(count: u64) -> &'static str {
    if count == 1 { "boot" } else { "boots" }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_second_disk_is_told_and_a_single_one_is_not() {
        let line =
            |name: &str, standing: &str| json!({"name": name, "standing": standing, "why": null});
        let mut status =
            json!({"running": "1.0.0", "esps": [], "system_disks": [line("A", "started_from")]});
        assert_eq!(show(&status), "running 1.0.0");
        status["system_disks"] = json!([
            line("A", "started_from"),
            line("B", "level"),
            line("C", "missing"),
            json!({"name": "D", "standing": "behind", "why": "it does not have enough space"})
        ]);
        assert_eq!(
            show(&status),
            "running 1.0.0\nsystem disk A  the running system was booted from it\nsystem disk B  identical\n\
            system disk C  missing\nsystem disk D  behind: it does not have enough space"
        );
    }

    #[test]
    fn every_standing_has_its_sentence() {
        let status = json!({"running": "1.0.0", "next": "1.3.0", "esps": [{"esp": "/efi", "slots": [
            {"version": "1.3.0", "standing": "on_trial", "left": 3},
            {"version": "1.2.0", "standing": "given_up", "tried": 1, "failed": {"times": 1, "why": "SMTP: 554", "unix_s": 0}},
            {"version": "1.1.0", "standing": "given_up", "tried": 3},
            {"version": "1.0.1", "standing": "given_up", "tried": 0},
            {"version": "1.0.0", "standing": "good"},
        ]}]});
        assert_eq!(
            show(&status),
            "running 1.0.0, the next boot starts 1.3.0\n\
            /efi  1.3.0      on trial, 3 left\n\
            /efi  1.2.0      rolled back after 1 boot; SMTP: 554\n\
            /efi  1.1.0      rolled back after 3 boots; none reached the mail test\n\
            /efi  1.0.1      rolled back by the administrator\n\
            /efi  1.0.0      good"
        );
    }
}
