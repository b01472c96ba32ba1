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
    out.extend_from_slice(mail::text::date(unix_seconds).as_bytes());
    out.extend_from_slice(b"\r\n");
}
