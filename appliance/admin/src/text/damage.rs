//! `volume accept-damage` for people.

use crate::reply::Damage;

pub(super) fn show(damage: &Damage) -> String {
    let mut text = match (damage.accepted, damage.unknown_end) {
        (true, _) => "given up; the volume accepts mail again\n".to_owned(),
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
        text += "Reattach missing legs first. To give up what is lost: `ringpostctl volume accept-damage --yes`\n";
    }
    text
}
