//! The spool, for people.

use plan::Size;
use plan::units::date;
use serde_json::Value;

use crate::reply::{LegLine, Redelivery, SpoolDetail, SpoolLine, SpoolPage, SpoolVerdict};
use crate::spool::Ask;
use crate::table::table;

use super::typed;

pub fn show(ask: &Ask, value: &Value) -> Result<String, String> {
    Ok(match ask {
        Ask::Show => detail(&typed(value)?),
        Ask::List { .. } => page(&typed(value)?),
        Ask::Redeliver { .. } => {
            let Redelivery { messages } = typed(value)?;
            format!(
                "{messages} copies wait for storage again; who still has a message gets no second copy of it; `spool show` shows how far it is"
            )
        }
        Ask::Scrub => super::scrubbed(&typed(value)?),
        Ask::Fsck { .. } => verdict(&typed(value)?),
        Ask::AcceptDamage { .. } => super::damage::show(&typed(value)?, "spool"),
        Ask::LegList => super::legs(&typed::<Vec<_>>(value)?),
        Ask::LegAttach { path, .. } => {
            let leg: LegLine = typed(value)?;
            format!(
                "{path} is leg {} of the spool now: {}; `spool leg list` shows how far it is",
                leg.index, leg.state
            )
        }
        Ask::LegDetach { .. } | Ask::LegFail { .. } | Ask::LegRetire { .. } => "done".to_owned(),
    })
}

fn verdict(verdict: &SpoolVerdict) -> String {
    let mut text = super::leg_verdicts(&verdict.legs);
    if let Some(scrub) = &verdict.scrub {
        text.push_str(&format!("legs: {}\n", super::scrubbed(scrub)));
        text.push_str(&format!(
            "spool: {} messages wait, {} copies are kept; {} messages proved\n",
            verdict.waiting, verdict.kept, verdict.messages_proved
        ));
    }
    text + &super::found(&verdict.findings, verdict.clean)
}

/// One line of `status`.
pub fn line(detail: &SpoolDetail) -> String {
    match (detail.state.as_str(), &detail.why) {
        // A box without a spool and one whose spool did not open read alike except for the reason, which is why it is always there.
        (state @ ("none" | "unopened"), why) => format!(
            "spool: {state} ({})\n",
            why.as_deref().unwrap_or("none is planned")
        ),
        (state, _) => format!(
            "spool: {state}, {} messages wait, {} copies are kept\n",
            detail.waiting, detail.kept
        ),
    }
}

fn detail(detail: &SpoolDetail) -> String {
    let mut text = format!("state      {}", detail.state);
    if let Some(why) = &detail.why {
        text.push_str(&format!(": {why}"));
    }
    if matches!(detail.state.as_str(), "none" | "unopened") {
        return text;
    }
    text.push_str(&format!(
        "\nwaiting    {} messages of {}, {} of {}",
        detail.waiting,
        detail.waiting_max,
        Size(detail.waiting_bytes),
        Size(detail.waiting_bytes_max),
    ));
    if let Some(oldest) = detail.oldest_unix_s {
        text.push_str(&format!("; the oldest came {}", date(oldest)));
    }
    if detail.stuck > 0 {
        text.push_str(&format!(
            "\n           {} of them cannot be handed over; the log says why",
            detail.stuck
        ));
    }
    text.push_str(&format!(
        "\nkept       {} copies, {}; each for {} h after storage took it over",
        detail.kept,
        Size(detail.kept_bytes),
        detail.keep_s / 3_600,
    ));
    text.push_str(&format!(
        "\nso far     {} spooled, {} handed over, since the start",
        detail.taken, detail.handed
    ));
    if let Some(volume) = &detail.volume {
        text.push_str(&format!(
            "\nvolume     {} {}  {}/{} segments free\n\n{}",
            volume.id,
            volume.state,
            volume.segments_free,
            volume.segments,
            super::legs(&detail.legs)
        ));
    }
    text.trim_end().to_owned()
}

fn page(page: &SpoolPage) -> String {
    let (waiting, kept) = (page.waiting, page.kept);
    if page.messages.is_empty() {
        return format!("{waiting} messages wait, {kept} copies are kept");
    }
    let rows: Vec<Vec<String>> = page.messages.iter().map(row).collect();
    let head = ["ID", "STATE", "CAME", "HANDED OVER", "BYTES", "FROM", "TO"];
    let mut text = table(&head, &rows);
    text.push_str(&format!("{waiting} messages wait, {kept} copies are kept"));
    if page.more {
        text.push_str("; show more of them with -n");
    }
    text
}

fn row(line: &SpoolLine) -> Vec<String> {
    let to = match line.recipients.saturating_sub(1) {
        0 => line.to.clone(),
        others => format!("{} and {others} more", line.to),
    };
    vec![
        line.id.to_string(),
        line.state.clone(),
        date(line.arrived_unix_s),
        line.handed_unix_s.map_or("-".to_owned(), date),
        line.bytes.to_string(),
        format!("<{}>", line.from),
        to,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_without_a_spool_says_why_and_nothing_else() {
        let none = SpoolDetail {
            state: "none".into(),
            why: Some("the settings name no spool.legs".into()),
            ..SpoolDetail::default()
        };
        let text = detail(&none);
        assert_eq!(text, "state      none: the settings name no spool.legs");
        // What is in it is not known, so no number is shown.
        let unopened = SpoolDetail {
            state: "unopened".into(),
            ..none
        };
        assert_eq!(
            line(&unopened),
            "spool: unopened (the settings name no spool.legs)\n"
        );
        assert!(!detail(&unopened).contains("waiting"));
    }

    #[test]
    fn what_waits_and_what_is_kept_are_told_apart() {
        let line = |id, state: &str, handed_unix_s| SpoolLine {
            id,
            state: state.into(),
            from: String::new(),
            to: "alice@example.org".into(),
            recipients: 2,
            bytes: 7,
            arrived_unix_s: 0,
            handed_unix_s,
            times: u32::from(handed_unix_s.is_some()),
        };
        let text = page(&SpoolPage {
            waiting: 1,
            kept: 5,
            messages: vec![line(9, "waiting", None), line(3, "kept", Some(60))],
            more: true,
        });
        assert!(text.contains("alice@example.org and 1 more"), "{text}");
        assert!(text.ends_with("1 messages wait, 5 copies are kept; show more of them with -n"));
    }
}
