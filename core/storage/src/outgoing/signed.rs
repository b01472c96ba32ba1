//! A message that was signed takes the place of the one that was not.

use queue::{
    Addressee, Envelope, Note, Outcome, QueueFault, QueueId, RecipientState, Terms, UnixSeconds,
};
use store::BodyIn;

use super::Outgoing;

impl Outgoing {
    /// In one durable step: `body` for those of the message's recipients that `waiting` names by index. `NoEntry`: it was taken out meanwhile.
    pub async fn signed(
        &self,
        id: QueueId,
        at: UnixSeconds,
        body: BodyIn,
        waiting: &[u32],
    ) -> Result<(), QueueFault> {
        let entry = self.queue.entry(id).ok_or(QueueFault::NoEntry)?;
        let find = |index: &u32| entry.recipients.get(*index as usize);
        let recipients: Vec<Addressee> = waiting
            .iter()
            .filter_map(find)
            .map(|each| each.to.clone())
            .collect();
        if recipients.len() != waiting.len() {
            return Err(QueueFault::Refused("no such recipient"));
        }
        let outcome = |index: &u32| Outcome {
            recipient: *index,
            state: RecipientState::Delivered,
            reply: String::new(),
            host: String::new(),
        };
        let note = Note {
            at,
            warned: false,
            outcomes: waiting.iter().map(outcome).collect(),
        };
        let envelope = Envelope {
            from: entry.from.clone(),
            recipients,
            arrived: entry.arrived,
            warns: entry.warns,
            expires: entry.expires,
            terms: Terms {
                is_unsigned: false,
                ..entry.terms.clone()
            },
        };
        self.queue.replace(id, note, body, vec![envelope]).await?;
        self.wake();
        Ok(())
    }
}
