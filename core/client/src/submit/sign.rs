//! A message that leaves is signed for its author's domain, where the sender may speak for that domain.
//!
//! What must hold: a signature vouches for the From field, so the domain of one customer does not sign what the person of another wrote there. The
//! author's domain is that of the account or of the address that MAIL allowed it, or below one of them. Any other message goes unsigned.

use inbound::receive::{Incoming, refusal_for};
use smtp::{Refusal, ReversePath};
use storage::owner::Ask;

use super::recipient::Route;
use super::{Conversation, Submitter};
use crate::signing::{SIGNATURES_BYTES_MAX, Unsigned};

impl<A: Ask> Conversation<'_, A> {
    /// `content` with its signatures, behind our trace fields.
    pub(super) async fn sign(
        &self,
        envelope: &smtp::Envelope<Route>,
        content: Vec<u8>,
        incoming: &mut Incoming,
    ) -> Result<Vec<u8>, Refusal> {
        let submitter: &Submitter<A> = self.submitter;
        // Whatever is not a mailbox here may leave.
        let is_leaving = envelope
            .recipients
            .iter()
            .any(|recipient| !matches!(recipient.route, Route::Here(..)));
        if !is_leaving {
            return Ok(content);
        }
        let trace_bytes = incoming.trace_bytes;
        let Some(author) = dkim::author_domain(&content[trace_bytes..]) else {
            return Ok(content);
        };
        if !self.may_sign_for(&author, &envelope.reverse_path) {
            tracing::info!(
                id = incoming.id,
                author,
                "not signed: the author's domain is not the sender's"
            );
            return Ok(content);
        }
        if !incoming.may_grow(SIGNATURES_BYTES_MAX) {
            return Err(Refusal::StorageFull);
        }
        let (owner, host) = (&submitter.owner, &submitter.host);
        let signing = submitter
            .signing
            .sign(owner, host, &author, content, trace_bytes);
        signing.await.map_err(|(unsigned, _content)| match unsigned {
            Unsigned::Busy => Refusal::Busy,
            Unsigned::Storage(fault) => refusal_for(&fault),
            Unsigned::Key(fault) => {
                tracing::error!(author, %fault, "a DKIM key cannot be used: retire it and make another");
                Refusal::StorageFault
            }
        })
    }

    fn may_sign_for(&self, author: &str, reverse_path: &ReversePath) -> bool {
        let user = self.user.as_ref().map(|user| user.domain());
        let path = match reverse_path {
            ReversePath::Address(address) => Some(address.domain()),
            ReversePath::Null => None,
        };
        let own = user.into_iter().chain(path);
        own.map(dkim::ascii_domain)
            .any(|own| is_or_is_below(author, &own))
    }
}

fn is_or_is_below(domain: &str, above: &str) -> bool {
    let rest = domain.strip_suffix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::is_or_is_below;

    #[test]
    fn below_means_below_a_dot() {
        assert!(is_or_is_below("example.org", "example.org"));
        assert!(is_or_is_below("news.example.org", "example.org"));
        assert!(!is_or_is_below("badexample.org", "example.org"));
        assert!(!is_or_is_below("org", "example.org"));
    }
}
