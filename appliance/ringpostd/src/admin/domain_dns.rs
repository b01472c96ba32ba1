//! `domain dns`: the DNS records to publish for a domain, from its keys, this appliance's host name and its listeners.
//!
//! Pure but for `gather`. That of a policy (MTA-STS) is among them where the settings say that our domains have one: a record without the policy
//! would do nothing.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ::admin::dns_records::{DnsRecord, DomainDns};
use ::dkim::{ascii_domain, strings};
use client::relay::{authorities, dane};
use mail::Address;
use mailbox::{DkimKey, DkimState};
use plan::Service;
use storage::addresses::{self, Meaning};

use crate::admin::shared::{Admin, Refused};
use crate::admin::{autoconfig, dkim, policies};

/// What the records are made of.
pub(crate) struct Facts {
    /// In A-labels.
    pub domain: String,
    pub host: String,
    pub keys: Vec<DkimKey>,
    /// Public addresses of this machine; empty where they are not known here.
    pub addresses: Vec<IpAddr>,
    /// Where mail is taken in from servers.
    pub smtp: Vec<SocketAddr>,
    /// What mail programs use.
    pub services: Vec<(Service, u16)>,
    /// What a TLSA record says of the certificate that listeners show.
    pub certificate: Option<String>,
    /// Whether reports are taken: postmaster@ the domain is an address here.
    pub has_postmaster: bool,
    /// The policy of our domains (MTA-STS).
    pub policy: Option<sts::Policy>,
    /// Where it is served from here.
    pub policy_listeners: Vec<SocketAddr>,
    /// The certificate that listeners show is for the name of the policy server too.
    pub names_policy_server: bool,
    /// And for both names under which mail programs ask for their settings.
    pub names_programs: bool,
}

/// Looks at what the daemon knows.
pub(crate) async fn gather(admin: &Admin, domain: String) -> Result<Facts, Refused> {
    let keys = dkim::keys(admin, domain.clone()).await?;
    let postmaster = Address::from_parts("postmaster", &domain).ok_or("not a domain")?;
    // An alias or a group takes them as well: they are read where they come in.
    let found = admin.mailboxes(async move |mailboxes| {
        let meaning = addresses::meaning(&mailboxes, &postmaster).await?;
        Ok(!matches!(
            meaning,
            Meaning::NoMailbox | Meaning::NotOurs | Meaning::Routed
        ))
    });
    let has_postmaster = found.await?;
    let plan = admin.plan();
    let port = |service: Service| {
        let listener = plan.listener(service)?;
        Some((service, listener.addresses.first()?.port()))
    };
    let services = [
        Service::Submissions,
        Service::Imaps,
        Service::Submission,
        Service::Imap,
        Service::Pop3s,
        Service::Pop3,
        Service::Managesieve,
    ];
    let policy_server = format!("mta-sts.{}", ascii_domain(&domain));
    let listeners = |service: Service| {
        let listener = plan.listener(service);
        listener.map_or(Vec::new(), |listener| listener.addresses.clone())
    };
    let addresses = tokio::task::spawn_blocking(|| {
        let network = hardware::network::look(Path::new("/"), &hardware::network::addresses());
        let all = network.links.into_iter().flat_map(|link| link.addresses);
        let bare = all.filter_map(|address| {
            let bare = address.split('/').next()?;
            bare.parse().ok()
        });
        bare.filter(is_public).collect()
    });
    Ok(Facts {
        domain: ascii_domain(&domain),
        host: ascii_domain(&plan.server_name),
        keys,
        addresses: addresses.await.map_err(|error| error.to_string())?,
        smtp: listeners(Service::Smtp),
        policy: policies::of(plan),
        policy_listeners: listeners(Service::Policy),
        names_policy_server: admin
            .certificate()
            .chain()
            .first()
            .is_some_and(|der| authorities::names(der, &policy_server)),
        names_programs: admin.certificate().chain().first().is_some_and(|der| {
            let names = autoconfig::names(&ascii_domain(&domain));
            names.iter().all(|name| authorities::names(der, name))
        }),
        services: services.into_iter().filter_map(port).collect(),
        certificate: admin
            .certificate()
            .chain()
            .first()
            .and_then(|der| dane::published(der)),
        has_postmaster,
    })
}

/// The records in the order in which they are best published.
pub(crate) fn records(facts: &Facts) -> Result<DomainDns, Refused> {
    let (domain, host) = (&facts.domain, &facts.host);
    // Letters that no internationalised name has (RFC 5892) are taken for a domain; DNS cannot have it.
    if let Some(name) = [domain, host].into_iter().find(|name| !name.is_ascii()) {
        return Err(format!(
            "{name} has no spelling in ASCII (xn--), and so no DNS records: it is not a valid internationalised name"
        ));
    }
    let mut records = Vec::new();
    let mut put = |name: &str, kind: &str, value: &str, why: &str| {
        let data = match kind {
            "TXT" => strings(value),
            _ => value.to_owned(),
        };
        records.push(DnsRecord {
            name: name.to_owned(),
            kind: kind.to_owned(),
            zone: format!("{name}. IN {kind} {data}"),
            value: value.to_owned(),
            why: why.to_owned(),
            optional: false,
        });
    };
    for address in &facts.addresses {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        let why = "The address of this appliance.";
        put(host, kind, &address.to_string(), why);
    }
    let why = "Mail for the domain comes to this appliance.";
    put(domain, "MX", &format!("10 {host}."), why);
    let why = "SPF: the hosts of the MX record send mail for the domain. Name other senders too, then change ~all to -all.";
    put(domain, "TXT", SPF, why);
    // A name without a dot is not one that receivers look up.
    if host != domain && host.contains('.') {
        let why = "SPF of the host name itself: reports about undelivered mail are sent under it.";
        put(host, "TXT", HOST_SPF, why);
    }
    for key in &facts.keys {
        let shown = dkim::detail(key)?;
        let why = match key.state {
            DkimState::Made => {
                "DKIM: a key that does not sign yet. Publish it, then `dkim activate`."
            }
            DkimState::Active => "DKIM: the key that signs.",
            DkimState::Retired => {
                "DKIM: a retired key. Keep it published for a week, delete it, then `dkim remove`."
            }
        };
        put(&shown.record_name, "TXT", &shown.record_text, why);
    }
    let retired = facts
        .keys
        .iter()
        .filter(|key| key.state == DkimState::Retired);
    let retired: Vec<String> = retired.map(dkim::record_name).collect();
    let reports = format!("mailto:postmaster@{domain}");
    let (dmarc, why) = match facts.has_postmaster {
        true => (
            format!("v=DMARC1; p=none; rua={reports}"),
            "DMARC: receivers report and deliver. When the reports show that all your mail passes, raise p=none to p=quarantine, then to p=reject.",
        ),
        false => (
            "v=DMARC1; p=none".to_owned(),
            "DMARC: nothing is enforced. When all your mail passes, raise p=none to p=quarantine, then to p=reject.",
        ),
    };
    put(&format!("_dmarc.{domain}"), "TXT", &dmarc, why);
    if facts.has_postmaster {
        let why =
            "TLS-RPT: servers report to you when they could not reach the appliance over TLS.";
        let text = format!("v=TLSRPTv1; rua={reports}");
        put(&format!("_smtp._tls.{domain}"), "TXT", &text, why);
    }
    if let Some(policy) = &facts.policy {
        if !facts.policy_listeners.is_empty() {
            for address in &facts.addresses {
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                let why = "MTA-STS: senders fetch the policy of the domain from here.";
                put(&policy_server(domain), kind, &address.to_string(), why);
            }
        }
        let why = "MTA-STS: the domain has a policy, and this is the name of the present one. Publish it last, and again whenever it changes.";
        let text = format!("v=STSv1; id={};", policies::id(policy));
        put(&format!("_mta-sts.{domain}"), "TXT", &text, why);
    }
    let place = format!("_25._tcp.{host}");
    if let Some(certificate) = &facts.certificate {
        let why = "DANE: servers insist on TLS with the key of this appliance. Only where the zone of the host is signed (DNSSEC); publish the next key before a certificate with another key is installed.";
        put(&place, "TLSA", certificate, why);
    }
    // Where there is something to tell programs.
    if !facts.policy_listeners.is_empty() && !facts.services.is_empty() {
        for name in autoconfig::names(domain) {
            for address in &facts.addresses {
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                let why =
                    "Mail programs fetch their settings from here when a person adds an account.";
                put(&name, kind, &address.to_string(), why);
            }
        }
        let why = "Outlook finds its settings at this host, whose name the certificate has.";
        let data = format!("0 1 443 {host}.");
        put(&format!("_autodiscover._tcp.{domain}"), "SRV", &data, why);
    }
    for (service, port) in &facts.services {
        let Some((label, why)) = service_record(*service) else {
            continue;
        };
        // RFC 6186 §3.4: IMAP before POP3; RFC 8314 §5.1: TLS from the start before STARTTLS.
        let priority = match service {
            Service::Submission | Service::Imap => 1,
            Service::Pop3s => 10,
            Service::Pop3 => 11,
            _ => 0,
        };
        let data = format!("{priority} 1 {port} {host}.");
        put(&format!("{label}._tcp.{domain}"), "SRV", &data, why);
    }
    for address in &facts.addresses {
        let why = "The owner of the address (your provider) sets this. Many servers refuse mail from an address without it.";
        put(&reverse(*address), "PTR", &format!("{host}."), why);
    }
    let [config, discover] = autoconfig::names(domain);
    let service = format!("_autodiscover._tcp.{domain}");
    for record in &mut records {
        let is_for_programs = [&config, &discover, &service].contains(&&record.name);
        let is_unneeded = record.name == place || is_for_programs;
        record.optional = retired.contains(&record.name) || is_unneeded;
    }
    Ok(DomainDns {
        domain: domain.clone(),
        host: host.clone(),
        records,
        notes: notes(facts),
    })
}

fn notes(facts: &Facts) -> Vec<String> {
    let (domain, host) = (&facts.domain, &facts.host);
    let mut notes = Vec::new();
    if !host.contains('.') {
        notes.push(format!("the host name of this appliance, {host}, is not a name that other servers can look up: set `server.name` to one"));
    }
    if facts.addresses.is_empty() {
        notes.push(format!("no public address is known here: publish A and AAAA records of {host}, and have the owner of each address point its PTR record to {host}"));
    }
    if !facts.smtp.iter().any(|address| address.port() == 25) {
        notes.push("no listener for SMTP uses port 25: other servers cannot deliver to this appliance, unless a device in front forwards port 25 to it".to_owned());
    }
    if !facts.keys.iter().any(|key| key.state != DkimState::Retired) {
        notes.push(format!(
            "the domain has no DKIM key, and its mail is not signed: ringpostctl dkim make {domain}"
        ));
    }
    if let Some(policy) = &facts.policy {
        let server = policy_server(domain);
        let is_served = !facts.policy_listeners.is_empty();
        if !is_served {
            notes.push(format!("the policy (MTA-STS) is not served from here: set `listen.policy`, or have another web server serve these lines as https://{server}/.well-known/mta-sts.txt, as text/plain: {}", policy.lines().join("; ")));
        } else if !facts.policy_listeners.iter().any(|one| one.port() == 443) {
            notes.push("the policy (MTA-STS) is not served on port 443: senders cannot fetch it, unless a device in front forwards port 443".to_owned());
        }
        if is_served && facts.addresses.is_empty() {
            notes.push(format!("publish A and AAAA records of {server} too: senders fetch the policy (MTA-STS) from it"));
        }
        if is_served && !facts.names_policy_server {
            notes.push(format!("the certificate of this appliance is not for {server}: senders do not take the policy (MTA-STS) from it"));
        }
    }
    if !facts.policy_listeners.is_empty() && !facts.services.is_empty() && !facts.names_programs {
        let [config, discover] = autoconfig::names(domain);
        notes.push(format!("the certificate of this appliance is not for {config} and {discover}: most mail programs do not take their settings from it then"));
    }
    if !facts.has_postmaster {
        notes.push(format!("no address takes reports: add the account or the alias postmaster@{domain}, and this command shows where DMARC and TLS reports go"));
    }
    notes
}

/// RFC 8461 §3.3.
pub(crate) fn policy_server(domain: &str) -> String {
    format!("mta-sts.{domain}")
}

/// RFC 6186 §3.1, §3.2; RFC 8314 §5.1 for the two with implicit TLS, which clients shall prefer.
fn service_record(service: Service) -> Option<(&'static str, &'static str)> {
    Some(match service {
        Service::Submissions => (
            "_submissions",
            "Mail programs find where to submit mail (TLS from the start).",
        ),
        Service::Imaps => (
            "_imaps",
            "Mail programs find where to read mail (TLS from the start).",
        ),
        Service::Submission => (
            "_submission",
            "Mail programs find where to submit mail (STARTTLS).",
        ),
        Service::Imap => ("_imap", "Mail programs find where to read mail (STARTTLS)."),
        Service::Pop3s => (
            "_pop3s",
            "Mail programs find where to fetch mail by POP3 (TLS from the start).",
        ),
        Service::Pop3 => (
            "_pop3",
            "Mail programs find where to fetch mail by POP3 (STLS).",
        ),
        // RFC 5804 §1.8.
        Service::Managesieve => (
            "_sieve",
            "Mail programs find where to store the scripts that filter mail (ManageSieve).",
        ),
        _ => return None,
    })
}

/// The name of the PTR record of an address (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev();
            let labels = nibbles.map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            labels.collect::<String>() + "ip6.arpa"
        }
    }
}

/// Whether other hosts of the Internet can reach it (RFC 6890).
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_documentation()
                || is_shared)
        }
        // Global unicast, 2000::/3.
        IpAddr::V6(address) => address.segments()[0] & 0xe000 == 0x2000,
    }
}

/// `~all` (softfail) at first: what was forgotten is marked, not refused.
pub(crate) const SPF: &str = "v=spf1 mx ~all";
pub(crate) const HOST_SPF: &str = "v=spf1 a -all";

#[cfg(test)]
pub(crate) mod tests {
    use ::dkim::{Algorithm, SigningKey};
    use mailbox::{DkimAlgorithm, PrivateKey};

    use super::*;

    pub(crate) fn key(selector: &str, state: DkimState) -> DkimKey {
        let made = SigningKey::generate(Algorithm::Ed25519Sha256).unwrap();
        DkimKey {
            domain: "example.org".into(),
            selector: selector.into(),
            algorithm: DkimAlgorithm::Ed25519,
            state,
            made_unix_s: 0,
            private: PrivateKey::new(&made).unwrap(),
        }
    }

    pub(crate) fn facts() -> Facts {
        Facts {
            domain: "example.org".into(),
            host: "mx.example.org".into(),
            keys: vec![key("e1", DkimState::Active), key("e2", DkimState::Made)],
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            smtp: vec!["0.0.0.0:25".parse().unwrap()],
            services: vec![
                (Service::Submissions, 465),
                (Service::Imap, 143),
                (Service::Pop3s, 995),
            ],
            certificate: Some(format!("3 1 1 {}", "ab".repeat(32))),
            has_postmaster: true,
            policy: sts::Policy::parse(
                b"version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: 86400\n",
            )
            .ok(),
            policy_listeners: vec!["0.0.0.0:443".parse().unwrap()],
            names_policy_server: true,
            names_programs: true,
        }
    }

    #[test]
    fn every_record_is_a_line_with_its_reason() {
        let dns = records(&facts()).unwrap();
        let lines: Vec<&str> = dns
            .records
            .iter()
            .map(|record| record.zone.as_str())
            .collect();
        let dkim = |selector: &str| {
            let name =
                format!("{selector}._domainkey.example.org. IN TXT \"v=DKIM1; k=ed25519; p=");
            lines.iter().filter(|line| line.starts_with(&name)).count()
        };
        assert_eq!((dkim("e1"), dkim("e2")), (1, 1));
        for expected in [
            "mx.example.org. IN A 192.0.2.1",
            "mx.example.org. IN AAAA 2001:db8::1",
            "example.org. IN MX 10 mx.example.org.",
            "example.org. IN TXT \"v=spf1 mx ~all\"",
            "mx.example.org. IN TXT \"v=spf1 a -all\"",
            "_dmarc.example.org. IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@example.org\"",
            "_smtp._tls.example.org. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"",
            "_25._tcp.mx.example.org. IN TLSA 3 1 1 abababababababababababababababababababababababababababababababab",
            "mta-sts.example.org. IN A 192.0.2.1",
            "mta-sts.example.org. IN AAAA 2001:db8::1",
            "autoconfig.example.org. IN A 192.0.2.1",
            "autodiscover.example.org. IN AAAA 2001:db8::1",
            "_autodiscover._tcp.example.org. IN SRV 0 1 443 mx.example.org.",
            "_submissions._tcp.example.org. IN SRV 0 1 465 mx.example.org.",
            "_imap._tcp.example.org. IN SRV 1 1 143 mx.example.org.",
            "_pop3s._tcp.example.org. IN SRV 10 1 995 mx.example.org.",
            "1.2.0.192.in-addr.arpa. IN PTR mx.example.org.",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. IN PTR mx.example.org.",
        ] {
            assert!(lines.contains(&expected), "{expected} in {lines:#?}");
        }
        let policy = lines
            .iter()
            .filter(|line| line.starts_with("_mta-sts.example.org. IN TXT \"v=STSv1; id="));
        assert_eq!(policy.count(), 1);
        assert_eq!(lines.len(), 23);
        assert!(dns.records.iter().all(|record| record.why.ends_with('.')));
        assert_eq!(dns.notes, Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_here_is_noted_and_no_record_leads_nowhere() {
        let bare = Facts {
            host: "box".into(),
            keys: vec![key("old", DkimState::Retired)],
            addresses: vec![],
            smtp: vec!["127.0.0.1:2525".parse().unwrap()],
            services: vec![],
            certificate: None,
            has_postmaster: false,
            policy: None,
            ..facts()
        };
        let dns = records(&bare).unwrap();
        assert_eq!(dns.notes.len(), 5, "{:#?}", dns.notes);
        let has = |text: &str| dns.records.iter().any(|record| record.zone.contains(text));
        assert!(
            !has("a -all") && !has("rua=") && !has("SRV") && !has("PTR") && has("old._domainkey")
        );
        let optional = dns.records.iter().filter(|record| record.optional);
        let names: Vec<&str> = optional.map(|record| record.name.as_str()).collect();
        assert_eq!(names, ["old._domainkey.example.org"]);
    }

    #[test]
    fn what_keeps_senders_from_the_policy_is_noted() {
        let notes = |change: fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            records(&facts).unwrap().notes
        };
        for (change, wanted) in [
            (
                (|facts| facts.policy_listeners.clear()) as fn(&mut Facts),
                "mx: mx.example.org; max_age: 86400",
            ),
            (|facts| facts.policy_listeners[0].set_port(8443), "port 443"),
            (
                |facts| facts.names_policy_server = false,
                "not for mta-sts.example.org",
            ),
        ] {
            let notes = notes(change);
            assert_eq!(notes.len(), 1, "{notes:#?}");
            assert!(notes[0].contains(wanted), "{notes:#?}");
        }
        let programs = Facts {
            names_programs: false,
            ..facts()
        };
        let notes = records(&programs).unwrap().notes;
        assert!(notes[0].contains("autodiscover.example.org"), "{notes:#?}");
        let off = Facts {
            policy: None,
            ..facts()
        };
        let dns = records(&off).unwrap();
        assert!(!dns.records.iter().any(|one| one.zone.contains("mta-sts")));
    }

    #[test]
    fn a_domain_that_dns_cannot_have_is_refused() {
        // Accounts can be made in both; U+0378 is not assigned.
        for bad in ["\u{fc}\u{378}.example", "\u{300}a.example"] {
            let domain = ascii_domain(bad);
            let facts = Facts { domain, ..facts() };
            let refused = records(&facts).unwrap_err();
            assert!(
                refused.starts_with(bad) && refused.contains("ASCII"),
                "{refused}"
            );
        }
        let host = ascii_domain("mx.\u{300}a.example");
        assert!(records(&Facts { host, ..facts() }).is_err());
        let domain = ascii_domain("b\u{fc}cher.example");
        assert!(records(&Facts { domain, ..facts() }).is_ok());
    }

    #[test]
    fn an_address_of_a_private_network_is_not_published() {
        for (address, expected) in [
            ("203.1.0.1", true),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("169.254.1.1", false),
            ("127.0.0.1", false),
            ("2a00::1", true),
            ("fe80::1", false),
            ("fd00::1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(is_public(&address), expected, "{address}");
        }
    }
}
