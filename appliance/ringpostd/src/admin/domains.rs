//! Domains whose mail is ours.

use crate::admin::shared::{Admin, Refused};

pub(crate) async fn add(admin: &Admin, domain: String) -> Result<(), Refused> {
    admin
        .mailboxes(async move |mailboxes| mailboxes.add_domain(&domain).await.map(|_| ()))
        .await
}

pub(crate) async fn list(admin: &Admin) -> Result<Vec<String>, Refused> {
    admin
        .mailboxes(async |mailboxes| Ok(mailboxes.domains()))
        .await
}

pub(crate) async fn remove(admin: &Admin, domain: String) -> Result<(), Refused> {
    admin
        .mailboxes(async move |mailboxes| mailboxes.remove_domain(&domain).await.map(|_| ()))
        .await
}
