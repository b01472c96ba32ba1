//! Trace fields (RFC 5321 §4.4): Return-Path and Received in front of the content.

use std::io::Write as _;
use std::net::IpAddr;

use runtime::TlsFacts;
use smtp::{ForwardPath, ReversePath, Session};

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
    let hello = session.hello();
    let recipients: Vec<&ForwardPath> = envelope.recipients.iter().map(|to| &to.path).collect();
    let about = About {
        hello: hello.map_or("unknown", |hello| hello.name.as_str()),
        with: session.with_protocol(),
        reverse_path: &envelope.reverse_path,
        recipients: &recipients,
    };
    put(out, hostname, &about, peer, tls, id, unix_seconds);
}

/// What a transaction says for its trace fields.
pub(super) struct About<'a> {
    pub hello: &'a str,
    /// The protocol, as RFC 3848 has it.
    pub with: &'a str,
    pub reverse_path: &'a ReversePath,
    pub recipients: &'a [&'a ForwardPath],
}

/// As `write`, where there is no session.
pub(super) fn put(
    out: &mut Vec<u8>,
    hostname: &str,
    about: &About<'_>,
    peer: IpAddr,
    tls: Option<&TlsFacts>,
    id: &str,
    unix_seconds: i64,
) {
    let About {
        hello,
        with,
        reverse_path,
        recipients,
    } = about;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "Return-Path: {reverse_path}\r\nReceived: from {hello} ("
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
    if let [recipient] = recipients {
        let _ = write!(out, "\r\n\tfor {recipient}");
    }
    out.extend_from_slice(b"; ");
    out.extend_from_slice(mail::text::date(unix_seconds).as_bytes());
    out.extend_from_slice(b"\r\n");
}
