//! SEARCH: rows first, summaries of those that rows cannot decide, bodies of those that summaries cannot. Each look goes beside the
//! core when it is long (`SessionHost::work`): other sessions are served meanwhile.

mod results;

use std::sync::Arc;

use bytes::Bytes;
use imap::command::{SearchRequest, SearchResults};
use imap::search::{Content, Matcher, Row, SearchKey, Verdict};
use mail::{ModSeq, Summary};
use mailbox::{AccountId, MailboxFault, Message};
use runtime::{Connection, SessionHost};
use storage::holder;
use storage::owner::Ask;
use store::BodyRef;

use super::fault::Failure;
use super::limits::{
    BODIES_PER_READ_MAX, BODY_BYTES_PER_READ_MAX, ROW_WORK_BYTES, SAVED_RANGES_MAX,
    SUMMARIES_PER_READ_MAX, SUMMARY_BYTES_PER_READ_MAX,
};
use super::numbering::Numbering;
use super::recent::Recent;
use super::selected::Selected;
use super::{Done, End, Imap, flush};
use results::Results;

/// What the search of one mailbox works with. Clones share it, also with threads beside the core.
#[derive(Clone)]
struct Search {
    key: Arc<SearchKey>,
    numbering: Arc<Numbering>,
    messages: Arc<Vec<Message>>,
    /// \Recent in this session.
    recent: Option<Arc<Recent>>,
    /// What `$` stands for.
    saved: Arc<Vec<(u32, u32)>>,
}

/// (number, index in the view) of a message.
type Place = (u32, usize);
/// Those that match, and those that more has to be read of.
type Sorted = (Vec<Place>, Vec<Place>);

/// Some messages and their summaries.
type Read<'o> = (&'o [Place], Vec<Result<Bytes, MailboxFault>>);

impl<K: Ask> Imap<K> {
    /// RFC 9051 §6.4.4. The result is sent as it is written; the outer error is the connection's.
    pub(super) async fn on_search(
        &self,
        account: AccountId,
        selected: &mut Selected,
        request: &SearchRequest,
        rev2: bool,
        tag: &str,
        (out, connection): (&mut Vec<u8>, &mut impl Connection),
    ) -> Result<Result<Done, Failure>, End> {
        let found = match self.search(account, selected, request).await {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
        let (found, modseq) = found;
        if let Some(mut results) = Results::new(tag, &found, modseq, request, rev2) {
            while results.put_some(out) {
                flush(out, connection).await?;
            }
        }
        Ok(Ok(Done::plain("Search completed")))
    }

    /// Numbers or UIDs, ascending, as `request` wants them; where it names MODSEQ, the highest one of what is returned.
    async fn search(
        &self,
        account: AccountId,
        selected: &mut Selected,
        request: &SearchRequest,
    ) -> Result<(Vec<u32>, Option<ModSeq>), Failure> {
        let id = selected.id;
        let view = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.view(id).await })
            .await??;
        let search = Search {
            key: Arc::new(request.key.clone()),
            numbering: Arc::new(selected.numbering.clone()),
            messages: view.messages,
            recent: selected.recent_shown().cloned().map(Arc::new),
            saved: Arc::new(selected.saved.clone()),
        };
        let (mut found, open) = search.by_rows(&self.host).await;
        let mut rest = &open[..];
        let mut next = self.summaries_of(&search, &mut rest).await?;
        // until none is left: while one chunk is looked through, the next is read
        while let Some((chunk, summaries)) = next {
            let looked = self.search_deeper(account, &search, chunk, summaries);
            let read = self.summaries_of(&search, &mut rest);
            let (looked, read) = tokio::join!(looked, read);
            found.extend(looked?);
            next = read?;
        }
        found.sort_unstable();
        if let Some(results) = request.results.filter(|results| results.save) {
            let uids = found.iter().map(|&(_, index)| search.messages[index].uid.0);
            selected.saved = saved(uids, results).ok_or(Failure::No(
                "NOTSAVED",
                "Search result has too many ranges to be saved",
            ))?;
        }
        let modseq = highest(&found, &search.messages, request);
        if let Some(modseq) = modseq {
            selected.showed(modseq);
        }
        let uid = request.uid;
        let named = |&(number, index): &Place| match uid {
            true => search.messages[index].uid.0,
            false => number,
        };
        Ok((found.iter().map(named).collect(), modseq))
    }

    /// Takes the next of `open` and reads their summaries; `None`: there are no more.
    async fn summaries_of<'o>(
        &self,
        search: &Search,
        open: &mut &'o [Place],
    ) -> Result<Option<Read<'o>>, Failure> {
        if open.is_empty() {
            return Ok(None);
        }
        let (chunk, rest) = open.split_at(summary_chunk(&search.messages, open));
        *open = rest;
        let refs: Vec<BodyRef> = refs(&search.messages, chunk);
        let summaries = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.summaries(&refs).await })
            .await?;
        Ok(Some((chunk, summaries)))
    }

    /// Those of `open` that match, having read what it takes beside their summaries.
    async fn search_deeper(
        &self,
        account: AccountId,
        search: &Search,
        open: &[Place],
        summaries: Vec<Result<Bytes, MailboxFault>>,
    ) -> Result<Vec<Place>, Failure> {
        let (mut found, open) = search
            .by_summaries(&self.host, open.to_vec(), summaries)
            .await?;
        let mut rest = &open[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(body_chunk(&search.messages, rest));
            rest = after;
            found.extend(self.search_bodies(account, search, chunk).await?);
        }
        Ok(found)
    }

    async fn search_bodies(
        &self,
        account: AccountId,
        search: &Search,
        open: &[Place],
    ) -> Result<Vec<Place>, Failure> {
        let bytes: usize = open
            .iter()
            .map(|&(_, index)| search.messages[index].size_bytes as usize)
            .sum();
        // Held while we read and look, never at the client's pace.
        let holder = holder::of_account(account);
        let charge = self.memory.reading.wait_for(holder, bytes).await;
        let refs: Vec<BodyRef> = refs(&search.messages, open);
        let bodies: Vec<Result<Bytes, MailboxFault>> = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.bodies(&refs).await })
            .await?;
        let bytes = search.cost(bytes);
        let (search, open) = (search.clone(), open.to_vec());
        let look = move || {
            // Given back when the bodies are, also when no caller waits any more.
            let _charge = charge;
            search.in_bodies(&open, bodies)
        };
        self.host.work(bytes, look).await
    }
}

impl Search {
    fn matcher(&self) -> Matcher<'_> {
        let numbering = &self.numbering;
        Matcher::new(
            &self.key,
            numbering.count(),
            numbering.highest_uid(),
            &self.saved,
        )
    }

    /// Of a look at `bytes`: each key may look at all of them.
    fn cost(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.key.count())
    }

    /// What is known of a message before anything is read.
    fn row(&self, number: u32, index: usize) -> Row<'_> {
        let message = &self.messages[index];
        Row {
            number,
            uid: message.uid.0,
            flags: &message.flags,
            recent: self
                .recent
                .as_ref()
                .is_some_and(|recent| recent.contains(message.uid)),
            internal_date: message.internal_date,
            size_bytes: message.size_bytes,
            modseq: message.modseq,
        }
    }

    /// What the list of messages alone decides.
    async fn by_rows(&self, host: &SessionHost) -> Sorted {
        let search = self.clone();
        let bytes = self.cost(self.messages.len() * ROW_WORK_BYTES);
        let look = move || {
            let matcher = search.matcher();
            let (mut found, mut open) = (Vec::new(), Vec::new());
            for (index, message) in search.messages.iter().enumerate() {
                // What arrived since the last report to the client has no number yet.
                let Some(number) = search.numbering.number_of(message.uid.0) else {
                    continue;
                };
                match matcher.verdict(search.row(number, index), Content::default()) {
                    Verdict::Yes => found.push((number, index)),
                    Verdict::No => {}
                    Verdict::NeedSummary | Verdict::NeedBody => open.push((number, index)),
                }
            }
            (found, open)
        };
        host.work(bytes, look).await
    }

    /// What the summaries of `open` decide.
    async fn by_summaries(
        &self,
        host: &SessionHost,
        open: Vec<Place>,
        summaries: Vec<Result<Bytes, MailboxFault>>,
    ) -> Result<Sorted, Failure> {
        let search = self.clone();
        let bytes = self.cost(summaries.iter().flatten().map(Bytes::len).sum());
        let look = move || {
            let matcher = search.matcher();
            let (mut found, mut open_still) = (Vec::new(), Vec::new());
            for ((number, index), summary) in open.into_iter().zip(&summaries) {
                let summary = match summary {
                    Ok(bytes) => Summary::decode(bytes).ok(),
                    Err(MailboxFault::Damaged) => None,
                    Err(fault) => return Err(fault.clone().into()),
                };
                // A summary that cannot be read costs a look at the body.
                let verdict = match &summary {
                    Some(summary) => matcher.verdict(
                        search.row(number, index),
                        Content {
                            summary: Some(summary),
                            body: None,
                        },
                    ),
                    None => Verdict::NeedBody,
                };
                match verdict {
                    Verdict::Yes => found.push((number, index)),
                    Verdict::No => {}
                    Verdict::NeedSummary | Verdict::NeedBody => open_still.push((number, index)),
                }
            }
            Ok((found, open_still))
        };
        host.work(bytes, look).await
    }

    fn in_bodies(
        &self,
        open: &[Place],
        bodies: Vec<Result<Bytes, MailboxFault>>,
    ) -> Result<Vec<Place>, Failure> {
        let matcher = self.matcher();
        let mut found = Vec::new();
        for (&(number, index), body) in open.iter().zip(bodies) {
            let body = match body {
                Ok(body) => body,
                // A damaged message is not found; it is on the damage list, which reports it to its owner.
                Err(MailboxFault::Damaged) => continue,
                Err(fault) => return Err(fault.into()),
            };
            let content = Content {
                summary: None,
                body: Some(&body),
            };
            if matcher.verdict(self.row(number, index), content) == Verdict::Yes {
                found.push((number, index));
            }
        }
        Ok(found)
    }
}

/// The bodies of the chosen messages.
fn refs(messages: &[Message], chosen: &[Place]) -> Vec<BodyRef> {
    chosen
        .iter()
        .map(|&(_, index)| messages[index].body.clone())
        .collect()
}

/// RFC 7162 §3.1.6 and RFC 4731 §3.2: the highest modification sequence of what is returned, when MODSEQ is asked for.
fn highest(found: &[Place], messages: &[Message], request: &SearchRequest) -> Option<ModSeq> {
    let modseq = |&(_, index): &Place| messages[index].modseq;
    if !request.key.names_modseq() {
        return None;
    }
    match request.results {
        Some(results) if !(results.all || results.count) && (results.min || results.max) => {
            let first = found.first().filter(|_| results.min);
            let last = found.last().filter(|_| results.max);
            first.into_iter().chain(last).map(modseq).max()
        }
        _ => found.iter().map(modseq).max(),
    }
}

/// Of how many of `open` the summaries are read at once: one at least.
fn summary_chunk(messages: &[Message], open: &[Place]) -> usize {
    let mut bytes = 0;
    let fits = |&&(_, index): &&Place| {
        bytes += messages[index].body.summary.bytes as usize;
        bytes <= SUMMARY_BYTES_PER_READ_MAX
    };
    let count = open
        .iter()
        .take(SUMMARIES_PER_READ_MAX)
        .take_while(fits)
        .count();
    count.max(1)
}

/// How many of `open` are read at once: one at least.
fn body_chunk(messages: &[Message], open: &[Place]) -> usize {
    let mut bytes = 0;
    let fits = |&&(_, index): &&Place| {
        bytes += messages[index].size_bytes as usize;
        bytes <= BODY_BYTES_PER_READ_MAX
    };
    let count = open
        .iter()
        .take(BODIES_PER_READ_MAX)
        .take_while(fits)
        .count();
    count.max(1)
}

/// What of `found` (ascending UIDs) becomes `$`, in ranges; `None`: too many of them.
fn saved(
    mut found: impl DoubleEndedIterator<Item = u32>,
    results: SearchResults,
) -> Option<Vec<(u32, u32)>> {
    // RFC 9051 §6.4.4.1, the table: MIN and MAX alone save only what they answer.
    let only_ends = (results.min || results.max) && !(results.all || results.count);
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut push = |uid: u32| match ranges.last_mut() {
        Some(last) if last.1 == uid => {}
        Some(last) if last.1.checked_add(1) == Some(uid) => last.1 = uid,
        _ => ranges.push((uid, uid)),
    };
    if only_ends {
        let first = found.next();
        let last = found.next_back().or(first);
        let ends = [first.filter(|_| results.min), last.filter(|_| results.max)];
        ends.into_iter().flatten().for_each(push);
    } else {
        found.by_ref().for_each(&mut push);
    }
    (ranges.len() <= SAVED_RANGES_MAX).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use imap::{Body, Names, parse};
    use mail::{Flags, InternalDate, Uid};

    use super::*;

    fn message(uid: u32, raw: &[u8]) -> Message {
        let nowhere = volume::RecordAddress {
            segment: volume::SegmentIndex(0),
            generation: volume::Generation(1),
            batch_block: 0,
            at: 4096,
            bytes: 0,
            check: 0,
        };
        Message {
            uid: Uid(uid),
            modseq: ModSeq(1),
            flags: Flags::default(),
            internal_date: InternalDate::utc(0),
            size_bytes: raw.len() as u32,
            body: BodyRef {
                name: base::BodyName::of(raw),
                raw_bytes: raw.len() as u32,
                summary: nowhere,
                body: nowhere,
                codec: store::Codec::Raw,
            },
        }
    }

    fn search(key: SearchKey, messages: Vec<Message>) -> Search {
        Search {
            key: Arc::new(key),
            numbering: Arc::new(Numbering::of(messages.iter().map(|message| message.uid.0))),
            messages: Arc::new(messages),
            recent: None,
            saved: Arc::default(),
        }
    }

    /// M12: counted in bytes of work, not by a clock.
    #[test]
    fn a_large_mailbox_is_looked_through_beside_the_core() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        for (count, away) in [(3, false), (20_000, true)] {
            let messages = (1..=count).map(|uid| message(uid, b"")).collect();
            let search = search(SearchKey::All, messages);
            let before = runtime::workers::away();
            let (found, open) = runtime.block_on(search.by_rows(&SessionHost::of_core()));
            assert_eq!((found.len(), open.len()), (count as usize, 0));
            assert!(!away || runtime::workers::away() > before);
        }
        assert!(runtime::workers::largest_here() <= runtime::limits::WORK_BYTES_MAX);
        assert!(runtime::workers::largest_here() > 0);
    }

    #[test]
    fn many_keys_are_more_work_than_one() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let messages: Vec<Message> = (1..=100).map(|uid| message(uid, b"")).collect();
        let before = runtime::workers::away();
        let keys = SearchKey::And(vec![SearchKey::All; 1_000]);
        let (found, _) = runtime.block_on(search(keys, messages).by_rows(&SessionHost::of_core()));
        assert_eq!(found.len(), 100);
        assert!(runtime::workers::away() > before);
    }

    #[test]
    fn bodies_are_looked_into_wherever_that_is_done() {
        let raw: [&[u8]; 2] = [
            b"Subject: a\r\n\r\nneedle\r\n",
            b"Subject: b\r\n\r\nhay\r\n",
        ];
        let messages = vec![message(4, raw[0]), message(9, raw[1])];
        let search = search(SearchKey::Body("needle".into()), messages);
        let (found, open) = {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(search.by_rows(&SessionHost::of_core()))
        };
        assert_eq!((found, &open[..]), (vec![], &[(1, 0), (2, 1)][..]));
        let bodies = raw.map(|raw| Ok(Bytes::from_static(raw))).to_vec();
        assert_eq!(search.in_bodies(&open, bodies), Ok(vec![(1, 0)]));
        let damaged = vec![Err(MailboxFault::Damaged), Ok(Bytes::from_static(raw[0]))];
        assert_eq!(search.in_bodies(&open, damaged), Ok(vec![(2, 1)]));
    }

    #[test]
    fn a_chunk_of_summaries_is_bounded_by_count_and_by_bytes() {
        let chunk = |bytes: usize| {
            let mut messages: Vec<Message> = (1..=1_000).map(|uid| message(uid, b"")).collect();
            for message in &mut messages {
                message.body.summary.bytes = bytes as u32;
            }
            let open: Vec<Place> = (0..1_000).map(|index| (index as u32 + 1, index)).collect();
            summary_chunk(&messages, &open)
        };
        assert_eq!(chunk(500), SUMMARIES_PER_READ_MAX);
        assert_eq!(chunk(SUMMARY_BYTES_PER_READ_MAX / 10), 10);
        assert_eq!(chunk(2 * SUMMARY_BYTES_PER_READ_MAX), 1);
    }

    #[test]
    fn what_is_saved_depends_on_what_is_asked_for_beside_it() {
        let saved_of = |line: &str, found: &[u32]| {
            let line = format!("t SEARCH RETURN ({line}) ALL\r\n");
            let command = parse::command(line.as_bytes(), Names::Utf8).unwrap();
            let Body::Search(request) = command.body else {
                panic!()
            };
            saved(found.iter().copied(), request.results.unwrap())
        };
        let found = [2, 3, 4, 8, 9];
        let all = Some(vec![(2, 4), (8, 9)]);
        assert_eq!(saved_of("SAVE", &found), all);
        assert_eq!(saved_of("SAVE COUNT", &found), all);
        assert_eq!(saved_of("SAVE MIN ALL", &found), all);
        assert_eq!(saved_of("SAVE MAX COUNT", &found), all);
        assert_eq!(saved_of("SAVE MIN", &found), Some(vec![(2, 2)]));
        assert_eq!(saved_of("MAX SAVE", &found), Some(vec![(9, 9)]));
        assert_eq!(saved_of("MIN SAVE MAX", &found), Some(vec![(2, 2), (9, 9)]));
        assert_eq!(saved_of("MIN SAVE MAX", &[5]), Some(vec![(5, 5)]));
        assert_eq!(saved_of("MIN SAVE", &[]), Some(vec![]));
        let scattered: Vec<u32> = (0..=SAVED_RANGES_MAX as u32).map(|n| 2 * n + 1).collect();
        assert_eq!(saved_of("SAVE", &scattered), None);
        assert!(saved_of("SAVE", &scattered[1..]).is_some());
    }
}
