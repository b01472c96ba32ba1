//! Whether the host of an address for reports wants them: only within one organization that goes without saying (RFC 9990 §4, RFC 9991 §4).
//!
//! What must hold: what cannot be looked up permits nothing now, and is asked again; a host sends reports to no other host.

use dns::{NameFault, Names};

use crate::dmarc::{begins_as_record, organization, walk};
use crate::{Ask, domain_of, tags};

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Reports may go there; `Some`: to this list of addresses instead, all of which are to be at the same host.
    Yes(Option<String>),
    No,
    /// It may be known later.
    Unknown,
}

/// Whether reports about `domain`, whose own record is there, may go to `host`. `tag`: `rua` or `ruf`.
pub async fn permits<N: Names>(
    ask: &Ask<'_, N>,
    domain: &str,
    host: &str,
    tag: &str,
) -> Permission {
    let (domain, host) = (domain_of(domain), domain_of(host));
    ask.begin_part();
    let (of_domain, of_host) = (walk(ask, &domain).await, walk(ask, &host).await);
    match (&of_domain, &of_host) {
        _ if domain == host => return Permission::Yes(None),
        ((one, true), (other, true)) => {
            if organization(one, &domain) == organization(other, &host) {
                return Permission::Yes(None);
            }
        }
        _ => return Permission::Unknown,
    }
    let name = format!("{domain}._report._dmarc.{host}");
    // RFC 1035 §2.3.4.
    if name.len() > NAME_BYTES_MAX {
        return Permission::No;
    }
    let texts = match ask.texts(&name).await {
        Ok(texts) => texts,
        Err(NameFault::NoSuchDomain) => return Permission::No,
        Err(NameFault::Unavailable(_)) => return Permission::Unknown,
    };
    let mut permission = Permission::No;
    for text in texts.iter().filter(|text| begins_as_record(text)) {
        let Some(tags) = tags::parse(text) else {
            continue;
        };
        match tags::value(&tags, tag) {
            Some(list) => return Permission::Yes(Some(list.to_owned())),
            None => permission = Permission::Yes(None),
        }
    }
    permission
}

const NAME_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use device::sim::SimWorld;
    use dns::Table;

    use super::*;

    #[test]
    fn another_organization_must_say_that_it_wants_reports() {
        let world = SimWorld::new(1);
        let names = Table::new(&world.io().host, 1);
        world.block_on(async {
            names.set_texts("_dmarc.a.example", &["v=DMARC1; p=none"]);
            names.set_texts("_dmarc.b.example", &["v=DMARC1; p=none"]);
            let permitted = "a.example._report._dmarc.";
            names.set_texts(&format!("{permitted}b.example"), &["v=DMARC1"]);
            names.set_texts(
                &format!("{permitted}c.example"),
                &["v=DMARC1; rua=mailto:d@c.example;"],
            );
            names.set_texts(&format!("{permitted}d.example"), &["v=spf1", "DMARC1"]);
            names.set_failing(&format!("{permitted}e.example"), Some("SERVFAIL"));
            let now_us = || 0;
            let ask = Ask::new(&names, &now_us);
            let of = async |host: &str| permits(&ask, "A.example", host, "rua").await;
            assert_eq!(of("a.example").await, Permission::Yes(None));
            assert_eq!(of("reports.a.example").await, Permission::Yes(None));
            assert_eq!(of("b.example").await, Permission::Yes(None));
            let elsewhere = Some("mailto:d@c.example".to_owned());
            assert_eq!(of("c.example").await, Permission::Yes(elsewhere));
            assert_eq!(of("d.example").await, Permission::No);
            assert_eq!(of("e.example").await, Permission::Unknown);
            assert_eq!(of("f.example").await, Permission::No);
        });
    }
}
