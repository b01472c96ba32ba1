//! The policy of our own domains (MTA-STS, RFC 8461): what strangers fetch, and the record that names it.
//!
//! The name of a policy is made of its text, so that it changes when the policy does and at no other time.

use base::BodyName;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Uri};
use plan::{Plan, PolicyMode};
use sts::{Mode, Pattern, Policy};

use crate::admin::shared::{Admin, Refused};

/// Where a policy is (RFC 8461 §3.3).
const PATH: &str = "/.well-known/mta-sts.txt";
const DAY_S: u64 = 86_400;

/// One for all our domains: their mail comes to this host. `None`: they have none, or the host has no name that a policy can have.
pub(crate) fn of(plan: &Plan) -> Option<Policy> {
    let mode = match plan.policy {
        PolicyMode::Off => return None,
        PolicyMode::Testing => Mode::Testing,
        PolicyMode::Enforce => Mode::Enforce,
        PolicyMode::None => Mode::None,
    };
    // RFC 8461 §3.2, §10.2: weeks where it is enforced, so that a day without our server leaves no gap; short where it may have to change.
    let max_age_s = match mode {
        Mode::Enforce => 14 * DAY_S,
        Mode::Testing | Mode::None => DAY_S,
    };
    let host = Pattern::of(&dkim::ascii_domain(&plan.server_name))?;
    Some(Policy {
        mode,
        max_age_s,
        patterns: vec![host],
    })
}

/// The `id` of its record.
pub(crate) fn id(policy: &Policy) -> String {
    let name = BodyName::of(policy.text().as_bytes()).to_string();
    name[..ID_BYTES].to_owned()
}

/// The domain whose policy a request asks for. `None`: it asks for something else.
pub(crate) fn asked<'r>(method: &Method, uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let host = host_of(uri, headers)?;
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let begin = host.get(..BEGIN.len())?;
    let is_policy = begin.eq_ignore_ascii_case(BEGIN) && uri.path() == PATH && is_read;
    host.get(BEGIN.len()..).filter(|_| is_policy)
}

/// The host that a request names, without its port.
pub(crate) fn host_of<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let host = match uri.host() {
        Some(host) => host,
        None => headers.get(HOST)?.to_str().ok()?,
    };
    host.split(':').next()
}

/// The policy of `domain`, in any spelling. `Ok(None)`: it is not ours, or has none.
pub(crate) async fn text(admin: &Admin, domain: &str) -> Result<Option<String>, Refused> {
    let Some(policy) = of(admin.plan()) else {
        return Ok(None);
    };
    let domain = domain.to_owned();
    let found = admin.mailboxes(async move |mailboxes| Ok(mailboxes.has_domain(&domain)));
    Ok(found.await?.then(|| policy.text()))
}

const BEGIN: &str = "mta-sts.";
/// 80 bits of the hash: two policies of one domain never meet.
const ID_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_request_asks_for_the_policy_of_the_host_that_it_names() {
        let ask = |method: Method, uri: &str, host: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            }
            let uri: Uri = uri.parse().unwrap();
            asked(&method, &uri, &headers).map(str::to_owned)
        };
        let get = |host| ask(Method::GET, PATH, host);
        for host in ["mta-sts.example.org", "MTA-STS.example.org:443"] {
            assert_eq!(get(Some(host)).as_deref(), Some("example.org"), "{host}");
        }
        let whole = format!("https://mta-sts.example.org{PATH}");
        let head = ask(Method::HEAD, &whole, Some("mta-sts.other.example"));
        assert_eq!(head.as_deref(), Some("example.org"));
        for host in [None, Some("example.org"), Some("mta-sts"), Some("")] {
            assert_eq!(get(host), None, "{host:?}");
        }
        let host = Some("mta-sts.example.org");
        assert_eq!(ask(Method::POST, PATH, host), None);
        for path in ["/", "/metrics", "/.well-known/mta-sts.txt/"] {
            assert_eq!(ask(Method::GET, path, host), None, "{path}");
        }
    }

    #[test]
    fn the_name_of_a_policy_changes_with_it() {
        let policy = |mode, max_age_s, host: &str| Policy {
            mode,
            max_age_s,
            patterns: vec![Pattern::of(host).unwrap()],
        };
        let one = policy(Mode::Testing, 1, "mx.example.org");
        assert_eq!(id(&one), id(&one.clone()));
        assert!(sts::is_id(&id(&one)));
        for other in [
            policy(Mode::Enforce, 1, "mx.example.org"),
            policy(Mode::Testing, 2, "mx.example.org"),
            policy(Mode::Testing, 1, "mx.example.net"),
        ] {
            assert_ne!(id(&one), id(&other));
        }
    }
}
