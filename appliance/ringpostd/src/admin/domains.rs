//! Domains whose mail is ours.

use ::admin::dns_records::{DomainCheck, DomainDns};
use ::admin::request::Request;
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};
use crate::admin::{domain_check, domain_dns};

/// Performs a request about domains.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::DomainAdd { domain } => document(&add(admin, domain).await?),
        Request::DomainList => document(&list(admin).await?),
        Request::DomainRemove { domain } => document(&remove(admin, domain).await?),
        Request::DomainDns { domain } => document(&dns(admin, domain).await?),
        Request::DomainCheck { domain } => document(&check(admin, domain).await?),
        _ => Err("not about domains".into()),
    }
}

async fn add(admin: &Admin, domain: String) -> Result<(), Refused> {
    admin
        .mailboxes(async move |mailboxes| mailboxes.add_domain(&domain).await.map(|_| ()))
        .await
}

async fn list(admin: &Admin) -> Result<Vec<String>, Refused> {
    admin
        .mailboxes(async |mailboxes| Ok(mailboxes.domains()))
        .await
}

async fn remove(admin: &Admin, domain: String) -> Result<(), Refused> {
    admin
        .mailboxes(async move |mailboxes| mailboxes.remove_domain(&domain).await.map(|_| ()))
        .await
}

async fn dns(admin: &Admin, domain: String) -> Result<DomainDns, Refused> {
    domain_dns::records(&domain_dns::gather(admin, domain).await?)
}

/// With a resolver of its own, which has nothing in its cache: what was published a moment ago is seen as far as the name servers see it.
async fn check(admin: &Admin, domain: String) -> Result<DomainCheck, Refused> {
    let dns = dns(admin, domain).await?;
    let names = crate::cores::names(admin.plan());
    Ok(domain_check::check(&names, &dns).await)
}
