//! A report as a message (RFC 9990 §3.5.2, RFC 8460 §5.3): a few words for people, and the report packed as an attachment.

use std::fmt::Write as _;

use data_encoding::BASE64;

use crate::limits::HEADER_BYTES_MAX;
use crate::text::bounded;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dmarc,
    Tls,
}

/// What the message of a report says of it.
#[derive(Debug, Clone)]
pub struct Letter<'l> {
    pub kind: Kind,
    /// `local@domain`, and the name in front of it.
    pub from: &'l str,
    pub organization: &'l str,
    pub to: &'l str,
    /// The domain that it is about.
    pub domain: &'l str,
    /// The domain of the reporter.
    pub submitter: &'l str,
    /// `local@domain`, unlike all others.
    pub id: &'l str,
    pub begin: u64,
    pub end: u64,
    pub unix_seconds: u64,
    /// Unlike in all others; behind the boundary.
    pub mark: u64,
}

impl Letter<'_> {
    /// The name of the attachment (RFC 9990 §3.5.2, RFC 8460 §5.1). One that is sent again has the same.
    pub fn file_name(&self) -> String {
        let extension = match self.kind {
            Kind::Dmarc => "xml.gz",
            Kind::Tls => "json.gz",
        };
        // RFC 8460 §5.1 names the last second.
        let end = match self.kind {
            Kind::Dmarc => self.end,
            Kind::Tls => self.end - 1,
        };
        format!(
            "{}!{}!{}!{end}.{extension}",
            self.submitter, self.domain, self.begin
        )
    }

    /// The message around `packed`.
    pub fn write(&self, packed: &[u8]) -> Vec<u8> {
        let (domain, submitter, id) = (self.domain, self.submitter, self.id);
        let boundary = format!("=_{:016x}.report", self.mark);
        let mut out = String::with_capacity(2_000 + packed.len() * 14 / 10);
        let _ = write!(
            out,
            "Date: {}\r\nFrom: {} <{}>\r\nTo: <{}>\r\nSubject: Report Domain: {domain}\r\n\tSubmitter: {submitter}\r\n\tReport-ID: <{id}>\r\nMessage-ID: <{:016x}.{id}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n",
            mail::text::date(self.unix_seconds as i64),
            phrase(self.organization),
            self.from,
            self.to,
            self.mark,
        );
        let what = match self.kind {
            Kind::Dmarc => {
                let _ = write!(
                    out,
                    "Content-Type: multipart/mixed;\r\n\tboundary=\"{boundary}\"\r\n\r\n"
                );
                "how mail that claims to be from the domain was authenticated (DMARC)"
            }
            Kind::Tls => {
                let _ = write!(
                    out,
                    "TLS-Report-Domain: {domain}\r\nTLS-Report-Submitter: {submitter}\r\n\
                     Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"{boundary}\"\r\n\r\n"
                );
                "the connections to the domain's mail servers (TLS)"
            }
        };
        let media_type = match self.kind {
            Kind::Dmarc => "application/gzip",
            Kind::Tls => "application/tlsrpt+gzip",
        };
        let name = self.file_name();
        let _ = write!(
            out,
            "--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is a report by {submitter}\r\nabout {what}\r\nof {domain}, {} to {}.\r\n\
             \r\n--{boundary}\r\nContent-Type: {media_type};\r\n\tname=\"{name}\"\r\n\
             Content-Disposition: attachment;\r\n\tfilename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            crate::text::date_time(self.begin),
            crate::text::date_time(self.end),
        );
        put_base64(&mut out, packed);
        let _ = write!(out, "--{boundary}--\r\n");
        out.into_bytes()
    }
}

/// One message that failed (RFC 9991, RFC 6591).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The domain whose record asks for reports.
    pub domain: String,
    pub header_from: String,
    pub envelope_from: String,
    pub source: std::net::IpAddr,
    pub arrived: u64,
    /// What SPF and DKIM came to: `Authentication-Results`, without its name.
    pub results: String,
    /// Mechanisms without an aligned pass.
    pub unaligned: Vec<&'static str>,
    /// `none`, `quarantine` or `reject`, as it was done.
    pub disposition: &'static str,
    /// `d=` and `s=` of a signature for the domain that failed.
    pub signature: Option<(String, String)>,
    /// The record of SPF that did not permit the client, if it is of the domain: its name.
    pub spf_domain: Option<String>,
    /// The header of the message.
    pub header: Vec<u8>,
}

impl Failure {
    /// The message of a report about it, to `letter.to`. The header goes back redacted where `letter` is not told otherwise.
    pub fn write(&self, letter: &Letter<'_>, redacted: bool) -> Vec<u8> {
        let boundary = format!("=_{:016x}.failure", letter.mark);
        let date = mail::text::date(self.arrived as i64);
        let results = match redacted {
            true => without_locals(&one_line(&self.results)),
            false => one_line(&self.results),
        };
        let mut out = String::new();
        let _ = write!(
            out,
            "Date: {}\r\nFrom: {} <{}>\r\nTo: <{}>\r\nSubject: DMARC failure report about {}\r\nMessage-ID: <{:016x}.{}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=feedback-report;\r\n\tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is an authentication failure report about a message\r\nthat came from {} on\r\n{date}.\r\n\
             \r\n--{boundary}\r\nContent-Type: message/feedback-report\r\n\r\n\
             Feedback-Type: auth-failure\r\nUser-Agent: Ringpost\r\nVersion: 1\r\nAuth-Failure: dmarc\r\n\
             Authentication-Results: {results}\r\nIdentity-Alignment: {}\r\n",
            mail::text::date(letter.unix_seconds as i64),
            phrase(letter.organization),
            letter.from,
            letter.to,
            self.domain,
            letter.mark,
            letter.id,
            self.source,
            self.unaligned.join(", "),
        );
        if let Some((domain, selector)) = &self.signature {
            let (domain, selector) = (one_line(domain), one_line(selector));
            let _ = write!(
                out,
                "DKIM-Domain: {domain}\r\nDKIM-Identity: @{domain}\r\nDKIM-Selector: {selector}\r\n"
            );
        }
        if let Some(domain) = &self.spf_domain {
            let _ = write!(out, "SPF-DNS: txt : {} : \"\"\r\n", one_line(domain));
        }
        let path = match self.envelope_from.as_str() {
            "" => String::new(),
            path if redacted => redact(path),
            path => one_line(path),
        };
        let delivery = match self.disposition {
            "reject" => "reject",
            "quarantine" => "policy",
            _ => "delivered",
        };
        let _ = write!(
            out,
            "Original-Mail-From: <{path}>\r\nArrival-Date: {date}\r\nSource-IP: {}\r\nReported-Domain: {}\r\nDelivery-Result: {delivery}\r\n\
             \r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n",
            self.source, self.header_from,
        );
        let mut raw = out.into_bytes();
        let header = match redacted {
            true => redacted_header(&self.header),
            false => plain_header(&self.header),
        };
        raw.extend_from_slice(header.as_bytes());
        raw.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        raw
    }
}

/// The fields that say how a message travelled and who signed it, as they are; of addresses the domain alone, and of the rest the name
/// (RFC 6590: what is taken out is marked).
fn redacted_header(header: &[u8]) -> String {
    let mut out = String::new();
    for (name, value) in fields(header) {
        let value = match &name.to_ascii_lowercase()[..] {
            "date" | "mime-version" => value,
            // Its parameters may name a file.
            "content-type" => value.split(';').next().unwrap_or_default().to_owned(),
            "dkim-signature" => signature(&value),
            "authentication-results" | "list-id" => without_locals(&value),
            "from" | "sender" | "reply-to" | "return-path" | "message-id" => redact(&value),
            _ => REDACTED.to_owned(),
        };
        put_field(&mut out, &name, &value);
    }
    out
}

fn plain_header(header: &[u8]) -> String {
    let mut out = String::new();
    fields(header).for_each(|(name, value)| put_field(&mut out, &name, &value));
    out
}

fn fields(header: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
    let header = &header[..header.len().min(HEADER_BYTES_MAX)];
    mail::header::fields(header).map(|field| {
        let name = String::from_utf8_lossy(field.name);
        let name: String = name.chars().filter(char::is_ascii_graphic).collect();
        let value = one_line(&String::from_utf8_lossy(field.value));
        (name, value)
    })
}

/// `z=` copies fields of the header, and `i=` may name a person (RFC 6376 §3.5).
fn signature(value: &str) -> String {
    let tags = value.split(';').filter(|tag| {
        let name = tag.split('=').next().unwrap_or_default().trim();
        !name.eq_ignore_ascii_case("z")
    });
    without_locals(&tags.collect::<Vec<_>>().join(";"))
}

/// The text, with the local parts of its addresses taken out: in quotes, or as far back as they may reach.
fn without_locals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('@').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            out.push_str(piece);
            break;
        }
        let local = match piece.strip_suffix('"') {
            Some(quoted) => quoted.rfind('"'),
            None => {
                let ends = |each: char| each.is_whitespace() || "<>(),:;=\"[]".contains(each);
                Some(piece.rfind(ends).map_or(0, |at| at + 1))
            }
        };
        out.push_str(&piece[..local.unwrap_or(0)]);
        // `i=@example.org` names nobody.
        if local != Some(piece.len()) {
            out.push_str(REDACTED);
        }
        out.push('@');
    }
    out
}

/// Of every address the local part is taken out, and every word without an address.
fn redact(text: &str) -> String {
    let domains = text.split(|each: char| each.is_whitespace() || "<>,;\"()".contains(each));
    let domains = domains.filter_map(|word| word.rsplit_once('@'));
    let each: Vec<String> = domains
        .map(|(_, domain)| format!("{REDACTED}@{domain}"))
        .collect();
    match each.is_empty() {
        true => REDACTED.to_owned(),
        false => each.join(", "),
    }
}

/// Folded, so that no line is longer than RFC 5322 §2.1.1 allows.
fn put_field(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "{name}:");
    let mut column = name.len() + 1;
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if column + word.len() > 76 {
            out.push_str("\r\n\t");
            column = 1;
        } else {
            out.push(' ');
        }
        let word = bounded(word, 900);
        column += word.len() + 1;
        out.push_str(&word);
    }
    out.push_str("\r\n");
}

fn one_line(text: &str) -> String {
    let shown = |each: char| if each.is_control() { ' ' } else { each };
    let ascii = |each: char| if each.is_ascii() { each } else { '?' };
    text.trim().chars().map(shown).map(ascii).collect()
}

/// As a display name (RFC 5322 §3.2.5): quoted, in ASCII.
fn phrase(text: &str) -> String {
    let plain = one_line(&bounded(text, 100)).replace(['"', '\\'], "'");
    format!("\"{plain}\"")
}

fn put_base64(out: &mut String, bytes: &[u8]) {
    for line in bytes.chunks(57) {
        BASE64.encode_append(line, out);
        out.push_str("\r\n");
    }
}

const REDACTED: &str = "redacted";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn letter(kind: Kind) -> Letter<'static> {
        Letter {
            kind,
            from: "dmarc@here.example",
            organization: "Here \"&\" There",
            to: "a@b.example",
            domain: "example.org",
            submitter: "here.example",
            id: "1.example.org@here.example",
            begin: 1_700_000_000,
            end: 1_700_086_400,
            unix_seconds: 1_700_090_000,
            mark: 7,
        }
    }

    pub(crate) fn failure() -> Failure {
        Failure {
            domain: "example.org".to_owned(),
            header_from: "news.example.org".to_owned(),
            envelope_from: "bob@example.net".to_owned(),
            source: "192.0.2.1".parse().expect("an address"),
            arrived: 1_700_000_000,
            results: "mx.here.example;\r\n\tdmarc=fail".to_owned(),
            unaligned: vec!["dkim", "spf"],
            disposition: "reject",
            signature: Some(("example.org".to_owned(), "s1".to_owned())),
            spf_domain: None,
            header: b"From: Alice <alice@example.org>\r\nTo: bob@here.example\r\nSubject: secret\r\nDKIM-Signature: v=1;\r\n\td=example.org\r\n\r\nbody".to_vec(),
        }
    }

    #[test]
    fn a_report_is_a_message_with_the_fields_and_the_file_of_its_rfc() {
        let raw = letter(Kind::Dmarc).write(b"packed");
        let text = String::from_utf8(raw).expect("ASCII");
        for wanted in [
            "Subject: Report Domain: example.org\r\n\tSubmitter: here.example\r\n\tReport-ID: <1.example.org@here.example>\r\n",
            "From: \"Here '&' There\" <dmarc@here.example>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: application/gzip;",
            "filename=\"here.example!example.org!1700000000!1700086400.xml.gz\"",
            "\r\n\r\ncGFja2Vk\r\n--",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        let raw = letter(Kind::Tls).write(&[0; 500]);
        let text = String::from_utf8(raw).expect("ASCII");
        for wanted in [
            "TLS-Report-Domain: example.org\r\n",
            "TLS-Report-Submitter: here.example\r\n",
            "multipart/report; report-type=\"tlsrpt\";",
            "Content-Type: application/tlsrpt+gzip;",
            "filename=\"here.example!example.org!1700000000!1700086399.json.gz\"",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(
            text.split("\r\n")
                .all(|line| line.len() <= 100 && !line.contains('\n'))
        );
    }

    #[test]
    fn no_field_of_a_redacted_failure_report_names_a_person() {
        let failure = Failure {
            results: "mx.here.example;\r\n\tspf=fail\r\n\t smtp.mailfrom=bob@example.net;\r\n\tdkim=fail\r\n\t header.i=\"bob. w\"@example.net".to_owned(),
            header: b"DKIM-Signature: v=1; i=alice@example.org;\r\n\tz=From:alice=20<alice@example.org>|Subject:secret; d=example.org; b=abc=\r\n\
                Authentication-Results: relay.example; auth=pass smtp.auth=alice@example.org\r\n\
                Content-Type: application/pdf; name=\"secret.pdf\"\r\nList-Id: Bob <bob@lists.example.org>\r\n\r\n".to_vec(),
            ..failure()
        };
        let text = String::from_utf8(failure.write(&letter(Kind::Dmarc), true)).expect("ASCII");
        for wanted in [
            "smtp.mailfrom=redacted@example.net;",
            "header.i=redacted@example.net",
            "DKIM-Signature: v=1; i=redacted@example.org; d=example.org; b=abc=\r\n",
            "smtp.auth=redacted@example.org",
            "Content-Type: application/pdf\r\n",
            "DKIM-Identity: @example.org\r\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        for secret in ["alice", "bob", "secret"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert_eq!(without_locals("i=@a.example"), "i=@a.example");
        assert_eq!(without_locals("x\"@a.example"), "redacted@a.example");
    }

    #[test]
    fn a_failure_report_shows_how_the_message_came_and_not_what_it_says() {
        let text = String::from_utf8(failure().write(&letter(Kind::Dmarc), true)).expect("ASCII");
        for wanted in [
            "report-type=feedback-report",
            "Feedback-Type: auth-failure\r\n",
            "Auth-Failure: dmarc\r\n",
            "Identity-Alignment: dkim, spf\r\n",
            "DKIM-Domain: example.org\r\nDKIM-Identity: @example.org\r\nDKIM-Selector: s1\r\n",
            "Source-IP: 192.0.2.1\r\n",
            "Reported-Domain: news.example.org\r\n",
            "Original-Mail-From: <redacted@example.net>\r\n",
            "From: redacted@example.org\r\nTo: redacted\r\nSubject: redacted\r\nDKIM-Signature: v=1; d=example.org\r\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        for secret in ["alice", "bob", "secret", "body"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let text = String::from_utf8(failure().write(&letter(Kind::Dmarc), false)).expect("ASCII");
        assert!(text.contains("Subject: secret\r\n") && !text.contains("body"));
    }
}
