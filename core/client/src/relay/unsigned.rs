//! What a program of ours wrote for one of our people (a vacation reply, a notification) is signed before its first try: storage, which wrote it, has
//! no signing.
//!
//! One durable step puts the signed message in the place of the other, with the same recipients and times, so every try sends the same bytes. What
//! must hold: one that cannot be signed now waits, and is not sent unsigned (`signing.rs`); where no key signs it goes as it is, and is marked all the
//! same.

use std::rc::Rc;

use base::BodyName;
use bytes::Bytes;
use dns::Names;
use mail::Summary;
use queue::RecipientState;
use runtime::events::MESSAGE;
use runtime::{Dial, Holder};
use storage::owner::Ask;
use store::BodyIn;

use super::letter::Letter;
use super::sender::Shared;
use super::verdict::{Class, Said, Verdict};
use crate::signing::SIGNATURES_BYTES_MAX;

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    /// Puts a signed message in the place of this one, for `waiting`; what comes of that is due at once.
    pub(super) async fn sign_first(self: &Rc<Self>, letter: Rc<Letter>, waiting: Vec<u32>) {
        let later = match self.sign_and_replace(&letter, &waiting).await {
            Ok(()) => return,
            Err(words) => Verdict::Later(Class::Ours, Said::ours("4.3.0", words)),
        };
        let verdicts = waiting.into_iter().map(|index| (index, later.clone()));
        self.settle(&letter, verdicts.collect()).await;
    }

    async fn sign_and_replace(&self, letter: &Letter, waiting: &[u32]) -> Result<(), String> {
        let entry = letter.entry();
        let bytes = entry.body.raw_bytes as usize;
        let most = bytes + SIGNATURES_BYTES_MAX;
        let _charge = self.memory.wait_for(SIGNING, 2 * most).await;
        let mut raw = Vec::with_capacity(most);
        while raw.len() < bytes {
            // until all of it is read
            let piece = self.read(entry.id, raw.len() as u32).await;
            let piece = piece.ok_or("the message cannot be read from storage now")?;
            raw.extend_from_slice(&piece);
        }
        let raw = match dkim::author_domain(&raw) {
            None => raw,
            Some(author) => {
                let (owner, host) = (&self.owner, &self.caller.host);
                let signed = self.signing.sign(owner, host, &author, raw, 0).await;
                signed.map_err(|(why, _)| {
                    tracing::warn!(
                        author,
                        ?why,
                        queue = entry.id.0,
                        "a message is not signed yet"
                    );
                    "the message cannot be signed now".to_owned()
                })?
            }
        };
        let raw = Bytes::from(raw);
        let bytes = raw.len();
        let work = move || BodyIn {
            name: BodyName::of(&raw),
            summary: Bytes::from(Summary::of(&raw).encode()),
            raw,
        };
        let body = self.caller.host.work(bytes, work).await;
        let (id, now, wanted) = (entry.id, self.unix_now(), waiting.to_vec());
        let replaced = self.owner.ask_outgoing(move |outgoing| async move {
            outgoing.signed(id, now, body, &wanted).await
        });
        replaced
            .await
            .map_err(|busy| busy.to_string())?
            .map_err(|fault| fault.to_string())?;
        tracing::info!(target: MESSAGE, queue = id.0, "signed: the signed message is in its place");
        for index in waiting {
            letter.set_state(*index, RecipientState::Delivered);
        }
        Ok(())
    }
}

/// The share of the memory that mailboxes of ours have.
const SIGNING: Holder = Holder(0);
