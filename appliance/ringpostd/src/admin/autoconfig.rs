//! What mail programs ask for when a person adds an account: the autoconfig document (Thunderbird and its kin), autodiscover (Outlook, both
//! versions) and a profile (Apple Mail), served beside the policy of our domains.
//!
//! Not here: the PACC draft of the IETF (automatic configuration of mail, calendar and contact programs), because it is still a draft: what a program
//! asks for may change until it is an RFC.
//!
//! What must hold: an answer depends on the domain and on the listeners alone. No account is looked up, so that a stranger cannot find out who is
//! here; the login name is the address that was typed. A request is bounded, and nothing of it is written back except an address that is one.

use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use mail::Address;
use plan::{Plan, Service};

use crate::admin::policies::host_of;
use crate::admin::shared::{Admin, Refused};

mod apple;
mod query;
mod second;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The document of this domain.
    Config(String),
    /// The settings of the address in the body; `Some`: only if it is of this domain.
    Discover(Option<String>),
    /// Where those are, for an address of `domain`: at `host`, which was asked.
    Where { domain: String, host: String },
    /// The profile of this address.
    Profile(Address),
}

impl Asked {
    /// The media type of the answer.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Asked::Config(_) | Asked::Discover(_) => "text/xml; charset=utf-8",
            Asked::Where { .. } => "application/json",
            Asked::Profile(_) => "application/x-apple-aspen-config",
        }
    }
}

/// Octets of a request's body: an address and some words around it.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1_024;

/// The names under which programs ask, for a domain.
pub(crate) fn names(domain: &str) -> [String; 2] {
    [format!("{CONFIG}{domain}"), format!("{DISCOVER}{domain}")]
}

/// `None`: something else. `server`: the name of this host, which an SRV record may lead to.
pub(crate) fn asked(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    server: &str,
) -> Option<Asked> {
    let host = host_of(uri, headers)?.to_ascii_lowercase();
    let path = uri.path().to_ascii_lowercase();
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let of_config = host.strip_prefix(CONFIG);
    match path.as_str() {
        "/mail/config-v1.1.xml" if is_read => of_config.map(|of| Asked::Config(of.to_owned())),
        "/.well-known/autoconfig/mail/config-v1.1.xml" if is_read => {
            Some(Asked::Config(of_config.unwrap_or(&host).to_owned()))
        }
        "/autodiscover/autodiscover.xml" if *method == Method::POST => {
            let of = host.strip_prefix(DISCOVER);
            let is_server = of.is_none() && host.eq_ignore_ascii_case(server);
            let of = (!is_server).then(|| of.unwrap_or(&host).to_owned());
            Some(Asked::Discover(of))
        }
        apple::PATH if is_read => apple::asked(uri, of_config),
        path if is_read => second::asked(uri, path, &host, server),
        _ => None,
    }
}

/// The document. `Ok(None)`: the domain is not ours, or there is nothing to tell programs.
pub(crate) async fn answer(
    admin: &Admin,
    asked: Asked,
    body: &[u8],
) -> Result<Option<String>, Refused> {
    let (domain, wanted) = match asked {
        Asked::Config(domain) => (domain, Wanted::Config),
        Asked::Discover(of) => {
            let Some(address) = address_in(body) else {
                return Ok(None);
            };
            let domain = address.domain().to_lowercase();
            if of.is_some_and(|of| of != domain) {
                return Ok(None);
            }
            (domain, Wanted::Discover(address))
        }
        Asked::Where { domain, host } => (domain, Wanted::Where(host)),
        Asked::Profile(address) => (address.domain().to_lowercase(), Wanted::Profile(address)),
    };
    let of = domain.clone();
    let is_ours = admin.mailboxes(async move |mailboxes| Ok(mailboxes.has_domain(&of)));
    if !is_ours.await? || storage::quarantine::is_reserved(&domain) {
        return Ok(None);
    }
    let plan = admin.plan();
    Ok(match wanted {
        Wanted::Config => config(plan, &domain),
        Wanted::Discover(login) => discover(plan, &login),
        // Only where there is something behind it.
        Wanted::Where(host) => {
            let mut all = [READ, FETCH, SUBMIT].into_iter();
            let has_some = all.any(|services| !offers(plan, services).is_empty());
            has_some.then(|| second::document(&host))
        }
        Wanted::Profile(login) => apple::profile(plan, &login),
    })
}

/// What is written, once the domain is known to be ours.
enum Wanted {
    Config,
    Discover(Address),
    Where(String),
    Profile(Address),
}

/// A service as programs want it.
struct Offer {
    port: u16,
    /// TLS from the start; else STARTTLS.
    is_tls: bool,
}

/// The one with TLS from the start first (RFC 8314 §3).
fn offers(plan: &Plan, services: [Service; 2]) -> Vec<Offer> {
    let offer = |service: Service| {
        let listener = plan.listener(service)?;
        Some(Offer {
            port: listener.addresses.first()?.port(),
            is_tls: matches!(
                service,
                Service::Imaps | Service::Pop3s | Service::Submissions
            ),
        })
    };
    services.into_iter().filter_map(offer).collect()
}

const READ: [Service; 2] = [Service::Imaps, Service::Imap];
const FETCH: [Service; 2] = [Service::Pop3s, Service::Pop3];
const SUBMIT: [Service; 2] = [Service::Submissions, Service::Submission];

/// Thunderbird's config-v1.1.
fn config(plan: &Plan, domain: &str) -> Option<String> {
    let [read, fetch, submit] = [READ, FETCH, SUBMIT].map(|services| offers(plan, services));
    if read.is_empty() && fetch.is_empty() && submit.is_empty() {
        return None;
    }
    let (domain, host) = (escaped(domain), escaped(&plan.server_name));
    let server = |place: &str, kind: &str, offer: &Offer| {
        let socket = if offer.is_tls { "SSL" } else { "STARTTLS" };
        format!(
            "    <{place} type=\"{kind}\">\n      <hostname>{host}</hostname>\n      <port>{}</port>\n      <socketType>{socket}</socketType>\n      \
             <authentication>password-cleartext</authentication>\n      <username>%EMAILADDRESS%</username>\n    </{place}>\n",
            offer.port
        )
    };
    let read = read.iter().map(|one| server("incomingServer", "imap", one));
    // Behind IMAP: a program takes the first that it can use.
    let fetch = fetch
        .iter()
        .map(|one| server("incomingServer", "pop3", one));
    let submit = submit
        .iter()
        .map(|one| server("outgoingServer", "smtp", one));
    let servers: String = read.chain(fetch).chain(submit).collect();
    Some(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    <domain>{domain}</domain>\n    \
         <displayName>{domain}</displayName>\n    <displayShortName>{domain}</displayShortName>\n{servers}  </emailProvider>\n</clientConfig>\n"
    ))
}

/// Outlook's POX autodiscover; it takes one server of each kind.
fn discover(plan: &Plan, login: &Address) -> Option<String> {
    let host = escaped(&plan.server_name);
    let login = escaped(&login.to_string());
    let protocol = |kind: &str, offers: Vec<Offer>| {
        let first = offers.into_iter().next()?;
        let (ssl, encryption) = match first.is_tls {
            true => ("on", "SSL"),
            false => ("off", "TLS"),
        };
        Some(format!(
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{host}</Server>\n        <Port>{}</Port>\n        <DomainRequired>off</DomainRequired>\n        \
             <LoginName>{login}</LoginName>\n        <SPA>off</SPA>\n        <SSL>{ssl}</SSL>\n        <Encryption>{encryption}</Encryption>\n        \
             <AuthRequired>on</AuthRequired>\n      </Protocol>\n",
            first.port
        ))
    };
    let all = [
        protocol("IMAP", offers(plan, READ)),
        protocol("POP3", offers(plan, FETCH)),
        protocol("SMTP", offers(plan, SUBMIT)),
    ];
    let protocols: String = all.into_iter().flatten().collect();
    (!protocols.is_empty()).then(|| {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"{RESPONSE}2006\">\n  <Response xmlns=\"{OUTLOOK}2006a\">\n    <Account>\n      \
             <AccountType>email</AccountType>\n      <Action>settings</Action>\n{protocols}    </Account>\n  </Response>\n</Autodiscover>\n"
        )
    })
}

/// The address in an autodiscover request. Its one element is searched for, whatever its prefix: an XML reader would take entities and more.
fn address_in(body: &[u8]) -> Option<Address> {
    let text = std::str::from_utf8(body.get(..BODY_BYTES_MAX).unwrap_or(body)).ok()?;
    let (_, rest) = text.split_once("EMailAddress>")?;
    let (address, _) = rest.split_once('<')?;
    plain(address)
}

/// An address that needs no quotes: a program sends a login name, and what is taken goes into a document.
fn plain(text: &str) -> Option<Address> {
    let address = Address::from_path(text.trim())?;
    let is_plain = |c: char| c.is_alphanumeric() || "@.-_+".contains(c);
    address.to_string().chars().all(is_plain).then_some(address)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

const CONFIG: &str = "autoconfig.";
const DISCOVER: &str = "autodiscover.";
const RESPONSE: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/";
const OUTLOOK: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/";

#[cfg(test)]
mod tests {
    use hyper::header::{HOST, HeaderValue};

    use super::*;

    fn ask(method: Method, host: &str, path: &str) -> Option<Asked> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).expect("a host"));
        let uri: Uri = path.parse().expect("a path");
        asked(&method, &uri, &headers, "mx.example.org")
    }

    #[test]
    fn a_program_asks_under_the_name_of_the_domain() {
        let document = "/mail/config-v1.1.xml?emailaddress=bob%40example.org";
        let known = "/.well-known/autoconfig/mail/config-v1.1.xml";
        let config = |of: &str| Some(Asked::Config(of.to_owned()));
        for (host, path, wanted) in [
            ("autoconfig.example.org", document, config("example.org")),
            (
                "Autoconfig.Example.org:443",
                document,
                config("example.org"),
            ),
            ("example.org", known, config("example.org")),
            ("autoconfig.example.org", known, config("example.org")),
            ("example.org", document, None),
            ("autoconfig.example.org", "/", None),
        ] {
            assert_eq!(ask(Method::GET, host, path), wanted, "{host} {path}");
            assert_eq!(ask(Method::POST, host, path), None);
        }
        let path = "/Autodiscover/Autodiscover.xml";
        let discover = |host: &str| ask(Method::POST, host, path);
        let of = Some(Asked::Discover(Some("example.org".to_owned())));
        assert_eq!(discover("autodiscover.example.org"), of);
        assert_eq!(discover("example.org"), of);
        assert_eq!(discover("mx.example.org"), Some(Asked::Discover(None)));
        assert_eq!(ask(Method::GET, "autodiscover.example.org", path), None);
    }

    #[test]
    fn an_address_is_found_in_a_request_and_nothing_else_is_taken() {
        let body = |address: &str| {
            format!(
                "<?xml version=\"1.0\"?><Autodiscover><Request><EMailAddress>{address}</EMailAddress></Request></Autodiscover>"
            )
        };
        let found = |address: &str| address_in(body(address).as_bytes()).map(|one| one.to_string());
        assert_eq!(
            found(" bob@example.org ").as_deref(),
            Some("bob@example.org")
        );
        for bad in [
            "bob",
            "",
            "\"<x>\"@example.org",
            "b&amp;o@example.org",
            "a b@example.org",
        ] {
            assert_eq!(found(bad), None, "{bad}");
        }
        assert_eq!(address_in(b"<EMailAddress>bob@example.org"), None);
        assert_eq!(address_in(&[0xff; 99]), None);
        let long = format!("{}{}", " ".repeat(BODY_BYTES_MAX), body("bob@example.org"));
        assert_eq!(address_in(long.as_bytes()), None);
    }

    /// Requests with some bytes changed, cut off or doubled: no panic, and whatever is taken can stand in a document as it is.
    #[test]
    fn hostile_bytes_are_refused_or_give_a_plain_address() {
        const WHOLE: &[u8] = b"<a:EMailAddress>b.o+b@example.org</a:EMailAddress><EMailAddress>";
        const ODD: &[u8] = b"<>&\"'@.\\ \r\n\0\x7f\x80\xc3\xa9\xff[]();:,";
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005);
            random = random.wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let mut taken = 0;
        for _ in 0..20_000 {
            let mut body = WHOLE.to_vec();
            for _ in 0..next(4) {
                let at = next(body.len());
                match next(3) {
                    0 => body[at] = ODD[next(ODD.len())],
                    1 => body.insert(at, ODD[next(ODD.len())]),
                    _ => body.truncate(at.max(1)),
                }
            }
            let Some(address) = address_in(&body) else {
                continue;
            };
            taken += 1;
            let text = address.to_string();
            assert_eq!(escaped(&text), text);
            assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()));
        }
        assert!(taken > 1_000, "most of {taken} are as they were");
    }

    #[test]
    fn what_is_written_is_xml() {
        assert_eq!(escaped("a<b>&\"c"), "a&lt;b&gt;&amp;&quot;c");
    }
}
