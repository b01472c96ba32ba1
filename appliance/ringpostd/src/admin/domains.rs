//! Domains whose mail is ours.

use ::admin::request::Request;
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about domains.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::DomainAdd { domain } => document(&add(admin, domain).await?),
        Request::DomainList => document(&list(admin).await?),
        Request::DomainRemove { domain } => document(&remove(admin, domain).await?),
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
