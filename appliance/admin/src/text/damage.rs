//! `volume accept-damage` for people.

use crate::reply::Damage;

pub(super) fn show(damage: &Damage) -> String {
    let mut text = match (damage.accepted, damage.unknown_end) {
        (true, _) => "given up; the volume takes mail again\n".to_owned(),
        (false, true) => {
            "no leg lets the end of the log be read: the last acknowledged mail may lie there, and would be lost\n".to_owned()
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
        text += "Bring missing legs back first if there are any. To give it up: `ringpostctl volume accept-damage --yes`\n";
    }
    text
}
