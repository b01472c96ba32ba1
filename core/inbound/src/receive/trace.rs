//! Trace fields (RFC 5321 §4.4): Return-Path and Received in front of the content.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::rc::Rc;

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
    date: &str,
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
    put(out, hostname, &about, peer, tls, id, date);
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
    date: &str,
) {
    let About {
        hello,
        with,
        reverse_path,
        recipients,
    } = about;
    let put = |out: &mut Vec<u8>, pieces: &[&str]| {
        for piece in pieces {
            out.extend_from_slice(piece.as_bytes());
        }
    };
    // Writing to a vector cannot fail.
    let _ = write!(out, "Return-Path: {reverse_path}");
    put(out, &["\r\nReceived: from ", hello, " ("]);
    let _ = match peer.to_canonical() {
        IpAddr::V4(address) => write!(out, "[{address}]"),
        IpAddr::V6(address) => write!(out, "[IPv6:{address}]"),
    };
    put(out, &[")\r\n\tby ", hostname, " with ", with]);
    if let Some(TlsFacts {
        version, cipher, ..
    }) = tls
    {
        // A front has said which version its client has, and no more.
        let between = if cipher.is_empty() { "" } else { " " };
        let _ = write!(out, " ({version}{between}{cipher})");
    }
    put(out, &["\r\n\tid ", id]);
    // RFC 5321 §4.4, §7.2: more than one would disclose recipients to each other.
    if let [recipient] = recipients {
        let _ = write!(out, "\r\n\tfor {recipient}");
    }
    put(out, &["; ", date, "\r\n"]);
}

/// The date of the present second as the fields have it, written once for all messages of that second.
#[derive(Default)]
pub(super) struct Dates {
    last: RefCell<(i64, Rc<str>)>,
}

impl Dates {
    pub fn of(&self, unix_seconds: i64) -> Rc<str> {
        let (second, text) = &mut *self.last.borrow_mut();
        if *second != unix_seconds || text.is_empty() {
            (*second, *text) = (unix_seconds, mail::text::date(unix_seconds).into());
        }
        text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a person who came by a front it is known which version of TLS there is.
    #[test]
    fn tls_is_named_as_far_as_it_is_known() {
        for (cipher, named) in [("X", " (TLSv1.3 X)\r\n"), ("", " (TLSv1.3)\r\n")] {
            let facts = TlsFacts {
                version: "TLSv1.3",
                cipher: cipher.to_owned(),
                server_name: None,
                exporter: None,
                client_certificate: None,
            };
            let about = About {
                hello: "c.example",
                with: "ESMTPSA",
                reverse_path: &ReversePath::Null,
                recipients: &[],
            };
            let (mut out, peer) = (Vec::new(), [192, 0, 2, 1].into());
            put(
                &mut out,
                "h.example",
                &about,
                peer,
                Some(&facts),
                "1",
                "now",
            );
            let out = String::from_utf8(out).expect("text");
            assert!(out.contains(named), "{out}");
        }
    }

    #[test]
    fn each_second_has_its_date() {
        let dates = Dates::default();
        for seconds in [0, 0, 1, 1_795_305_599, 1] {
            assert_eq!(*dates.of(seconds), mail::text::date(seconds));
        }
    }
}
