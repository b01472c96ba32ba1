//! `profile applied` for people.

use hardware::{Row, Verdict};

use crate::reply::Applied;
use crate::table::{dash, table};

/// For people: what differs first, then the rest.
pub(super) fn show(applied: &Applied) -> String {
    let mut text = format!("profile {}", applied.profile);
    match (&applied.why, applied.pinned) {
        (Some(why), _) => text.push_str(&format!(": {why}\n")),
        (None, _) => text.push_str(" (not chosen at boot: not an appliance image)\n"),
    }
    let kept = applied.rows.len() - applied.differs - applied.not_possible;
    text.push_str(&format!(
        "{} differ, {} are not possible here, {kept} are applied or only reported\n\n",
        applied.differs, applied.not_possible
    ));
    let mut rows: Vec<&Row> = applied.rows.iter().collect();
    rows.sort_by_key(|row| match row.verdict {
        Verdict::Differs => 0,
        Verdict::NotPossibleHere => 1,
        Verdict::Ok => 2,
    });
    let cells: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            let verdict = match (row.verdict, row.key.is_empty()) {
                (Verdict::Ok, true) => "shown",
                (verdict, _) => verdict.words(),
            };
            let verdict = match row.why.as_str() {
                "" => verdict.to_owned(),
                why => format!("{verdict}: {why}"),
            };
            vec![
                row.area.clone(),
                row.what.clone(),
                dash(&row.promised),
                dash(&row.applied),
                verdict,
            ]
        })
        .collect();
    text.push_str(&table(
        &["AREA", "WHAT", "PROMISED", "APPLIED", "VERDICT"],
        &cells,
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_first() {
        let row = |what: &str, kept| Row::new("ring", what, "ring.flags", "x", "y", kept);
        let applied = Applied {
            profile: "generic".into(),
            why: Some("it fits everywhere".into()),
            pinned: false,
            differs: 1,
            not_possible: 0,
            rows: vec![row("batch buffers", true), row("coop-taskrun", false)],
        };
        let text = show(&applied);
        let (differs, ok) = (text.find("coop-taskrun"), text.find("batch buffers"));
        assert!(differs.is_some() && differs < ok, "{text}");
    }
}
