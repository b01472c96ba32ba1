//! What a scanner finds in a message that a person submits: a virus refuses it. Nothing is added to it, and spam is not looked for.

use std::net::IpAddr;

use bytes::Bytes;
use inbound::receive::Incoming;
use inbound::receive::inspect::path;
use smtp::{Envelope, ReversePath};
use storage::holder;
use storage::owner::Ask;

use super::Submitter;
use super::author::Refused;
use super::recipient::Route;
use super::sender::User;

/// Who sends, and from where to whom.
pub(super) struct From<'a> {
    pub hostname: &'a str,
    pub client: IpAddr,
    pub helo: &'a str,
    pub user: &'a User,
}

impl<A: Ask> Submitter<A> {
    /// `content` comes back as it was.
    pub(super) async fn inspect(
        &self,
        from: From<'_>,
        envelope: &Envelope<Route>,
        content: Vec<u8>,
        incoming: &Incoming,
    ) -> Result<Vec<u8>, Refused> {
        let Some(inspect) = self.inspect.as_deref() else {
            return Ok(content);
        };
        let recipients = envelope.recipients.iter();
        let recipients: Vec<String> = recipients.map(|one| path(&one.path)).collect();
        let mail_from = match &envelope.reverse_path {
            ReversePath::Null => String::new(),
            ReversePath::Address(address) => address.to_path(),
        };
        let name = from.user.name();
        let envelope = scan::Envelope {
            holder: holder::of_account(from.user.account),
            client: from.client,
            helo: from.helo,
            hostname: from.hostname,
            mail_from: &mail_from,
            recipients: &recipients,
            id: &incoming.id,
            user: Some(&name),
        };
        let content = Bytes::from(content);
        let inspected = inspect.inspect(&self.host, envelope, &content, incoming.trace_bytes);
        let inspection = inspected.await;
        match inspection.refusal {
            Some(refusal) => Err(Refused {
                refusal,
                detail: inspection.detail,
            }),
            None => Ok(Vec::from(content)),
        }
    }
}
