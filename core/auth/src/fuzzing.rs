//! Doors for `core/fuzz`, no part of the API: a message and the zones about it, from any bytes.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use dns::{Exchangers, Kind, NameFault, Names, Value};

use crate::limits::{LOOKUPS_MAX, SIGNATURES_MAX};
use crate::{Ask, Disposition, Envelope, Outcome, header};

/// Reads `bytes` as texts of zones, one a line, NUL, and a message. Every name has some of the texts; which ones its own bytes decide.
pub fn evaluate(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == 0);
    let zone = halves.next().unwrap_or_default();
    let content = halves.next().unwrap_or_default();
    let texts = zone.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let zone = Zone {
        texts: Rc::new(texts.collect()),
    };
    let first = String::from_utf8_lossy(zone.texts.first().map_or(&b""[..], Vec::as_slice));
    let envelope = Envelope {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        helo: &first,
        mail_from: "a@example.net",
    };
    let ask = Ask::new(&zone, &|| 0);
    let verdict = now(crate::verdict(&ask, &envelope, content, 1_780_000_000));
    assert!(ask.lookups() <= LOOKUPS_MAX);
    assert!(verdict.signatures.dkim.len() <= SIGNATURES_MAX);
    let kept = verdict.dmarc.disposition == Disposition::Deliver;
    assert!(kept || verdict.dmarc.found.outcome == Outcome::Fail);
    let field = verdict.field(OURS, &envelope);
    let lines = field.strip_suffix("\r\n").expect("it ends a line");
    for (at, line) in lines.split("\r\n").enumerate() {
        assert!(line.len() <= 998 && (at == 0) != line.starts_with('\t'));
        assert!(!line[usize::from(at > 0)..].contains(|char: char| char.is_control()));
    }
    // The field is one of ours, and all such of strangers go.
    // Between them are always our trace fields.
    let mut content = [field.as_bytes(), b"Received: x\r\n", content].concat();
    let forged = header::forged(&content, OURS);
    assert_eq!(forged.first(), Some(&(0..field.len())));
    let bytes: usize = forged.iter().map(ExactSizeIterator::len).sum();
    let before = content.len();
    header::remove(&mut content, &forged);
    assert_eq!(content.len() + bytes, before);
    assert_eq!(header::forged(&content, OURS), []);
}

const OURS: &str = "mx.example.org";

/// Inputs that reach every part.
pub fn seeds() -> Vec<Vec<u8>> {
    let zone = "v=spf1 a mx/24 include:a.test ptr exists:%{ir}.%{d} ip4:192.0.2.0/24 -all\nv=spf1 redirect=b.test\n\
        v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; t=y; psd=n; rua=mailto:a@b.test\n\
        v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
        k=rsa; h=sha256; s=email; t=s; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
    let dkim = include_str!("../tests/evaluate/rfc8463.eml").replace('\n', "\r\n");
    let arc = "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.test; s=s; t=1; b=AAAAAAAA\r\n\
        ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/simple; d=a.test; s=s; h=from:to; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAAAAAA\r\n\
        ARC-Authentication-Results: i=1; a.test; none\r\n\
        Authentication-Results: (x) \"mx.example.org\" 1; spf=pass\r\n\
        From: a@example.net, g: b@c.test;\r\n\r\n";
    [dkim.as_str(), arc]
        .map(|message| format!("{zone}\0{message}").into_bytes())
        .to_vec()
}

/// Names of which each has one text of the input, two, or none.
#[derive(Clone)]
struct Zone {
    texts: Rc<Vec<Vec<u8>>>,
}

impl Names for Zone {
    async fn exchangers(&self, _: &str) -> Result<Exchangers, NameFault> {
        Err(NameFault::NoSuchDomain)
    }

    async fn addresses(&self, _: &str) -> Result<Vec<IpAddr>, NameFault> {
        Err(NameFault::NoSuchDomain)
    }

    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, NameFault> {
        let chosen = name
            .bytes()
            .fold(7usize, |sum, byte| sum * 31 % 8_191 + usize::from(byte));
        let text = |at: usize| {
            self.texts
                .get((chosen + at) % self.texts.len().max(1))
                .cloned()
        };
        match (chosen % 7, kind) {
            (5, _) => Err(NameFault::NoSuchDomain),
            (6, _) => Err(NameFault::Unavailable("chance".to_owned())),
            (_, Kind::Txt) => {
                let texts = (0..=chosen % 2).filter_map(text);
                Ok(texts.map(Value::Text).collect())
            }
            (_, Kind::Mx) => Ok(vec![Value::Exchanger(1, format!("m.{name}")); chosen % 12]),
            (_, Kind::Ptr) => Ok(vec![Value::Name("a.example.net.".to_owned())]),
            (_, Kind::A | Kind::Aaaa) => {
                let octet = (chosen % 3) as u8;
                Ok(vec![Value::Address(Ipv4Addr::new(192, 0, 2, octet).into())])
            }
            (_, Kind::Srv | Kind::Tlsa) => Ok(Vec::new()),
        }
    }
}

/// What `future` comes to, which never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("its names are there at once"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_hold_what_the_fuzzer_checks() {
        super::seeds().iter().for_each(|seed| super::evaluate(seed));
        super::evaluate(b"");
        super::evaluate(b"\0\0");
    }
}
