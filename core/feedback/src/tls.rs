//! Reports of TLS (RFC 8460): what is counted, as lines; the JSON that goes out and comes in.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::limits::{DETAILS_MAX, POLICIES_MAX};
use crate::text::{bounded, clean, date_time, domain, of_date_time};

/// Which policy a conversation was held to (RFC 8460 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyType {
    Tlsa,
    Sts,
    NoPolicy,
}

/// What came of a conversation (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Success,
    StartTlsNotSupported,
    HostMismatch,
    Expired,
    NotTrusted,
    ValidationFailure,
    TlsaInvalid,
    StsPolicyFetch,
    StsPolicyInvalid,
    StsWebPki,
}

/// What conversations of one line have in common.
/// A line of a sheet is one `Session`, and its count is how many conversations were exactly like it. The host and the reason are of the peer's
/// making, so the text is bounded before it becomes a line: a server that words each failure otherwise could fill a sheet by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub policy: PolicyType,
    pub outcome: Outcome,
    /// The server's name and address; empty where none was reached.
    pub host: String,
    pub address: String,
    /// In words.
    pub reason: String,
}

/// What conversations were held to, and where reports go: the head of a sheet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    pub destinations: String,
    /// The lines of the policy that was in force last (RFC 8460 §4.5), and its type.
    pub policy: Option<(PolicyType, Vec<String>)>,
    /// The patterns of MX hosts that a policy of MTA-STS names.
    pub patterns: Vec<String>,
}

pub struct Report<'r> {
    pub organization: &'r str,
    pub contact: &'r str,
    pub id: &'r str,
    pub domain: &'r str,
    pub begin: u64,
    pub end: u64,
    pub published: &'r Published,
    pub sessions: &'r [(Session, u64)],
    /// Conversations that are not among them, because there were too many different ones.
    pub other: u64,
}

impl PolicyType {
    const ALL: [PolicyType; 3] = [PolicyType::Tlsa, PolicyType::Sts, PolicyType::NoPolicy];

    pub fn word(self) -> &'static str {
        match self {
            PolicyType::Tlsa => "tlsa",
            PolicyType::Sts => "sts",
            PolicyType::NoPolicy => "no-policy-found",
        }
    }

    fn of(word: &str) -> Option<PolicyType> {
        PolicyType::ALL.into_iter().find(|one| one.word() == word)
    }
}

impl Outcome {
    const ALL: [Outcome; 10] = [
        Outcome::Success,
        Outcome::StartTlsNotSupported,
        Outcome::HostMismatch,
        Outcome::Expired,
        Outcome::NotTrusted,
        Outcome::ValidationFailure,
        Outcome::TlsaInvalid,
        Outcome::StsPolicyFetch,
        Outcome::StsPolicyInvalid,
        Outcome::StsWebPki,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::StartTlsNotSupported => "starttls-not-supported",
            Outcome::HostMismatch => "certificate-host-mismatch",
            Outcome::Expired => "certificate-expired",
            Outcome::NotTrusted => "certificate-not-trusted",
            Outcome::ValidationFailure => "validation-failure",
            Outcome::TlsaInvalid => "tlsa-invalid",
            Outcome::StsPolicyFetch => "sts-policy-fetch-error",
            Outcome::StsPolicyInvalid => "sts-policy-invalid",
            Outcome::StsWebPki => "sts-webpki-invalid",
        }
    }

    fn of(word: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|one| one.word() == word)
    }
}

impl Session {
    // Tabs between the fields, because `clean` leaves none inside of them. The same conversation has to give the same bytes: they are the key.
    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            self.policy.word().to_owned(),
            self.outcome.word().to_owned(),
            bounded(&self.host, 255),
            bounded(&self.address, 64),
            bounded(&self.reason, 200),
        ];
        fields.map(|text| clean(&text)).join("\t").into_bytes()
    }

    // A word that a later release added is not guessed at: the line is left out of the report and stays in the sheet.
    pub fn decode(bytes: &[u8]) -> Option<Session> {
        let fields: Vec<&str> = std::str::from_utf8(bytes).ok()?.split('\t').collect();
        let [policy, outcome, host, address, reason] = fields[..] else {
            return None;
        };
        Some(Session {
            policy: PolicyType::of(policy)?,
            outcome: Outcome::of(outcome)?,
            host: host.to_owned(),
            address: address.to_owned(),
            reason: reason.to_owned(),
        })
    }
}

impl Published {
    pub fn encode(&self) -> Vec<u8> {
        let policy = self.policy.as_ref();
        let word = policy.map_or("", |(of, _)| of.word());
        let lines = policy.map_or(&[][..], |(_, lines)| &lines[..]);
        let some = |texts: &[String]| {
            let each = texts.iter().take(16).map(|text| bounded(text, 200));
            bounded_join(each)
        };
        let fields = [
            bounded(&self.destinations, 1_024),
            word.to_owned(),
            some(lines),
            some(&self.patterns),
        ];
        fields.join("\t").into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Option<Published> {
        let fields: Vec<&str> = std::str::from_utf8(bytes).ok()?.split('\t').collect();
        let [destinations, word, lines, patterns] = fields[..] else {
            return None;
        };
        let some = |text: &str| -> Vec<String> {
            let each = text.split('\n').filter(|line| !line.is_empty());
            each.map(str::to_owned).collect()
        };
        Some(Published {
            destinations: destinations.to_owned(),
            policy: PolicyType::of(word).map(|of| (of, some(lines))),
            patterns: some(patterns),
        })
    }
}

/// As many lines as fit.
fn bounded_join(each: impl Iterator<Item = String>) -> String {
    let mut out = String::new();
    for line in each {
        if out.len() + line.len() + 1 > POLICY_BYTES_MAX {
            break;
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

impl Report<'_> {
    /// One member of `policies` for each type of policy (RFC 8460 §4.4).
    pub fn json(&self) -> String {
        // A type that no conversation was held to has no member: an empty one would say that there were none, and there is no evidence of that.
        let of_type = |of: PolicyType| -> Option<Policy> {
            let sessions = || {
                self.sessions
                    .iter()
                    .filter(move |(one, _)| one.policy == of)
            };
            sessions().next()?;
            let count = |is_success: bool| {
                let some = sessions()
                    .filter(move |(one, _)| (one.outcome == Outcome::Success) == is_success);
                some.fold(0u64, |sum, (_, count)| sum.saturating_add(*count))
            };
            let described = self.published.policy.as_ref().filter(|(is, _)| *is == of);
            let failures = sessions().filter(|(one, _)| one.outcome != Outcome::Success);
            let details = failures.map(|(one, count)| Detail {
                result_type: one.outcome.word().to_owned(),
                receiving_mx_hostname: one.host.clone(),
                receiving_ip: one.address.clone(),
                failed_session_count: *count,
                failure_reason_code: one.reason.clone(),
            });
            Some(Policy {
                policy: PolicyWords {
                    policy_type: of.word().to_owned(),
                    policy_string: described.map_or(Vec::new(), |(_, lines)| lines.clone()),
                    policy_domain: self.domain.to_owned(),
                    // Patterns belong to MTA-STS alone; with TLSA the host names of the MX records are the policy (RFC 8460 §4.4).
                    mx_host: match of {
                        PolicyType::Sts => self.published.patterns.clone(),
                        _ => Vec::new(),
                    },
                },
                summary: Summary {
                    successful: count(true),
                    failed: count(false),
                },
                details: details.collect(),
            })
        };
        let mut policies: Vec<Policy> = PolicyType::ALL.into_iter().filter_map(of_type).collect();
        // What had no room: said where every reader looks for failures, without a claim about them.
        if self.other > 0
            && let Some(policy) = policies.first_mut()
        {
            policy.details.push(Detail {
                result_type: Outcome::ValidationFailure.word().to_owned(),
                failure_reason_code: format!(
                    "{} more sessions are left out: there were more different ones than are counted",
                    self.other
                ),
                ..Detail::default()
            });
        }
        let body = Body {
            organization_name: clean(self.organization),
            date_range: DateRange {
                start: date_time(self.begin),
                end: date_time(self.end),
            },
            contact_info: clean(self.contact),
            report_id: self.id.to_owned(),
            policies,
        };
        serde_json::to_string(&body).expect("texts and numbers")
    }
}

/// A report that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub organization: String,
    pub id: String,
    pub begin: u64,
    pub policies: Vec<HeardPolicy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardPolicy {
    pub domain: String,
    pub policy: String,
    pub successful: u64,
    pub failed: u64,
    /// Result type, host of ours, and sessions.
    pub failures: Vec<(String, String, u64)>,
}

/// `None`: it is not a report.
/// What other reporters write differs in detail, so every field that is not needed for the figures has a default. A policy whose domain is not
/// one is left out and the others count.
pub fn read(json: &[u8]) -> Option<Heard> {
    let body: Body = serde_json::from_slice(json).ok()?;
    let policies = body.policies.into_iter().filter_map(|one| {
        let details = one.details.into_iter();
        Some(HeardPolicy {
            domain: domain(&one.policy.policy_domain)?,
            policy: clean(&one.policy.policy_type),
            successful: one.summary.successful,
            failed: one.summary.failed,
            failures: details
                .map(|detail| {
                    let host = clean(&detail.receiving_mx_hostname);
                    (
                        clean(&detail.result_type),
                        host,
                        detail.failed_session_count,
                    )
                })
                .collect(),
        })
    });
    let policies: Vec<HeardPolicy> = policies.collect();
    (!policies.is_empty()).then(|| Heard {
        organization: clean(&body.organization_name),
        id: clean(&body.report_id),
        begin: of_date_time(&body.date_range.start).unwrap_or(0),
        policies,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Body {
    #[serde(default)]
    organization_name: String,
    date_range: DateRange,
    #[serde(default)]
    contact_info: String,
    report_id: String,
    #[serde(deserialize_with = "first::<_, _, POLICIES_MAX>")]
    policies: Vec<Policy>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DateRange {
    #[serde(rename = "start-datetime")]
    start: String,
    #[serde(rename = "end-datetime", default)]
    end: String,
}

#[derive(Serialize, Deserialize)]
struct Policy {
    policy: PolicyWords,
    summary: Summary,
    #[serde(
        rename = "failure-details",
        default,
        deserialize_with = "first::<_, _, DETAILS_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    details: Vec<Detail>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PolicyWords {
    policy_type: String,
    /// Not read: some senders write one text without a list.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    policy_string: Vec<String>,
    policy_domain: String,
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    mx_host: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Summary {
    #[serde(rename = "total-successful-session-count", default)]
    successful: u64,
    #[serde(rename = "total-failure-session-count", default)]
    failed: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    result_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    receiving_mx_hostname: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    receiving_ip: String,
    #[serde(default)]
    failed_session_count: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    failure_reason_code: String,
}

/// The first `MOST` of a list; the others are passed over and take no memory: a list of eight MiB would take a hundred.
fn first<'de, D, T, const MOST: usize>(from: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct First<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for First<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut some = Vec::new();
            while some.len() < MOST
                && let Some(one) = list.next_element()?
            {
                some.push(one);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(some)
        }
    }
    from.deserialize_seq(First::<T, MOST>(PhantomData))
}

/// Of a policy in a head.
const POLICY_BYTES_MAX: usize = 400;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn session(outcome: Outcome) -> Session {
        Session {
            policy: PolicyType::Sts,
            outcome,
            host: "mx.example.net".to_owned(),
            address: "192.0.2.1".to_owned(),
            reason: String::new(),
        }
    }

    fn published() -> Published {
        Published {
            destinations: "mailto:a@b.example".to_owned(),
            policy: Some((
                PolicyType::Sts,
                vec!["version: STSv1".to_owned(), "mode: enforce".to_owned()],
            )),
            patterns: vec!["*.example.net".to_owned()],
        }
    }

    pub(crate) fn json() -> String {
        let plain = Session {
            policy: PolicyType::NoPolicy,
            ..session(Outcome::Success)
        };
        Report {
            organization: "Here",
            contact: "tls@here.example",
            id: "1@here.example",
            domain: "example.net",
            begin: 1_459_468_800,
            end: 1_459_555_200,
            published: &published(),
            sessions: &[
                (session(Outcome::Success), 40),
                (session(Outcome::Expired), 3),
                (plain, 1),
            ],
            other: 2,
        }
        .json()
    }

    #[test]
    fn lines_and_heads_come_back_as_they_were() {
        for outcome in Outcome::ALL {
            let one = session(outcome);
            assert_eq!(Session::decode(&one.encode()), Some(one));
        }
        assert_eq!(Published::decode(&published().encode()), Some(published()));
        let bare = Published::default();
        assert_eq!(Published::decode(&bare.encode()), Some(bare));
        let long = Published {
            destinations: "x".repeat(5_000),
            policy: Some((PolicyType::Tlsa, vec!["y\t".repeat(900); 40])),
            patterns: vec!["z".repeat(900); 40],
        };
        assert!(long.encode().len() <= 2_048 && Published::decode(&long.encode()).is_some());
        assert_eq!(Session::decode(b"sts\tsuccess\t\t"), None);
        assert_eq!(Session::decode(b"x\tsuccess\t\t\t"), None);
    }

    #[test]
    fn a_report_is_what_the_rfc_shows_and_can_be_read() {
        let json = json();
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            value["date-range"]["start-datetime"],
            "2016-04-01T00:00:00Z"
        );
        assert_eq!(value["organization-name"], "Here");
        let sts = &value["policies"][0];
        assert_eq!(sts["policy"]["policy-type"], "sts");
        assert_eq!(sts["policy"]["policy-string"][1], "mode: enforce");
        assert_eq!(sts["policy"]["mx-host"][0], "*.example.net");
        assert_eq!(sts["summary"]["total-successful-session-count"], 40);
        assert_eq!(sts["summary"]["total-failure-session-count"], 3);
        assert_eq!(
            sts["failure-details"][0]["result-type"],
            "certificate-expired"
        );
        assert_eq!(sts["failure-details"][0]["receiving-ip"], "192.0.2.1");
        let left_out = &sts["failure-details"][1]["failure-reason-code"];
        assert!(left_out.as_str().expect("words").starts_with("2 more"));
        assert_eq!(
            value["policies"][1]["policy"]["policy-type"],
            "no-policy-found"
        );

        let heard = read(json.as_bytes()).expect("ours");
        assert_eq!(
            (&heard.id[..], heard.begin),
            ("1@here.example", 1_459_468_800)
        );
        assert_eq!(
            (heard.policies[0].successful, heard.policies[0].failed),
            (40, 3)
        );
        let failure = (
            "certificate-expired".to_owned(),
            "mx.example.net".to_owned(),
            3,
        );
        assert_eq!(heard.policies[0].failures[0], failure);
    }

    #[test]
    fn what_is_not_a_report_is_refused_and_what_is_long_is_bounded_while_it_is_read() {
        for bad in [
            "",
            "{}",
            "[]",
            "{\"report-id\":\"1\",\"date-range\":{\"start-datetime\":\"\"},\"policies\":[]}",
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
        let detail = "{\"result-type\":\"x\",\"failed-session-count\":2},".repeat(DETAILS_MAX + 5);
        let detail = detail.trim_end_matches(',');
        let policy = format!(
            "{{\"policy\":{{\"policy-type\":\"sts\",\"policy-string\":[[],{{}}],\"policy-domain\":\"a.example\",\"mx-host\":\"m\"}},\"summary\":{{}},\"failure-details\":[{detail}]}},"
        );
        let policies = policy.repeat(POLICIES_MAX + 5);
        let policies = policies.trim_end_matches(',');
        let long = format!(
            "{{\"report-id\":\"1\",\"date-range\":{{\"start-datetime\":\"\"}},\"policies\":[{policies}]}}"
        );
        let body: Body = serde_json::from_str(&long).expect("a report");
        let first = &body.policies[0];
        assert_eq!(body.policies.len(), POLICIES_MAX);
        assert_eq!(
            first.details.len(),
            DETAILS_MAX,
            "the others take no memory"
        );
        assert!(first.policy.policy_string.is_empty(), "they are not read");
        assert_eq!(
            read(long.as_bytes()).expect("it").policies.len(),
            POLICIES_MAX
        );
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes()), None);
    }
}
