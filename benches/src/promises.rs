//! The promised figures, and the table that says which of them a run has met: the core of `benches/PROMISES.md`.

use std::fmt::Write;

use crate::figures::Sheet;

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure by its name in the sheet.
/// Mostly ratios to a peer in the same run: the machine, its disks and its noise are then the same on both sides.
struct Promise {
    figure: &'static str,
    what: &'static str,
    bound: Bound,
    scenario: &'static str,
}

// Bounds are what was promised and not what was measured: the table shows both, and a bound is changed only with its promise.
const PROMISES: &[Promise] = &[
    Promise {
        figure: "ratio.accepted.postfix",
        what: "accepted per second, against Postfix's queue",
        bound: Bound::AtLeast(10.0),
        scenario: "accept",
    },
    Promise {
        figure: "ratio.delivered.postfix_dovecot",
        what: "in the mailbox per second, against Postfix + Dovecot LMTP",
        bound: Bound::AtLeast(40.0),
        scenario: "accept",
    },
    Promise {
        figure: "ratio.accepted.sink",
        what: "accepted per second, against the same receiver without its store",
        bound: Bound::AtLeast(0.4),
        scenario: "accept",
    },
    Promise {
        figure: "ringpost.cpu",
        what: "server CPU per message, ms",
        bound: Bound::AtMost(0.1),
        scenario: "accept",
    },
    Promise {
        figure: "ratio.commit.64k.fio",
        what: "commit path against fio, 64 KiB writes",
        bound: Bound::AtLeast(0.7),
        scenario: "commit",
    },
    Promise {
        figure: "ratio.commit.640k.fio",
        what: "commit path against fio, 640 KiB writes",
        bound: Bound::AtLeast(0.7),
        scenario: "commit",
    },
    Promise {
        figure: "device.writes",
        what: "device writes per message and leg, 64 senders",
        bound: Bound::AtMost(0.25),
        scenario: "device",
    },
    Promise {
        figure: "device.written",
        what: "bytes written per leg and byte received, index included",
        bound: Bound::AtMost(1.2),
        scenario: "device",
    },
    Promise {
        figure: "ratio.fetch.dovecot",
        what: "FETCH of whole messages per second, against Dovecot",
        bound: Bound::AtLeast(1.0),
        scenario: "fetch",
    },
    Promise {
        figure: "ratio.select.dovecot",
        what: "time of a SELECT, against Dovecot",
        bound: Bound::AtMost(1.0),
        scenario: "select",
    },
    Promise {
        figure: "idle.plain.resident",
        what: "an idle IMAP connection, KiB",
        bound: Bound::AtMost(16.0),
        scenario: "idle",
    },
    Promise {
        figure: "idle.tls.resident",
        what: "an idle IMAP connection with TLS, KiB",
        bound: Bound::AtMost(48.0),
        scenario: "idle",
    },
    Promise {
        figure: "restart.ready",
        what: "kill -9 to READY, seconds",
        bound: Bound::AtMost(3.0),
        scenario: "restart",
    },
    Promise {
        figure: "ratio.restart.mailboxes",
        what: "the same with many mailboxes instead of one",
        bound: Bound::AtMost(1.25),
        scenario: "restart",
    },
    Promise {
        figure: "overload.growth",
        what: "memory late in an overload, against early in it",
        bound: Bound::AtMost(1.1),
        scenario: "overload",
    },
    Promise {
        figure: "overload.lost",
        what: "acknowledged and missing after an overload",
        bound: Bound::AtMost(0.0),
        scenario: "overload",
    },
    Promise {
        figure: "ratio.sessions.postfix",
        what: "accepted per second with a connection for each message, against Postfix's queue",
        bound: Bound::AtLeast(8.0),
        scenario: "sessions",
    },
    Promise {
        figure: "ratio.filtered.postfix",
        what: "accepted per second with SPF, DKIM, DMARC and two DNSBLs, against Postfix with opendkim, opendmarc and policyd-spf",
        bound: Bound::AtLeast(5.0),
        scenario: "filters",
    },
    Promise {
        figure: "ratio.sent.postfix",
        what: "submitted and sent on per second, 20 connections, against Postfix",
        bound: Bound::AtLeast(5.0),
        scenario: "outbound",
    },
    Promise {
        figure: "ratio.dead.sent",
        what: "sent per second beside 90,000 messages for 1,000 dead destinations, against without them",
        bound: Bound::AtLeast(0.9),
        scenario: "dead",
    },
    Promise {
        figure: "ratio.connections.accepted",
        what: "accepted per second beside 10,000 open connections, half of them slow senders, against without them",
        bound: Bound::AtLeast(0.9),
        scenario: "connections",
    },
    Promise {
        figure: "connections.resident",
        what: "an open SMTP connection, KiB",
        bound: Bound::AtMost(64.0),
        scenario: "connections",
    },
];

/// A Markdown table of every promise: bound, what this run measured, and whether it is met.
pub fn table(sheet: &Sheet) -> String {
    let mut text = String::from(
        "| figure | what | promised | measured | | command |\n|---|---|---|---|---|---|\n",
    );
    for promise in PROMISES {
        let measured = sheet.value(promise.figure);
        let (bound, met) = match promise.bound {
            Bound::AtLeast(bound) => (format!("≥ {bound}"), measured.map(|value| value >= bound)),
            Bound::AtMost(bound) => (format!("≤ {bound}"), measured.map(|value| value <= bound)),
        };
        let value = measured.map_or("–".to_string(), |value| format!("{value:.3}"));
        // "Not measured" is a third answer on purpose: a scenario that could not run must not look like one that passed.
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {bound} | {value} | {verdict} | `cargo xtask bench {}` |",
            promise.figure, promise.what, promise.scenario
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_met_not_met_or_not_measured() {
        let mut sheet = Sheet::default();
        sheet.note("ringpost.cpu", 0.05, "ms/msg");
        sheet.note("ratio.accepted.sink", 0.1, "ratio");
        let text = table(&sheet);
        let row = |figure: &str| {
            text.lines()
                .find(|line| line.contains(figure))
                .unwrap_or("")
                .to_string()
        };
        assert!(row("`ringpost.cpu`").contains("| met |"));
        assert!(row("`ratio.accepted.sink`").contains("not met"));
        assert!(row("`device.writes`").contains("not measured"));
    }
}
