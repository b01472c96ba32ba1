//! `domain check`: the records of `domain dns`, looked up through the resolver, and what each look-up says.
//!
//! What must hold: unknown is not absent. Only an answer of the name servers makes a record missing; a look-up without an answer is `unknown`.

use std::net::IpAddr;

use ::admin::dns_records::{CheckLine, DnsRecord, DomainCheck, DomainDns, Verdict};
use dns::{Kind, NameFault, Names, Value};

use crate::admin::domain_dns::policy_server;

/// A verdict and its reason.
type Judgement = (Verdict, String);

/// Looks up every record of `dns`, one after another: the resolver has a deadline for each.
pub(crate) async fn check(names: &impl Names, dns: &DomainDns) -> DomainCheck {
    let mut lines = Vec::new();
    for record in &dns.records {
        let (verdict, why) = judge(names, dns, record).await;
        lines.push(line(&record.name, &record.kind, verdict, why));
    }
    if !dns.host.contains('.') {
        // Published as it is, the MX record leads every sender to its own `localhost`.
        let why = "other servers cannot look up a name without a dot: set `server.name` to one that they can";
        let (verdict, why) = (Verdict::Wrong, why.to_owned());
        lines.push(line(&dns.host, "A, AAAA", verdict, why));
    } else if !dns.records.iter().any(|record| record.kind == "PTR") {
        // Without a public address on this machine (a router in front has it), the host name must still have one, and that one its name.
        let addresses = names.addresses(&dns.host).await;
        let (verdict, why) = judge_host(&addresses);
        lines.push(line(&dns.host, "A, AAAA", verdict, why));
        for address in addresses.unwrap_or_default() {
            let (verdict, why) = judge_reverse(names, &dns.host, address).await;
            lines.push(line(&address.to_string(), "PTR", verdict, why));
        }
    }
    // As for the host name: a policy server must have an address, whoever serves the policy.
    let server = policy_server(&dns.domain);
    let has_policy = dns
        .records
        .iter()
        .any(|record| record.name.starts_with("_mta-sts."));
    if has_policy && !dns.records.iter().any(|record| record.name == server) {
        let (verdict, why) = judge_host(&names.addresses(&server).await);
        lines.push(line(&server, "A, AAAA", verdict, why));
    }
    DomainCheck {
        domain: dns.domain.clone(),
        right: lines.iter().all(|line| line.verdict == Verdict::Right),
        lines,
    }
}

fn line(name: &str, kind: &str, verdict: Verdict, why: String) -> CheckLine {
    CheckLine {
        name: name.to_owned(),
        kind: kind.to_owned(),
        verdict,
        why,
    }
}

/// Looks up one record and judges what is there.
async fn judge(names: &impl Names, dns: &DomainDns, record: &DnsRecord) -> Judgement {
    let kind = match record.kind.as_str() {
        "MX" => Kind::Mx,
        "A" => Kind::A,
        "AAAA" => Kind::Aaaa,
        "SRV" => Kind::Srv,
        "PTR" => Kind::Ptr,
        "TLSA" => Kind::Tlsa,
        _ => Kind::Txt,
    };
    let values = match names.records(&record.name, kind).await {
        Ok(values) => values,
        // No such name and no such record are the same to an operator: publish it.
        Err(NameFault::NoSuchDomain) => Vec::new(),
        Err(fault @ NameFault::Unavailable(_)) => return (Verdict::Unknown, fault.to_string()),
    };
    match kind {
        Kind::Mx => judge_exchangers(&values, &dns.host),
        Kind::Txt => judge_text(&texts(&values), dns, record),
        Kind::A | Kind::Aaaa | Kind::Srv | Kind::Ptr | Kind::Tlsa => judge_values(&values, record),
    }
}

/// The verdict on a record that is not there, with what to publish.
fn missing(what: &str) -> Judgement {
    (Verdict::Missing, format!("publish {what}"))
}

/// MX: mail must lead here. Other hosts beside this one may be meant.
fn judge_exchangers(values: &[Value], host: &str) -> Judgement {
    let hosts: Vec<String> = values
        .iter()
        .filter_map(|value| match value {
            Value::Exchanger(_, host) => Some(bare(host)),
            _ => None,
        })
        .collect();
    let others: Vec<&str> = hosts
        .iter()
        .map(String::as_str)
        .filter(|name| *name != host)
        .collect();
    match (hosts.is_empty(), hosts.len() > others.len()) {
        (true, _) => missing(&format!("10 {host}.")),
        (false, false) => (
            Verdict::Wrong,
            format!("mail goes to {}, not to {host}", others.join(", ")),
        ),
        (false, true) if others.is_empty() => (Verdict::Right, format!("mail goes to {host}")),
        (false, true) => (
            Verdict::Right,
            format!("mail goes to {host}, and to {}", others.join(", ")),
        ),
    }
}

/// Records that are as published here or not.
fn judge_values(values: &[Value], record: &DnsRecord) -> Judgement {
    let found: Vec<String> = values
        .iter()
        .filter_map(|value| match value {
            Value::Address(address) => Some(address.to_string()),
            Value::Name(name) => Some(format!("{}.", bare(name))),
            Value::Service {
                priority,
                weight,
                port,
                target,
            } => Some(format!("{priority} {weight} {port} {}.", bare(target))),
            Value::Certificate {
                usage,
                selector,
                matching,
                data,
            } => {
                let digits = data.iter().map(|byte| format!("{byte:02x}"));
                let digits: String = digits.collect();
                Some(format!("{usage} {selector} {matching} {digits}"))
            }
            Value::Exchanger(..) | Value::Text(_) => None,
        })
        .collect();
    // Where a service is offered is what matters, not in which order.
    let place = |data: &str| data.splitn(3, ' ').nth(2).unwrap_or(data).to_owned();
    // One of several is enough: a name may have more addresses than this machine.
    let is_there = found.iter().any(|data| {
        *data == record.value || record.kind == "SRV" && place(data) == place(&record.value)
    });
    match (found.is_empty(), is_there) {
        (true, _) if record.optional => (
            Verdict::Right,
            "it is not published, and need not be".to_owned(),
        ),
        (true, _) => missing(&record.value),
        (false, true) => (Verdict::Right, found.join(", ")),
        (false, false) => (
            Verdict::Wrong,
            format!("it says {}, not {}", found.join(", "), record.value),
        ),
    }
}

/// TXT: SPF, DMARC, TLS reporting or a key, by the name and by what the record begins with.
fn judge_text(found: &[String], dns: &DomainDns, record: &DnsRecord) -> Judgement {
    let (name, expected) = (record.name.as_str(), record.value.as_str());
    if name.contains("._domainkey.") {
        return judge_key(found, dns, record);
    }
    let version = expected.split([' ', ';']).next().unwrap_or(expected);
    let mine: Vec<&String> = found
        .iter()
        .filter(|text| has_version(text, version))
        .collect();
    match mine[..] {
        [] => missing(expected),
        [one] if version == "v=spf1" => judge_spf(one, dns, name),
        [one] if version == "v=DMARC1" => judge_dmarc(one),
        // Senders fetch a policy only when its id changes, so that a record which was not updated keeps the old policy in force elsewhere.
        [one] if version == "v=STSv1" => match tag(one, "id") == tag(expected, "id") {
            true => (Verdict::Right, one.clone()),
            false => (
                Verdict::Wrong,
                format!(
                    "it names another policy, and senders keep that one: publish {expected} ({one})"
                ),
            ),
        },
        [one] if tag(one, "rua").is_some() => (Verdict::Right, one.clone()),
        [one] => (Verdict::Wrong, format!("it has no rua=: {one}")),
        _ => (
            Verdict::Wrong,
            format!(
                "there are {} records with {version}, and receivers take none of them: leave one",
                mine.len()
            ),
        ),
    }
}

/// RFC 7208 §4.5: `v=spf1`, and then a space or nothing; the others are lists of tags.
fn has_version(text: &str, version: &str) -> bool {
    let text = text.trim_start();
    let begins = text
        .get(..version.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(version));
    let next = text
        .get(version.len()..)
        .and_then(|rest| rest.chars().next());
    begins && next.is_none_or(|next| matches!(next, ' ' | ';' | '\t'))
}

/// Whether it names this appliance, as far as that can be seen without evaluating it.
fn judge_spf(text: &str, dns: &DomainDns, name: &str) -> Judgement {
    let lower = text.to_ascii_lowercase();
    let terms: Vec<&str> = lower
        .split_ascii_whitespace()
        .skip(1)
        .map(|term| term.strip_prefix('+').unwrap_or(term))
        .collect();
    let by_host = [format!("a:{}", dns.host), format!("mx:{}", dns.domain)];
    let bare = if name == dns.host { "a" } else { "mx" };
    let is_named = |term: &&str| *term == bare || by_host.iter().any(|own| own == term);
    // `+all` or `all` anywhere ends the evaluation there; what stands behind it does not help.
    if terms.contains(&"all") {
        return (
            Verdict::Wrong,
            format!("it lets every host send for {name}: end it with -all ({text})"),
        );
    }
    if terms.iter().any(is_named) {
        return (Verdict::Right, text.to_owned());
    }
    let is_open = |term: &&str| {
        [
            "include:",
            "redirect=",
            "ip4:",
            "ip6:",
            "exists:",
            "a",
            "mx",
        ]
        .iter()
        .any(|begin| term.starts_with(begin))
    };
    match terms.iter().any(is_open) {
        true => (
            Verdict::Unknown,
            format!(
                "it does not name {bare}; see that one of its terms covers this appliance: {text}"
            ),
        ),
        false => (
            Verdict::Wrong,
            format!("it does not name this appliance: add {bare} ({text})"),
        ),
    }
}

/// DMARC (RFC 9989): a policy there must be; which one is the domain's decision.
fn judge_dmarc(text: &str) -> Judgement {
    match tag(text, "p").as_deref() {
        Some("none") => (Verdict::Right, format!("{text} (nothing is enforced yet)")),
        Some("quarantine" | "reject") => (Verdict::Right, text.to_owned()),
        _ => (
            Verdict::Wrong,
            format!("it has no p=none, p=quarantine or p=reject: {text}"),
        ),
    }
}

/// The record of a DKIM key, against the key that signs.
fn judge_key(found: &[String], dns: &DomainDns, record: &DnsRecord) -> Judgement {
    let wanted = tag(&record.value, "p");
    match found {
        [] if record.optional => (
            Verdict::Right,
            "the key is retired and its record is gone: `dkim remove` removes the key".to_owned(),
        ),
        [] => missing(&format!(
            "the record that `dkim show {} {}` shows",
            dns.domain,
            selector(record)
        )),
        [one] => match tag(one, "p") {
            found if found == wanted => (Verdict::Right, "it is the key".to_owned()),
            Some(empty) if empty.is_empty() => (
                Verdict::Wrong,
                "the record revokes the key (p= is empty)".to_owned(),
            ),
            Some(_) => (
                Verdict::Wrong,
                "the record has another key: `dkim show` shows the right one".to_owned(),
            ),
            None => (Verdict::Wrong, format!("it has no p=: {one}")),
        },
        _ => (
            Verdict::Wrong,
            format!(
                "there are {} TXT records: leave the one of the key",
                found.len()
            ),
        ),
    }
}

/// The addresses of the server's own name.
fn judge_host(addresses: &Result<Vec<IpAddr>, NameFault>) -> Judgement {
    match addresses {
        Ok(addresses) => {
            let each: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            (Verdict::Right, each.join(", "))
        }
        Err(NameFault::NoSuchDomain) => missing("its public address"),
        Err(fault) => (Verdict::Unknown, fault.to_string()),
    }
}

/// The reverse name of an address, which other servers look up before they take mail.
async fn judge_reverse(names: &impl Names, host: &str, address: IpAddr) -> Judgement {
    match names.names_of(address).await {
        Ok(found) if found.iter().any(|name| name == host) => (Verdict::Right, host.to_owned()),
        Ok(found) if !found.is_empty() => (
            Verdict::Wrong,
            format!("it says {}, not {host}", found.join(", ")),
        ),
        Ok(_) | Err(NameFault::NoSuchDomain) => (
            Verdict::Missing,
            format!("have the owner of the address point it to {host}"),
        ),
        Err(fault) => (Verdict::Unknown, fault.to_string()),
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    };
    values.iter().filter_map(text).collect()
}

/// The value of a tag of a list (RFC 6376 §3.2), without white space in it.
fn tag(text: &str, name: &str) -> Option<String> {
    let mut tags = text.split(';').filter_map(|tag| tag.split_once('='));
    let (_, value) = tags.find(|(found, _)| found.trim() == name)?;
    Some(value.chars().filter(|each| !each.is_whitespace()).collect())
}

/// The selector of a key's record.
fn selector(record: &DnsRecord) -> &str {
    let parts = record.name.split_once("._domainkey.");
    parts.map_or(&record.name, |(selector, _)| selector)
}

/// In lower case, without the dot at its end.
fn bare(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
