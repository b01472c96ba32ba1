//! What a client's own commands do, which it need not be told (RFC 5465 §5, §5.2).

use imap::Body;
use mail::spelling::composed;
use storage::owner::Ask;

use super::super::place::root_of;
use super::super::{Client, Imap};
use super::queue::Own;

/// What a command of the client did by itself (RFC 5465 §5): it need not be told.
#[derive(Default)]
pub(in super::super) struct Ours {
    own: Option<Own>,
    /// Where it placed messages.
    target: Option<Box<str>>,
}

impl Client {
    /// Before `body` is performed.
    pub(in super::super) fn ours(&self, body: &Body) -> Ours {
        let mut ours = Ours::default();
        let Some(notify) = &self.notify else {
            return ours;
        };
        let plain = |name: &str| {
            let name = name.strip_suffix('/').unwrap_or(name);
            root_of(name).is_none().then(|| composed(name).into_owned())
        };
        ours.own = match body {
            Body::Create { mailbox, .. } => plain(mailbox).map(Own::Created),
            Body::Delete(mailbox) => plain(mailbox).map(Own::Deleted),
            Body::Subscribe(mailbox) | Body::Unsubscribe(mailbox) => {
                Some(Own::Subscribed(composed(mailbox).into_owned()))
            }
            Body::Rename { from, to } => match (plain(from), plain(to)) {
                (Some(from), Some(to)) => Some(Own::Renamed { from, to }),
                _ => None,
            },
            _ => None,
        };
        if notify
            .of_selected()
            .is_some_and(|wanted| !wanted.items.is_empty())
        {
            ours.target = match body {
                Body::Append { mailbox, .. }
                | Body::AppendMany { mailbox, .. }
                | Body::Copy { mailbox, .. } => Some(mailbox.clone()),
                _ => None,
            };
        }
        ours
    }

    /// Behind it, where it was done.
    pub(in super::super) fn forget(&self, ours: &Ours) {
        let watch = self
            .notify
            .as_ref()
            .and_then(|notify| notify.watch.as_ref());
        if let (Some(watch), Some(own), Some(account)) = (watch, &ours.own, self.account) {
            watch.queue.forget(own, account);
        }
    }
}

/// Whether a command asks what happened in the open mailbox, or cannot be answered without it: then all of it is reported, whatever NOTIFY said. A client
/// that switched notifications off and polls is answered.
pub(in super::super) fn asks(body: &Body) -> bool {
    matches!(
        body,
        Body::Noop
            | Body::Check
            | Body::Select { .. }
            | Body::Notify(_)
            | Body::Expunge { .. }
            | Body::Move { .. }
            | Body::Replace { .. }
    )
}

impl<K: Ask> Imap<K> {
    /// The messages that a command of the client placed in the open mailbox are not fetched for it (RFC 5465 §5.2): notes their UIDs, from the code
    /// of its answer.
    pub(in super::super) async fn note_placed(&self, client: &mut Client, ours: &Ours, code: &str) {
        let (Some(target), Some(account), Some(selected)) =
            (&ours.target, client.account, &client.selected)
        else {
            return;
        };
        let Ok(place) = self.find_place(account, target).await else {
            return;
        };
        let found = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.find(place.account, &place.name).await });
        let is_open = found.await.is_ok_and(|found| found == Ok(selected.id));
        if let (true, Some(notify)) = (is_open, &mut client.notify) {
            notify.placed = placed(code);
        }
    }
}

/// The UIDs of an APPENDUID or COPYUID, in ranges.
fn placed(code: &str) -> Vec<(u32, u32)> {
    let mut words = code.split(' ');
    let uids = match words.next() {
        Some("APPENDUID") => words.nth(1),
        Some("COPYUID") => words.nth(2),
        _ => None,
    };
    let ranges = uids.unwrap_or("").split(',').filter_map(|range| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    ranges.collect()
}

/// `uids` without `placed`, as a set; `None`: none is left.
pub(super) fn without((first, last): (u32, u32), placed: &[(u32, u32)]) -> Option<String> {
    let mut placed = placed.to_vec();
    placed.sort_unstable();
    let mut ranges = Vec::new();
    let mut from = u64::from(first);
    for (low, high) in placed {
        let (low, high) = (u64::from(low), u64::from(high));
        if low > from && low <= u64::from(last) {
            ranges.push(format!("{from}:{}", low - 1));
        }
        from = from.max(high + 1);
    }
    if from <= u64::from(last) {
        ranges.push(format!("{from}:{last}"));
    }
    (!ranges.is_empty()).then(|| ranges.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_placed_itself_is_left_out() {
        assert_eq!(placed("APPENDUID 7 5"), [(5, 5)]);
        assert_eq!(placed("COPYUID 7 1,3 5,7:9"), [(5, 5), (7, 9)]);
        assert_eq!(placed("READ-ONLY"), []);
        assert_eq!(
            without((4, 9), &[(5, 5), (7, 9)]).as_deref(),
            Some("4:4,6:6")
        );
        assert_eq!(without((4, 9), &[(4, 9)]), None);
        assert_eq!(without((4, 9), &[(1, 3)]).as_deref(), Some("4:9"));
        assert_eq!(without((4, 9), &[(1, u32::MAX)]), None);
    }
}
