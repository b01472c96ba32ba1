//! Trace fields (RFC 5321 §4.4): Return-Path and Received in front of the content.

use std::io::Write as _;
use std::net::IpAddr;

use runtime::TlsFacts;
use smtp::Session;

/// Room made for the trace fields. Longer ones grow the buffer; the bound is that of a path, a hello and our name.
pub(super) const TRACE_BYTES: usize = 512;

/// Appends both fields. The hello and the paths were checked by `smtp`: nothing in them can end a line or a comment.
pub(super) fn write<R>(
    out: &mut Vec<u8>,
    hostname: &str,
    session: &Session<R>,
    peer: IpAddr,
    tls: Option<&TlsFacts>,
    id: &str,
    unix_seconds: i64,
) {
    let envelope = session.envelope().expect("content has an envelope");
    let hello = session
        .hello()
        .map_or("unknown", |hello| hello.name.as_str());
    let with = session.with_protocol();
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "Return-Path: {}\r\nReceived: from {hello} (",
        envelope.reverse_path
    );
    let _ = match peer.to_canonical() {
        IpAddr::V4(address) => write!(out, "[{address}]"),
        IpAddr::V6(address) => write!(out, "[IPv6:{address}]"),
    };
    let _ = write!(out, ")\r\n\tby {hostname} with {with}");
    if let Some(TlsFacts {
        version, cipher, ..
    }) = tls
    {
        let _ = write!(out, " ({version} {cipher})");
    }
    let _ = write!(out, "\r\n\tid {id}");
    // RFC 5321 §4.4, §7.2: more than one would disclose recipients to each other.
    if let [recipient] = envelope.recipients.as_slice() {
        let _ = write!(out, "\r\n\tfor {}", recipient.path);
    }
    out.extend_from_slice(b"; ");
    write_date(out, unix_seconds);
    out.extend_from_slice(b"\r\n");
}

/// RFC 5322 §3.3, in UTC.
fn write_date(out: &mut Vec<u8>, unix_seconds: i64) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // from 1 January 1970
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = unix_seconds.div_euclid(86_400);
    let second = unix_seconds.rem_euclid(86_400);
    let (year, month, day) = mail::text::civil_from_days(days);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let _ = write!(
        out,
        "{weekday}, {day} {} {year:04} {hour:02}:{minute:02}:{second:02} +0000",
        MONTHS[month as usize - 1]
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(unix_seconds: i64) -> String {
        let mut out = Vec::new();
        write_date(&mut out, unix_seconds);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(1_795_305_599), "Sat, 21 Nov 2026 23:59:59 +0000");
        assert_eq!(date(4_107_542_400), "Mon, 1 Mar 2100 00:00:00 +0000");
    }
}
