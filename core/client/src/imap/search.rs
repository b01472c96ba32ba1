//! SEARCH: rows first, summaries of those that rows cannot decide, bodies of those that summaries cannot. Each look goes beside the
//! core when it is long (`SessionHost::work`): other sessions are served meanwhile.

pub(super) mod results;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use imap::command::{SearchRequest, SearchResults};
use imap::search::{Content, Matcher, Row, SearchKey, Verdict};
use imap::sequence::joined;
use mail::{ModSeq, Summary, UidValidity};
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
use super::object::email_id;
use super::progress::{Progress, Stop, outcome};
use super::recent::Recent;
use super::selected::Selected;
use super::{Done, End, Imap, flush};
use results::Results;

/// What the search of one mailbox works with. Clones share it, also with threads beside the core.
#[derive(Clone)]
pub(super) struct Search {
    key: Arc<SearchKey>,
    numbering: Arc<Numbering>,
    pub messages: Arc<Vec<Message>>,
    pub validity: UidValidity,
    /// \Recent in this session.
    recent: Option<Arc<Recent>>,
    /// What `$` stands for.
    saved: Arc<Vec<(u32, u32)>>,
    /// When it began, in seconds since 1970-01-01.
    now: i64,
}

/// (number, index in the view) of a message.
pub(super) type Place = (u32, usize);
/// Those that match, and those that more has to be read of.
type Sorted = (Vec<Place>, Vec<Place>);

/// Some messages and their summaries.
pub(super) type Read<'o> = (&'o [Place], Vec<Result<Bytes, MailboxFault>>);

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
        let every = self.progress_every;
        let mut progress = Progress::new(&self.host, tag, every, (&mut *out, &mut *connection));
        let found = self.search(account, selected, request, &mut progress).await;
        let (found, modseq) = match outcome(found)? {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
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
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<(Vec<u32>, Option<ModSeq>), Stop> {
        let (search, found) = self.find(account, selected, &request.key, progress).await?;
        save(selected, &search, &found, request.results)?;
        let modseq = highest(&found, &search, request.key.names_modseq(), request.results);
        if let Some(modseq) = modseq {
            selected.showed(modseq);
        }
        Ok((search.named(&found, request.uid), modseq))
    }

    /// The messages that match, ascending, and what they were found in.
    pub(super) async fn find(
        &self,
        account: AccountId,
        selected: &Selected,
        key: &SearchKey,
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<(Search, Vec<Place>), Stop> {
        let id = selected.id;
        let view = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.view(id).await })
            .await??;
        let search = Search {
            key: Arc::new(key.clone()),
            numbering: Arc::new(selected.numbering.clone()),
            messages: view.messages,
            validity: view.status.uid_validity,
            recent: selected.recent_shown().cloned().map(Arc::new),
            saved: Arc::new(selected.saved.clone()),
            now: self.host.unix_seconds(),
        };
        let (mut found, open) = search.by_rows(&self.host).await;
        progress.expect(open.len());
        let mut rest = &open[..];
        let mut next = self.summaries_of(&search, &mut rest).await?;
        // until none is left: while one chunk is looked through, the next is read
        while let Some((chunk, summaries)) = next {
            let looked = self.search_deeper(account, &search, chunk, summaries, progress);
            let read = self.summaries_of(&search, &mut rest);
            let (looked, read) = tokio::join!(looked, read);
            found.extend(looked?);
            next = read?;
        }
        found.sort_unstable();
        Ok((search, found))
    }

    /// Takes the next of `open` and reads their summaries; `None`: there are no more.
    pub(super) async fn summaries_of<'o>(
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
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<Vec<Place>, Stop> {
        let all = open.len();
        let (mut found, open) = search
            .by_summaries(&self.host, open.to_vec(), summaries)
            .await?;
        progress.step(all - open.len()).await?;
        let mut rest = &open[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(body_chunk(&search.messages, rest));
            rest = after;
            found.extend(self.search_bodies(account, search, chunk).await?);
            progress.step(chunk.len()).await?;
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
            self.now,
        )
    }

    /// The numbers or the UIDs of messages.
    pub fn named(&self, found: &[Place], uid: bool) -> Vec<u32> {
        let named = |&(number, index): &Place| match uid {
            true => self.messages[index].uid.0,
            false => number,
        };
        found.iter().map(named).collect()
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
            email_id: email_id(message),
            saved_s: message.saved_s,
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
pub(super) fn refs(messages: &[Message], chosen: &[Place]) -> Vec<BodyRef> {
    chosen
        .iter()
        .map(|&(_, index)| messages[index].body.clone())
        .collect()
}

/// Those of `found`, which is in the order of the answer, that RETURN refers to: RFC 9051 §6.4.4.1 and RFC 9394 §3.2, the tables. MIN, MAX and
/// PARTIAL without COUNT and ALL mean only what they answer.
fn referred(found: &[Place], results: Option<SearchResults>) -> Cow<'_, [Place]> {
    let Some(results) = results else {
        return Cow::Borrowed(found);
    };
    let narrow = results.min || results.max || results.partial.is_some();
    if !narrow || results.all || results.count {
        return Cow::Borrowed(found);
    }
    let slice = results.partial.map(|slice| slice.of(found.len()));
    let mut some = found[slice.unwrap_or(0..0)].to_vec();
    some.extend(found.first().filter(|_| results.min));
    some.extend(found.last().filter(|_| results.max));
    Cow::Owned(some)
}

/// RFC 7162 §3.1.6, §3.1.9 and RFC 4731 §3.2: the highest modification sequence of what is returned, when MODSEQ is asked for.
pub(super) fn highest(
    found: &[Place],
    search: &Search,
    is_asked: bool,
    results: Option<SearchResults>,
) -> Option<ModSeq> {
    let modseq = |&(_, index): &Place| search.messages[index].modseq;
    match is_asked {
        true => referred(found, results).iter().map(modseq).max(),
        false => None,
    }
}

/// RFC 9051 §6.4.4.1: with SAVE, what was found becomes `$`.
pub(super) fn save(
    selected: &mut Selected,
    search: &Search,
    found: &[Place],
    results: Option<SearchResults>,
) -> Result<(), Failure> {
    if !results.is_some_and(|results| results.save) {
        return Ok(());
    }
    let referred = referred(found, results);
    let uids = referred
        .iter()
        .map(|&(_, index)| search.messages[index].uid.0);
    selected.saved = saved(uids.collect()).ok_or(Failure::No(
        "NOTSAVED",
        "Search result has too many ranges to be saved",
    ))?;
    Ok(())
}

/// Of how many of `open` the summaries are read at once: one at least.
pub(super) fn summary_chunk(messages: &[Message], open: &[Place]) -> usize {
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

/// UIDs in ranges, ascending; `None`: too many of them.
fn saved(mut uids: Vec<u32>) -> Option<Vec<(u32, u32)>> {
    uids.sort_unstable();
    uids.dedup();
    let ranges = joined(uids);
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
            saved_s: 0,
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
            validity: UidValidity(1),
            recent: None,
            saved: Arc::default(),
            now: 0,
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
            let found: Vec<Place> = found.iter().map(|&uid| (uid, 0)).collect();
            let referred = referred(&found, request.results);
            saved(referred.iter().map(|place| place.0).collect())
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
        // RFC 9394 §3.2.
        assert_eq!(saved_of("SAVE PARTIAL 2:3", &found), Some(vec![(3, 4)]));
        assert_eq!(
            saved_of("SAVE MIN MAX PARTIAL -2:-2", &found),
            Some(vec![(2, 2), (8, 9)])
        );
        assert_eq!(saved_of("SAVE COUNT PARTIAL 2:3", &found), all);
        assert_eq!(saved_of("SAVE PARTIAL 9:10", &found), Some(vec![]));
        // In the order of a SORT.
        assert_eq!(saved_of("SAVE MIN", &[9, 2, 4]), Some(vec![(9, 9)]));
        let scattered: Vec<u32> = (0..=SAVED_RANGES_MAX as u32).map(|n| 2 * n + 1).collect();
        assert_eq!(saved_of("SAVE", &scattered), None);
        assert!(saved_of("SAVE", &scattered[1..]).is_some());
    }
}
