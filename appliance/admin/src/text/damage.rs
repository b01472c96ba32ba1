//! `volume accept-damage` and `spool accept-damage` for people.

use crate::reply::Damage;

/// `noun`: whose damage it is, as the verb calls it.
pub(super) fn show(damage: &Damage, noun: &str) -> String {
    let mut text = match (damage.accepted, damage.unknown_end) {
        (true, _) => format!("given up; the {noun} accepts mail again\n"),
        (false, true) => {
            "the end of the log cannot be read on any leg: acknowledged mail may be stored there and would be lost\n".to_owned()
        }
        (false, false) => format!(
            "{} acknowledged batches are damaged on every leg and would be lost:\n",
            damage.batch_count
        ),
    };
    if !damage.batches.is_empty() {
        let list: Vec<String> = damage.batches.iter().map(u64::to_string).collect();
        text += &format!("  LSN {}\n", list.join(", "));
    }
    for message in &damage.messages {
        text += &format!("  {message}\n");
    }
    if !damage.accepted {
        text += &format!(
            "Reattach missing legs first. To give up what is lost: `ringpostctl {noun} accept-damage --yes`\n"
        );
    }
    text
}
