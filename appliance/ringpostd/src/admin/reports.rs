//! Reports between domains, as administrators see them: what others reported of ours, and what is counted for others.

use std::collections::BTreeMap;

use ::admin::reply::{ReportDay, ReportDetail, ReportLine, ReportSent, ReportSummary};
use ::admin::request::Request;
use ::reports::{Day, Sheet};
use ::storage::outgoing::Outgoing;
use ::storage::tallies::{DMARC_HEARD, DMARC_SEEN, TLS_HEARD, TLS_SEEN, Wanted};
use plan::units::date;
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about reports.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::ReportList => {
            let work = async move |outgoing: Outgoing| Ok(list(&outgoing).await);
            document(&admin.outgoing(work).await??)
        }
        Request::ReportShow { domain } => {
            let work = async move |outgoing: Outgoing| Ok(show(&outgoing, &domain).await);
            document(&admin.outgoing(work).await??)
        }
        Request::ReportSend { day, domain } => {
            let day = day.as_deref().map(day_of).transpose()?;
            let wanted = Wanted { day, domain };
            let work = async move |outgoing: Outgoing| Ok(outgoing.want_reports(wanted).await);
            let done = admin.outgoing(work).await?;
            let done = done.ok_or("no reports are made here: mail does not leave this server, `[reports]` is off, or `server.name` is not a name that others can look up")?;
            let each = done.into_iter().map(|one| ReportSent {
                kind: kind(one.key.subject).to_owned(),
                day: name_of(one.key.day),
                domain: one.key.name,
                to: one.to,
                why: one.why,
            });
            document(&each.collect::<Vec<_>>())
        }
        _ => Err("not about reports".into()),
    }
}

/// Of each domain the sums of what is kept.
async fn list(outgoing: &Outgoing) -> Result<Vec<ReportSummary>, Refused> {
    let days = days(outgoing, None).await?;
    let mut all: BTreeMap<(bool, String, String), ReportSummary> = BTreeMap::new();
    for (domain, day) in days {
        let at = (!day.received, domain.clone(), day.kind.clone());
        let sum = all.entry(at).or_insert_with(|| ReportSummary {
            domain,
            received: day.received,
            kind: day.kind.clone(),
            days: 0,
            reports: 0,
            passed: 0,
            failed: 0,
            last: String::new(),
        });
        sum.days += 1;
        sum.reports += day.reports.len() as u64;
        sum.passed = sum.passed.saturating_add(day.passed);
        // The counts of others are as large as they like to write them.
        sum.failed = sum.failed.saturating_add(day.failed);
        sum.last = day.day;
    }
    Ok(all.into_values().collect())
}

async fn show(outgoing: &Outgoing, domain: &str) -> Result<ReportDetail, Refused> {
    let domain = ::dkim::ascii_domain(domain.trim_end_matches('.'));
    let days = days(outgoing, Some(&domain)).await?;
    if days.is_empty() {
        return Err(format!(
            "nothing is counted for `{domain}`: see `report list`"
        ));
    }
    Ok(ReportDetail {
        domain,
        days: days.into_iter().map(|(_, day)| day).collect(),
    })
}

/// Every sheet with its domain, of one domain or of all.
async fn days(
    outgoing: &Outgoing,
    domain: Option<&str>,
) -> Result<Vec<(String, ReportDay)>, Refused> {
    // What came in within the last minute is shown too, where the volume takes it.
    if let Err(fault) = outgoing.flush_reports().await {
        tracing::debug!(%fault, "the counts of the last minute are not shown");
    }
    let (reports, _) = outgoing.reports().ok_or("nothing is counted here")?;
    let mut days = Vec::new();
    reports.each(|key, sheet| {
        let name = ::dkim::ascii_domain(&key.name);
        if domain.is_none_or(|wanted| wanted == name) {
            let received = key.subject == DMARC_HEARD || key.subject == TLS_HEARD;
            let day = day(key.day, kind(key.subject), received, sheet);
            days.push((key.name.clone(), day));
        }
    });
    Ok(days)
}

fn day(day: Day, kind: &str, received: bool, sheet: &Sheet) -> ReportDay {
    let mut shown = ReportDay {
        day: name_of(day),
        kind: kind.to_owned(),
        received,
        sent: sheet.is_closed,
        reports: Vec::new(),
        passed: 0,
        failed: 0,
        other: sheet.other,
        lines: Vec::new(),
    };
    for (line, count) in &sheet.lines {
        let line = String::from_utf8_lossy(line).into_owned();
        if let Some(mark) = line.strip_prefix('=') {
            shown.reports.push(mark.replace('\t', " "));
            continue;
        }
        let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let field = |at: usize| fields.get(at).map_or("", String::as_str);
        // `feedback::dmarc::Row`, `feedback::heard`: the third and the fourth field say what is aligned; `feedback::tls`: the second says what happened.
        let has_passed = match kind {
            DMARC => field(2) == "pass" || field(3) == "pass",
            _ => field(1) == "success",
        };
        let sum = match has_passed {
            true => &mut shown.passed,
            false => &mut shown.failed,
        };
        *sum = sum.saturating_add(*count);
        shown.lines.push(ReportLine {
            count: *count,
            passed: has_passed,
            fields,
        });
    }
    shown
}

const DMARC: &str = "dmarc";

fn kind(subject: ::reports::Subject) -> &'static str {
    match subject {
        DMARC_SEEN | DMARC_HEARD => DMARC,
        TLS_SEEN | TLS_HEARD => "tls",
        _ => "unknown",
    }
}

/// `2026-11-30`.
/// In UTC, as reports are (RFC 9990, RFC 8460): a day here is the day of the report and not of the operator.
fn name_of(day: Day) -> String {
    date(day.begin()).chars().take(10).collect()
}

fn day_of(text: &str) -> Result<Day, Refused> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let parts = || {
        let is_right = text.len() == 10 && text.is_ascii();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        mail::text::days_from_civil(year, month, day).filter(|_| is_right)
    };
    let days = parts().and_then(|days| u32::try_from(days).ok());
    // 31 February would be a day of March: only a text that comes back as it was is one.
    let day = days.map(Day).filter(|day| name_of(*day) == text);
    day.ok_or_else(|| format!("`{text}` is not a day: write one such as 2026-11-30"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_people_do() {
        assert_eq!(day_of("1970-01-02"), Ok(Day(1)));
        assert_eq!(name_of(Day(20_787)), "2026-11-30");
        for bad in ["", "1970-1-2", "1970-02-30", "1970/01/02", "1969-12-31"] {
            assert!(day_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_are_sums_and_marks_are_reports() {
        let mut sheet = Sheet::default();
        for (line, count) in [
            ("192.0.2.1\treject\tfail\tfail\ta.example", 3),
            ("192.0.2.2\tpass\tfail\tpass\ta.example", 40),
            ("=Org\t1", 1),
        ] {
            sheet.lines.insert(line.as_bytes().to_vec(), count);
        }
        let shown = day(Day(20_787), DMARC, true, &sheet);
        assert_eq!((shown.passed, shown.failed), (40, 3));
        assert_eq!(shown.reports, ["Org 1"]);
        assert_eq!(shown.lines.len(), 2);
    }
}
