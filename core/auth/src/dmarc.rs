//! DMARC: what the domain in From asks for when neither SPF nor DKIM speaks for it (RFC 9989).
//!
//! The organizational domain comes from a walk up the tree of names, without any list of public suffixes. A message without a domain in From
//! is exempt (§5.3.1). Of several domains each is evaluated, and the strictest result counts (§11.5): another author in front of the forged
//! one exempts nothing.

use dns::{Kind, NameFault, Names};

use crate::limits::WALK_QUERIES_MAX;
use crate::{Ask, Found, Outcome, Signatures, Spf, found, tags};

/// What a receiver does with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is delivered as any other.
    Deliver,
    /// It goes where the recipient keeps what is doubtful.
    Quarantine,
    Reject,
}

/// What DMARC says about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dmarc {
    /// The outcome, with its reason.
    pub found: Found,
    /// The domain in From, of several the one whose result counts; empty where there is none.
    pub domain: String,
    /// What the record asks for, `none` without one.
    pub policy: Policy,
    /// What is to be done: other than `Deliver` only where the outcome is `Fail`.
    pub disposition: Disposition,
    /// Whether SPF, and whether a signature of DKIM, passed and speaks for the domain.
    pub spf_aligned: bool,
    pub dkim_aligned: bool,
    /// The record that was applied; `None`: there is none.
    pub published: Option<Published>,
}

/// What a record says beside the policy that applies, for reports (RFC 9990 §3.1.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where the record is.
    pub domain: String,
    /// As it is written there; the default where a tag is missing.
    pub policy: Policy,
    pub subdomains: Option<Policy>,
    pub absent: Option<Policy>,
    pub strict_spf: bool,
    pub strict_dkim: bool,
    pub testing: bool,
    /// The domain is a public suffix: it hears nothing of single messages (RFC 9991 §2).
    pub is_public_suffix: bool,
    /// `fo=` (§4.7), `0` where it is missing.
    pub failure_options: String,
    /// Behind `rua=` and `ruf=`; empty where there is none.
    pub aggregate_to: String,
    pub failures_to: String,
}

/// What a domain asks for (§4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is done about messages that fail.
    None,
    /// They are to be treated as doubtful.
    Quarantine,
    /// They are to be refused.
    Reject,
}

/// A DMARC policy record (§4.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// `None`: it has no p= that can be read, and no address for reports.
    policy: Option<Policy>,
    /// `sp=`: for subdomains that exist.
    subdomains: Option<Policy>,
    /// `np=`: for subdomains that do not.
    absent: Option<Policy>,
    /// `aspf=s`: the names must be equal, not only of one organization.
    strict_spf: bool,
    /// `adkim=s`: as `strict_spf`.
    strict_dkim: bool,
    /// Whether the domain is a public suffix.
    psd: Psd,
    /// `t=y`: the policy is tried out, and a weaker one applies.
    testing: bool,
    /// `fo=`, `rua=` and `ruf=`, cut where they are longer than anything that is of use.
    failure_options: String,
    aggregate_to: String,
    failures_to: String,
}

/// `psd=` (§4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Psd {
    /// The domain is a public suffix.
    Yes,
    /// It is not: an organization's own.
    No,
    /// The record does not say.
    Unsaid,
}

/// Records on the way up, the longest name first.
pub(crate) type Walk<'d> = Vec<(&'d str, Record)>;

/// A look-up that had to be answered was not.
pub(crate) struct Unknown;

impl Policy {
    /// As in records and results.
    pub fn word(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    /// In any case of letters.
    fn parse(text: &str) -> Option<Policy> {
        let all = [Policy::None, Policy::Quarantine, Policy::Reject];
        all.into_iter()
            .find(|policy| policy.word().eq_ignore_ascii_case(text))
    }
}

impl Dmarc {
    /// Evaluates the policy of each domain in From.
    pub async fn evaluate<N: Names>(ask: &Ask<'_, N>, signatures: &Signatures, spf: &Spf) -> Dmarc {
        let nothing = |found, domain: &str| Dmarc {
            found,
            domain: domain.to_owned(),
            policy: Policy::None,
            disposition: Disposition::Deliver,
            spf_aligned: false,
            dkim_aligned: false,
            published: None,
        };
        if signatures.more_authors {
            return Dmarc {
                disposition: Disposition::Quarantine,
                ..nothing(found(Outcome::Fail, "too many domains in From"), "")
            };
        }
        let mut strictest: Option<Dmarc> = None;
        for author in &signatures.authors {
            ask.begin_part();
            let dmarc = match evaluate(ask, author, signatures, spf).await {
                Ok(dmarc) => dmarc,
                Err(Unknown) => nothing(
                    found(Outcome::TempError, "a name could not be looked up"),
                    author,
                ),
            };
            if strictest
                .as_ref()
                .is_none_or(|before| dmarc.weight() > before.weight())
            {
                strictest = Some(dmarc);
            }
        }
        strictest.unwrap_or_else(|| nothing(found(Outcome::None, "no domain in From"), ""))
    }

    /// Of several results the heaviest counts.
    fn weight(&self) -> u8 {
        match (self.disposition, self.found.outcome) {
            (Disposition::Reject, _) => 5,
            (Disposition::Quarantine, _) => 4,
            (_, Outcome::Fail) => 3,
            (_, Outcome::Pass) => 0,
            (_, Outcome::None) => 1,
            _ => 2,
        }
    }
}

/// The result for one domain in From.
async fn evaluate<N: Names>(
    ask: &Ask<'_, N>,
    author: &str,
    signatures: &Signatures,
    spf: &Spf,
) -> Result<Dmarc, Unknown> {
    let (walk, is_whole) = walk(ask, author).await;
    let at = |name: &str| walk.iter().find(|(of, _)| *of == name);
    // §4.10.1: the author's own record counts whatever is above it; only the records above may be unknown then. With them the organization is
    // unknown, of which relaxed alignment alone depends (§4.10.2).
    if !is_whole && at(author).is_none() {
        return Err(Unknown);
    }
    let organization = is_whole.then(|| organization(&walk, author));
    // Or the organization's, or the one of the public suffix above it.
    let chosen = at(author).or_else(|| at(organization?)).or(walk.last());
    let mut dmarc = Dmarc {
        found: found(Outcome::None, ""),
        domain: author.to_owned(),
        policy: Policy::None,
        disposition: Disposition::Deliver,
        spf_aligned: false,
        dkim_aligned: false,
        published: None,
    };
    let Some((of, record)) = chosen else {
        return Ok(dmarc);
    };
    let Some(policy) = record.policy else {
        return Ok(dmarc);
    };
    dmarc.published = Some(record.published(of, policy));
    let subdomains = record.subdomains.unwrap_or(policy);
    let absent = record.absent.unwrap_or(subdomains);
    let policy = if *of == author {
        policy
    } else if subdomains != absent && !exists(ask, author).await? {
        absent
    } else {
        subdomains
    };

    dmarc.policy = policy;
    let mut unknown = false;
    let own = (spf.domain.as_str(), spf.found.outcome, record.strict_spf);
    let signed = signatures
        .dkim
        .iter()
        .map(|one| (one.domain.as_str(), one.found.outcome, record.strict_dkim));
    for (at, (domain, outcome, strict)) in std::iter::once(own).chain(signed).enumerate() {
        if at > 0 && dmarc.dkim_aligned || !matches!(outcome, Outcome::Pass | Outcome::TempError) {
            continue;
        }
        let aligned = is_aligned(ask, domain, author, organization, strict).await;
        match (aligned, outcome) {
            (Ok(true), Outcome::Pass) if at == 0 => dmarc.spf_aligned = true,
            (Ok(true), Outcome::Pass) => dmarc.dkim_aligned = true,
            (Ok(false), _) => {}
            // An identifier that would count if it could be looked up: the message has not failed.
            (Ok(true), _) | (Err(Unknown), _) => unknown = true,
        }
    }
    if dmarc.spf_aligned || dmarc.dkim_aligned {
        dmarc.found = found(Outcome::Pass, "");
        return Ok(dmarc);
    }
    if unknown {
        let why = "what speaks for the domain could not be looked up";
        dmarc.found = found(Outcome::TempError, why);
        return Ok(dmarc);
    }
    // §4.7, t=y: one step less.
    dmarc.disposition = match (policy, record.testing) {
        (Policy::Reject, false) => Disposition::Reject,
        (Policy::Reject, true) | (Policy::Quarantine, false) => Disposition::Quarantine,
        (Policy::Quarantine, true) | (Policy::None, _) => Disposition::Deliver,
    };
    dmarc.found = found(Outcome::Fail, "");
    Ok(dmarc)
}

/// §4.10.2: whether `domain` speaks for `author`, whose `organization` may be unknown.
async fn is_aligned<N: Names>(
    ask: &Ask<'_, N>,
    domain: &str,
    author: &str,
    organization: Option<&str>,
    strict: bool,
) -> Result<bool, Unknown> {
    if domain == author {
        return Ok(true);
    }
    if strict {
        return Ok(false);
    }
    let Some(organization) = organization else {
        // Any organization of both ends in the same label.
        let top = |name: &str| name.rsplit('.').next().map(str::to_owned);
        return match top(domain) == top(author) {
            true => Err(Unknown),
            false => Ok(false),
        };
    };
    let below = domain
        .strip_suffix(organization)
        .is_some_and(|front| front.is_empty() || front.ends_with('.'));
    if !below {
        return Ok(false);
    }
    match self::walk(ask, domain).await {
        (of, true) => Ok(self::organization(&of, domain) == organization),
        (_, false) => Err(Unknown),
    }
}

/// §4.10: from `domain` up to the top, at most eight questions; and whether all of them were answered. It ends with the first that was not.
pub(crate) async fn walk<'d, N: Names>(ask: &Ask<'_, N>, domain: &'d str) -> (Walk<'d>, bool) {
    let mut records = Vec::new();
    let mut name = domain;
    // A name of one label, and what is not a name, has no policy of its own.
    if !domain.contains('.') {
        return (records, true);
    }
    for _ in 0..WALK_QUERIES_MAX {
        let Ok(found) = record(ask, name).await else {
            return (records, false);
        };
        if let Some(record) = found {
            let stop = record.psd != Psd::Unsaid;
            records.push((name, record));
            if stop {
                break;
            }
        }
        let labels = name.split('.').count();
        // Of a long name the middle is left out: seven labels are next.
        let skip = match labels {
            0 | 1 => break,
            8.. => labels - 7,
            _ => 1,
        };
        for _ in 0..skip {
            name = name.split_once('.').map_or("", |(_, rest)| rest);
        }
    }
    (records, true)
}

/// §4.10.2, of a walk that began at `start`.
pub(crate) fn organization<'d>(walk: &Walk<'d>, start: &'d str) -> &'d str {
    for (name, record) in walk {
        match record.psd {
            Psd::No => return name,
            Psd::Yes if *name != start => return one_below(name, start),
            Psd::Yes | Psd::Unsaid => {}
        }
    }
    walk.last().map_or(start, |(name, _)| name)
}

/// The name with one label more than `suffix` on the way to `start`, which ends in `suffix`.
fn one_below<'d>(suffix: &str, start: &'d str) -> &'d str {
    let front = start.len().saturating_sub(suffix.len() + 1);
    match start[..front].rfind('.') {
        Some(dot) => &start[dot + 1..],
        None => start,
    }
}

/// §4.7, §4.10: of several records none counts, and one that is malformed is none.
async fn record<N: Names>(ask: &Ask<'_, N>, name: &str) -> Result<Option<Record>, Unknown> {
    let texts = match ask.texts(&format!("_dmarc.{name}")).await {
        Ok(texts) => texts,
        Err(NameFault::NoSuchDomain) => return Ok(None),
        Err(NameFault::Unavailable(_)) => return Err(Unknown),
    };
    let mut records = texts.iter().filter(|text| begins_as_record(text));
    Ok(match (records.next(), records.next()) {
        (Some(text), None) => Record::parse(text),
        _ => None,
    })
}

/// `v=DMARC1` stands first, as it is written (§4.7).
pub(crate) fn begins_as_record(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b';').next().unwrap_or_default();
    let equals = memchr::memchr(b'=', first);
    equals.is_some_and(|equals| {
        first[..equals].trim_ascii() == b"v" && first[equals + 1..].trim_ascii() == b"DMARC1"
    })
}

impl Record {
    /// For reports: the record at `domain`, whose own policy is `policy`.
    fn published(&self, domain: &str, policy: Policy) -> Published {
        Published {
            domain: domain.to_owned(),
            policy,
            subdomains: self.subdomains,
            absent: self.absent,
            strict_spf: self.strict_spf,
            strict_dkim: self.strict_dkim,
            testing: self.testing,
            is_public_suffix: self.psd == Psd::Yes,
            failure_options: self.failure_options.clone(),
            aggregate_to: self.aggregate_to.clone(),
            failures_to: self.failures_to.clone(),
        }
    }

    /// `None`: not a record at all, for tags that cannot be read.
    fn parse(text: &[u8]) -> Option<Record> {
        let tags = tags::parse(text)?;
        let value = |name| tags::value(&tags, name);
        let is = |name, wanted: &str| value(name).is_some_and(|of| of.eq_ignore_ascii_case(wanted));
        let policy = |name| value(name).map(Policy::parse);
        let readable = [policy("p"), policy("sp"), policy("np")]
            .into_iter()
            .flatten()
            .all(|policy| policy.is_some());
        // A list that is longer is not read by anybody (`feedback::limits::DESTINATIONS_BYTES_MAX`).
        let list = |name| value(name).filter(|list| list.len() <= LIST_BYTES_MAX);
        let reports = value("rua").is_some_and(|to| to.to_ascii_lowercase().contains("mailto:"));
        // §4.7: without a policy that can be read it is as p=none where reports are asked for, and is no record otherwise.
        let (own, subdomains, absent) = match (readable, policy("p").flatten()) {
            (true, Some(own)) => (Some(own), policy("sp").flatten(), policy("np").flatten()),
            _ if reports => (Some(Policy::None), None, None),
            _ => (None, None, None),
        };
        Some(Record {
            policy: own,
            subdomains,
            absent,
            strict_spf: is("aspf", "s"),
            strict_dkim: is("adkim", "s"),
            psd: match value("psd") {
                Some("y" | "Y") => Psd::Yes,
                Some("n" | "N") => Psd::No,
                _ => Psd::Unsaid,
            },
            testing: is("t", "y"),
            failure_options: value("fo").unwrap_or("0").chars().take(16).collect(),
            aggregate_to: list("rua").unwrap_or_default().to_owned(),
            failures_to: list("ruf").unwrap_or_default().to_owned(),
        })
    }
}

/// Bytes of a list of addresses for reports that are kept.
const LIST_BYTES_MAX: usize = 1_024;

/// Whether `domain` is there at all (RFC 8020): NXDOMAIN says no, and any other answer yes.
async fn exists<N: Names>(ask: &Ask<'_, N>, domain: &str) -> Result<bool, Unknown> {
    match ask.records(domain, Kind::A).await {
        Ok(_) => Ok(true),
        Err(NameFault::NoSuchDomain) => Ok(false),
        Err(NameFault::Unavailable(_)) => Err(Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Record> {
        begins_as_record(text.as_bytes())
            .then(|| Record::parse(text.as_bytes()))
            .flatten()
    }

    #[test]
    fn a_record_says_its_version_first_and_once() {
        let record = parse("v=DMARC1; p=reject; sp=none; adkim=s; psd=n; t=y; pct=5; x=1;");
        let record = record.expect("a record");
        assert_eq!(record.policy, Some(Policy::Reject));
        assert_eq!(record.subdomains, Some(Policy::None));
        assert_eq!(record.absent, None);
        assert!(record.strict_dkim && !record.strict_spf && record.testing);
        assert_eq!(record.psd, Psd::No);
        for text in [
            "v=DMARC1; v=DMARC1; p=reject",
            "p=reject; v=DMARC1",
            "v=dmarc1; p=reject",
            "v=DMARC2; p=reject",
            "v=DMARC1 p=reject",
            "v=DMARC1; p=reject; p=none",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_none_if_reports_are_wanted() {
        let of = |text: &str| parse(text).map(|record| record.policy);
        let none = Some(Some(Policy::None));
        assert_eq!(of("v=DMARC1; p=rejct; rua=mailto:a@b.example"), none);
        assert_eq!(of("v=DMARC1; rua=MAILTO:a@b.example"), none);
        assert_eq!(of("v=DMARC1; p=reject; sp=x; rua=mailto:a@b.example"), none);
        for text in [
            "v=DMARC1",
            "v=DMARC1; p=",
            "v=DMARC1; p=x; rua=https://b.example",
        ] {
            assert_eq!(of(text), Some(None), "{text}");
        }
    }

    #[test]
    fn an_organization_is_one_label_below_a_public_suffix() {
        let record = |text: &str| parse(text).expect("a record");
        let plain = record("v=DMARC1; p=none");
        let (yes, no) = (
            record("v=DMARC1; p=none; psd=y"),
            record("v=DMARC1; p=none; psd=n"),
        );
        let start = "a.b.example.co.test";
        let of = |walk: Walk<'static>| organization(&walk, start);
        assert_eq!(of(vec![]), start);
        assert_eq!(
            of(vec![
                (start, plain.clone()),
                ("example.co.test", plain.clone())
            ]),
            "example.co.test"
        );
        assert_eq!(
            of(vec![(start, plain.clone()), ("co.test", yes.clone())]),
            "example.co.test"
        );
        assert_eq!(of(vec![("b.example.co.test", no)]), "b.example.co.test");
        assert_eq!(
            organization(&vec![("co.test", yes.clone())], "co.test"),
            "co.test"
        );
        assert_eq!(organization(&vec![("test", yes)], "co.test"), "co.test");
    }
}
