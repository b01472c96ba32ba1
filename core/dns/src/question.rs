//! One question on the wire, and what an answer says to it. Pure: bytes in, bytes out.
//!
//! What must hold: no panic from a server's bytes, and *unknown is not absent*: only an answer that says so makes a name absent. A referral,
//! a truncated answer and one about another name do not.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::limits::{CNAMES_MAX, UDP_BYTES_ASKED};
use crate::name;

/// Which records are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mail exchangers (RFC 1035 §3.3.9).
    Mx,
    /// IPv4 addresses (RFC 1035 §3.4.1).
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Texts (RFC 1035 §3.3.14).
    Txt,
    /// The name of an address (RFC 1035 §3.5).
    Ptr,
    /// Where a service is (RFC 2782).
    Srv,
    /// Certificates of a TLS server (RFC 6698).
    Tlsa,
}

/// What one record of the asked kind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Preference, and the host as text, a dot at its end.
    Exchanger(u16, String),
    /// Of either family.
    Address(IpAddr),
    /// All strings of one TXT record, joined without anything between them (RFC 7208 §3.3, RFC 6376 §3.6.2.2). Any bytes.
    Text(Vec<u8>),
    /// The name that a PTR record points at, a dot at its end.
    Name(String),
    /// Where a service is (RFC 2782); the target with a dot at its end.
    Service {
        /// Lower ones are tried first.
        priority: u16,
        /// Among those of one priority: how large a share it gets.
        weight: u16,
        port: u16,
        /// The host that offers it.
        target: String,
    },
    /// What the certificate of a TLS server must match (RFC 6698 §2.1), as it is on the wire.
    Certificate {
        /// What the certificate is compared with: usages 2 and 3 are of use for SMTP (RFC 7672 §3.1).
        usage: u8,
        /// The whole certificate, or its public key.
        selector: u8,
        /// The bytes as they are, or a digest of them.
        matching: u8,
        data: Vec<u8>,
    },
}

impl Value {
    /// The text of a TXT record.
    pub(crate) fn into_text(self) -> Option<Vec<u8>> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The host that a PTR record names.
    pub(crate) fn into_host(self) -> Option<String> {
        match self {
            Value::Name(name) => name::host(&name),
            _ => None,
        }
    }

    /// Bytes beside those of the value itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Value::Exchanger(_, name) | Value::Name(name) => name.capacity(),
            Value::Service { target, .. } => target.capacity(),
            Value::Text(bytes) | Value::Certificate { data: bytes, .. } => bytes.capacity(),
            Value::Address(_) => 0,
        }
    }
}

/// What an answer says. Lifetimes are in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// At least one.
    Found { values: Vec<Value>, ttl: u32 },
    /// The name is an alias of another, about which the answer says nothing: ask for that one.
    Alias { target: Name, ttl: u32 },
    /// The name is there, without a record of this kind. `None`: the answer does not say for how long.
    Nothing { ttl: Option<u32> },
    /// NXDOMAIN.
    NoName { ttl: Option<u32> },
}

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Not the answer to this question; the answer may still come.
    NotOurs,
    /// Ask again by TCP.
    Truncated,
    /// The server does not know EDNS: ask again without it (RFC 6891 §7).
    Edns,
    /// This server has no answer; another may have. A short phrase for people.
    Failed(String),
}

/// A question that was not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// By which an answer is known to be of it; it must not be guessable.
    pub id: u16,
    /// Name, kind and class.
    query: Query,
    /// Whether it offers a larger answer (RFC 6891).
    edns: bool,
    /// Whether it asks a validator if the answer is signed (RFC 6840 §5.7).
    authentic: bool,
}

impl Question {
    /// A question about records of `kind`.
    pub(crate) fn new(name: Name, kind: Kind, id: u16) -> Question {
        let kind = match kind {
            Kind::Mx => RecordType::MX,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Txt => RecordType::TXT,
            Kind::Ptr => RecordType::PTR,
            Kind::Srv => RecordType::SRV,
            Kind::Tlsa => RecordType::TLSA,
        };
        Question {
            id,
            query: Query::query(name, kind),
            edns: true,
            authentic: false,
        }
    }

    /// The same question, which also asks whether the answer was validated.
    pub(crate) fn authentic(mut self) -> Question {
        self.authentic = true;
        self
    }

    /// The same question for a server that does not know EDNS.
    pub(crate) fn without_edns(mut self) -> Question {
        self.edns = false;
        self
    }

    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    /// `None`: the name does not fit the wire, which a checked one always does.
    pub(crate) fn to_wire(&self) -> Option<Vec<u8>> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = self.authentic;
        message.add_query(self.query.clone());
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES_ASKED);
            message.set_edns(edns);
        }
        message.to_vec().ok()
    }

    /// As `read`, and whether its sender says that it validated all of it (the AD bit, RFC 4035 §3.2.3); `false` unless that was asked. The
    /// bit is worth as much as the way to a server that validates.
    pub(crate) fn read_authentic(&self, wire: &[u8]) -> Result<(Reading, bool), Bad> {
        let reading = self.read(wire)?;
        let authentic = wire.get(3).is_some_and(|flags| flags & AUTHENTIC != 0);
        Ok((reading, authentic && self.authentic))
    }

    /// What `wire` says to this question.
    pub(crate) fn read(&self, wire: &[u8]) -> Result<Reading, Bad> {
        // The identifier before anything else: whoever does not know it may not disturb us with bytes that cannot be read.
        let (Some(id), Some(flags)) = (wire.first_chunk::<2>(), wire.get(2)) else {
            return Err(Bad::NotOurs);
        };
        if *id != self.id.to_be_bytes() || flags & 0x80 == 0 {
            return Err(Bad::NotOurs);
        }
        let message =
            Message::from_vec(wire).map_err(|_| failed("an answer that makes no sense"))?;
        let code = message.metadata.response_code;
        let refuses_edns =
            matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) && self.edns;
        match message.queries.as_slice() {
            [query] if *query == self.query => {}
            // A server that cannot read the question does not repeat it.
            [] if refuses_edns => {}
            _ => return Err(Bad::NotOurs),
        }
        if message.metadata.truncation {
            return Err(Bad::Truncated);
        }
        match code {
            _ if refuses_edns => Err(Bad::Edns),
            ResponseCode::NoError => self.take(&message),
            // RFC 6604 §3: it is about the last name of a chain.
            ResponseCode::NXDomain => Ok(Reading::NoName {
                ttl: negative_ttl(&message),
            }),
            ResponseCode::ServFail => Err(failed("SERVFAIL")),
            ResponseCode::Refused => Err(failed("REFUSED")),
            other => Err(failed(&format!("response code {}", u16::from(other)))),
        }
    }

    /// The records of the asked kind at the end of the aliases, or what their absence means.
    fn take(&self, message: &Message) -> Result<Reading, Bad> {
        let (name, mut ttl) = self.end_of_chain(&message.answers)?;
        let values: Vec<Value> = message
            .answers
            .iter()
            .filter(|record| record.dns_class == DNSClass::IN && record.name == *name)
            .filter(|record| record.record_type() == self.query.query_type())
            .filter_map(|record| {
                let value = value_of(&record.data)?;
                ttl = ttl.min(record.ttl);
                Some(value)
            })
            .collect();
        if !values.is_empty() {
            return Ok(Reading::Found { values, ttl });
        }
        if name != self.query.name() {
            let target = name.clone();
            return Ok(Reading::Alias { target, ttl });
        }
        if !message.answers.is_empty() {
            return Err(failed("an answer about another name"));
        }
        // RFC 2308 §2.2: NODATA has a SOA record or none at all; name servers without one are a referral, by a server that does not
        // look further.
        let of_kind = |kind| move |record: &Record| record.record_type() == kind;
        let soa = message.authorities.iter().any(of_kind(RecordType::SOA));
        if !soa && message.authorities.iter().any(of_kind(RecordType::NS)) {
            return Err(failed("a referral: the server does not look further"));
        }
        Ok(Reading::Nothing {
            ttl: negative_ttl(message),
        })
    }

    /// The name that the answer's aliases lead to, and how long they hold.
    fn end_of_chain<'a>(&'a self, answers: &'a [Record]) -> Result<(&'a Name, u32), Bad> {
        let (mut name, mut ttl) = (self.query.name(), u32::MAX);
        for _ in 0..=CNAMES_MAX {
            let next = answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *name => Some((&target.0, record.ttl)),
                _ => None,
            });
            let Some((target, lives)) = next else {
                return Ok((name, ttl));
            };
            (name, ttl) = (target, ttl.min(lives));
        }
        Err(failed("a chain of CNAME records without an end"))
    }
}

/// The AD bit, in the fourth octet of a message.
const AUTHENTIC: u8 = 0x20;

/// The value of a record; `None` for kinds that are not asked for.
fn value_of(data: &RData) -> Option<Value> {
    match data {
        RData::MX(mx) => Some(Value::Exchanger(mx.preference, mx.exchange.to_ascii())),
        RData::A(address) => Some(Value::Address(address.0.into())),
        RData::AAAA(address) => Some(Value::Address(IpAddr::V6(address.0).to_canonical())),
        RData::TXT(text) => Some(Value::Text(text.txt_data.concat())),
        RData::PTR(name) => Some(Value::Name(name.0.to_ascii())),
        RData::SRV(service) => Some(Value::Service {
            priority: service.priority,
            weight: service.weight,
            port: service.port,
            target: service.target.to_ascii(),
        }),
        RData::TLSA(tlsa) => Some(Value::Certificate {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        }),
        _ => None,
    }
}

/// RFC 2308 §5.
fn negative_ttl(message: &Message) -> Option<u32> {
    message
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
}

/// A fault of the server, as a phrase for people.
fn failed(why: &str) -> Bad {
    Bad::Failed(why.to_owned())
}

#[cfg(test)]
mod tests;
