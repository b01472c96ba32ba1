//! SORT and THREAD: what SEARCH finds, put into an order or into trees.
//!
//! Summaries are read in chunks, and what counts of each message is taken out of them beside the core; so are the sort and the trees.
//! Other sessions are served meanwhile. What was worked out is kept for the next one (`kept`), which reads new messages only.
//!
//! What must hold: all that is held of messages is paid for from the account's share of `Memory::reading`, in one charge that is taken in
//! turn before anything is read. It may grow, and is refused where it cannot: a command that holds a part of a share never waits for more of it.
//! It is given back before anything is sent; the answer itself is paid for as what waits for the client.

mod jobs;
mod kept;

use std::sync::Arc;

use bytes::Bytes;
use imap::command::{SortRequest, ThreadRequest};
use imap::respond::put;
use imap::sort::Sorter;
use imap::thread::Threader;
use mail::{InternalDate, ModSeq, Summary};
use mailbox::{AccountId, MailboxFault, Message};
use runtime::{Charge, Connection};
use storage::holder;
use storage::owner::Ask;

use super::fault::Failure;
use super::limits::{
    LINE_BYTES_FREE, OUTPUT_BYTES_MAX, ROW_WORK_BYTES, SORT_BYTES_EXPECTED, SORT_BYTES_MAX,
    SORT_HEADER_BYTES_MAX, SORT_READ_BYTES, SORT_UNPAID_BYTES_MAX,
};
use super::progress::{Progress, Stop, outcome};
use super::search::results::Results;
use super::search::{Place, Read, Search, highest, save};
use super::selected::Selected;
use super::{Done, End, Imap, flush};
use crate::pieces::{Reader, Reading, Unread};
use jobs::{Sorting, Threading};

/// Takes what counts out of messages, one after the other.
trait Gather: Send + 'static {
    fn add(&mut self, internal_date: InternalDate, size_bytes: u32, header: &[u8]);
    fn memory_bytes(&self) -> usize;
}

impl Gather for Sorter {
    fn add(&mut self, internal_date: InternalDate, size_bytes: u32, header: &[u8]) {
        Sorter::add(self, internal_date, size_bytes, header);
    }

    fn memory_bytes(&self) -> usize {
        Sorter::memory_bytes(self)
    }
}

impl Gather for Threader {
    fn add(&mut self, internal_date: InternalDate, _size_bytes: u32, header: &[u8]) {
        Threader::add(self, internal_date, header);
    }

    fn memory_bytes(&self) -> usize {
        Threader::memory_bytes(self)
    }
}

/// What was gathered so far, and what pays for it. Both go to other threads and come back together.
struct Gathered<G> {
    of: G,
    charge: Charge,
    /// UIDs of messages that could not be read: to `of` their headers are empty.
    unread: Vec<u32>,
    /// It may hold so much.
    bytes_max: usize,
    /// There was no room for all of them: what `of` holds is not whole, and never an answer.
    is_short: bool,
}

impl<G: Gather> Gathered<G> {
    fn bytes(&self) -> usize {
        self.of.memory_bytes() + self.unread.capacity() * size_of::<u32>()
    }
}

const TOO_MUCH: Failure = Failure::No(
    "LIMIT",
    "Too many messages to sort at once; sort the result of a search",
);
const UNREAD: Failure = Failure::No(
    "LIMIT",
    "Other connections of this account hold too much unread data; read it first",
);

impl<K: Ask> Imap<K> {
    /// SORT (RFC 5256 §3, RFC 5267 §3). The outer error is the connection's.
    pub(super) async fn on_sort(
        &self,
        account: AccountId,
        selected: &mut Selected,
        request: &SortRequest,
        tag: &str,
        (out, connection): (&mut Vec<u8>, &mut impl Connection),
    ) -> Result<Result<Done, Failure>, End> {
        let every = self.progress_every;
        let mut progress = Progress::new(&self.host, tag, every, (out, connection));
        let answered = async {
            let (found, modseq) = self.sort(account, selected, request, &mut progress).await?;
            let _charge = self.wait_in_line(account, found.len() * size_of::<u32>())?;
            let results = Results::sorted(tag, &found, modseq, &request.search);
            if let Some(mut results) = results {
                while results.put_some(progress.out) {
                    flush(progress.out, progress.connection)
                        .await
                        .map_err(End::from)?;
                }
            }
            Ok(Done::plain("Sort completed"))
        };
        outcome(answered.await)
    }

    /// Numbers or UIDs in order; where the keys name MODSEQ, the highest one of what is returned.
    async fn sort(
        &self,
        account: AccountId,
        selected: &mut Selected,
        request: &SortRequest,
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<(Vec<u32>, Option<ModSeq>), Stop> {
        let SortRequest {
            criteria,
            search: asked,
        } = request;
        let (search, found) = self.find(account, selected, &asked.key, progress).await?;
        let job = Sorting {
            criteria: criteria.as_slice().into(),
        };
        let order = self
            .work_out(account, selected, (&search, &found), job, progress)
            .await?;
        let found: Vec<Place> = order
            .into_iter()
            .map(|place| found[place as usize])
            .collect();
        save(selected, &search, &found, asked.results)?;
        let modseq = highest(&found, &search, asked.key.names_modseq(), asked.results);
        if let Some(modseq) = modseq {
            selected.showed(modseq);
        }
        Ok((search.named(&found, asked.uid), modseq))
    }

    /// THREAD (RFC 5256 §3). The outer error is the connection's.
    pub(super) async fn on_thread(
        &self,
        account: AccountId,
        selected: &mut Selected,
        request: &ThreadRequest,
        tag: &str,
        (out, connection): (&mut Vec<u8>, &mut impl Connection),
    ) -> Result<Result<Done, Failure>, End> {
        let every = self.progress_every;
        let mut progress = Progress::new(&self.host, tag, every, (out, connection));
        let answered = async {
            let (threads, modseq) = self
                .thread(account, selected, request, &mut progress)
                .await?;
            let _charge = self.wait_in_line(account, threads.len())?;
            let (out, connection) = (&mut *progress.out, &mut *progress.connection);
            put(
                out,
                if threads.is_empty() {
                    "* THREAD"
                } else {
                    "* THREAD "
                },
            );
            for piece in threads.chunks(OUTPUT_BYTES_MAX) {
                out.extend_from_slice(piece);
                if out.len() > OUTPUT_BYTES_MAX {
                    flush(out, connection).await.map_err(End::from)?;
                }
            }
            if let Some(ModSeq(modseq)) = modseq {
                put(out, &format!(" (MODSEQ {modseq})"));
            }
            put(out, "\r\n");
            Ok(Done::plain("Thread completed"))
        };
        outcome(answered.await)
    }

    /// The list of threads as it is sent, and the highest modification sequence in it where the keys name MODSEQ.
    async fn thread(
        &self,
        account: AccountId,
        selected: &mut Selected,
        request: &ThreadRequest,
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<(Vec<u8>, Option<ModSeq>), Stop> {
        let (search, found) = self.find(account, selected, &request.key, progress).await?;
        let modseq = highest(&found, &search, request.key.names_modseq(), None);
        let job = Threading {
            algorithm: request.algorithm,
            numbers: Arc::new(search.named(&found, request.uid)),
        };
        let threads = self
            .work_out(account, selected, (&search, &found), job, progress)
            .await?;
        if let Some(modseq) = modseq {
            selected.showed(modseq);
        }
        Ok((threads, modseq))
    }

    /// Pays for an answer that waits for the client. A short one is free.
    fn wait_in_line(&self, account: AccountId, bytes: usize) -> Result<Option<Charge>, Failure> {
        if bytes <= LINE_BYTES_FREE {
            return Ok(None);
        }
        let holder = holder::of_account(account);
        let charge = self.memory.sending.take_for(holder, bytes);
        charge.map(Some).ok_or(UNREAD)
    }

    /// Goes through the messages `found`, in their order, and reads what `make` says is needed: headers, or nothing.
    async fn gather<G: Gather>(
        &self,
        account: AccountId,
        selected: &Selected,
        search: &Search,
        found: &[Place],
        make: impl FnOnce(usize) -> (G, bool),
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<Gathered<G>, Stop> {
        let reading = Reading {
            holder: holder::of_account(account),
            mailbox: selected.id,
        };
        let share = self.memory.reading.share_bytes_max();
        let bytes_max = share.saturating_sub(SORT_READ_BYTES).min(SORT_BYTES_MAX);
        let expected = found.len().saturating_mul(SORT_BYTES_EXPECTED);
        let first = expected.min(bytes_max) + SORT_READ_BYTES;
        let charge = self.memory.reading.wait_for(reading.holder, first).await;
        let (of, needs_header) = make(found.len());
        let mut gathered = Gathered {
            of,
            charge,
            unread: Vec::new(),
            bytes_max,
            is_short: false,
        };
        pay(&mut gathered)?;
        if !needs_header {
            for chunk in found.chunks(ROWS_TOGETHER_MAX) {
                gathered = self.gather_some(search, chunk, Vec::new(), gathered).await;
                pay(&mut gathered)?;
                progress.step(chunk.len()).await?;
            }
            return Ok(gathered);
        }
        progress.expect(found.len());
        let mut rest = found;
        let mut next = self.summaries_of(search, &mut rest).await?;
        // until none is left: while one chunk is looked through, the next is read
        while let Some((chunk, summaries)) = next {
            let looked = self.gather_chunk(reading, search, (chunk, summaries), gathered);
            let read = self.summaries_of(search, &mut rest);
            let (looked, read) = tokio::join!(looked, read);
            gathered = looked?;
            pay(&mut gathered)?;
            progress.step(chunk.len()).await?;
            next = read?;
        }
        Ok(gathered)
    }

    /// Of a chunk, by its summaries. A message whose summary does not say enough is read as far as its header goes.
    async fn gather_chunk<G: Gather>(
        &self,
        reading: Reading,
        search: &Search,
        (chunk, summaries): Read<'_>,
        mut gathered: Gathered<G>,
    ) -> Result<Gathered<G>, Stop> {
        let (mut begin, mut run) = (0, Vec::new());
        for (index, summary) in summaries.into_iter().enumerate() {
            match summary {
                Ok(bytes) if Summary::is_complete(&bytes) => run.push(bytes),
                Ok(_) | Err(MailboxFault::Damaged) => {
                    let before = &chunk[begin..index];
                    let summaries = std::mem::take(&mut run);
                    gathered = self.gather_some(search, before, summaries, gathered).await;
                    gathered = self
                        .gather_one(reading, search, chunk[index], gathered)
                        .await?;
                    begin = index + 1;
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(self
            .gather_some(search, &chunk[begin..], run, gathered)
            .await)
    }

    /// Of messages with their summaries, or of rows alone. Beside the core when it is much.
    async fn gather_some<G: Gather>(
        &self,
        search: &Search,
        places: &[Place],
        summaries: Vec<Bytes>,
        mut gathered: Gathered<G>,
    ) -> Gathered<G> {
        let bytes = summaries.iter().map(Bytes::len).sum::<usize>() + places.len() * ROW_WORK_BYTES;
        let (messages, places) = (search.messages.clone(), places.to_vec());
        let look = move || {
            let mut unpaid = 0;
            for (at, (_, index)) in places.into_iter().enumerate() {
                let message = &messages[index];
                let header = match summaries.get(at).map(|bytes| Summary::header_in(bytes)) {
                    None => &[],
                    Some(Ok(header)) => header,
                    Some(Err(_)) => {
                        gathered.unread.push(message.uid.0);
                        &[]
                    }
                };
                if !add(&mut gathered, &mut unpaid, message, header) {
                    break;
                }
            }
            gathered
        };
        self.host.work(bytes, look).await
    }

    /// Of one message, by its header.
    async fn gather_one<G: Gather>(
        &self,
        reading: Reading,
        search: &Search,
        (_, index): Place,
        mut gathered: Gathered<G>,
    ) -> Result<Gathered<G>, Stop> {
        let header = self.header(reading, &search.messages[index]).await?;
        let messages = search.messages.clone();
        let look = move || {
            let message = &messages[index];
            if header.is_none() {
                gathered.unread.push(message.uid.0);
            }
            let header = header.as_deref().unwrap_or_default();
            gathered
                .of
                .add(message.internal_date, message.size_bytes, header);
            gathered
        };
        let bytes = SORT_HEADER_BYTES_MAX;
        Ok(self.host.work(bytes, look).await)
    }

    /// The header of a message, as far as it counts. `None`: it is damaged, and on the damage list, which reports it.
    async fn header(&self, reading: Reading, message: &Message) -> Result<Option<Vec<u8>>, Stop> {
        let mut reader = Reader {
            owner: &self.owner,
            host: &self.host,
            memory: &self.memory,
            reading,
            message,
            kept: None,
            large: true,
        };
        let end = SORT_HEADER_BYTES_MAX.min(message.body.raw_bytes as usize);
        let mut header = Vec::new();
        while header.len() < end {
            match reader.read(header.len(), end).await {
                Ok(piece) => {
                    // The empty line may be cut in two.
                    let from = header.len().saturating_sub(3);
                    header.extend_from_slice(&piece);
                    if memchr::memmem::find(&header[from..], b"\n\r\n").is_some()
                        || memchr::memmem::find(&header[from..], b"\n\n").is_some()
                    {
                        break;
                    }
                }
                Err(Unread::Mailbox(MailboxFault::Damaged)) => return Ok(None),
                Err(unread) => return Err(unread.into()),
            }
        }
        Ok(Some(header))
    }
}

/// Rows that are gone through at once.
const ROWS_TOGETHER_MAX: usize = 65_536;

/// Adds a message of a chunk, of which `unpaid` octets of headers are not paid for yet: references become some thirty times what they are.
/// `false`: there is no room for more.
fn add<G: Gather>(
    gathered: &mut Gathered<G>,
    unpaid: &mut usize,
    message: &Message,
    header: &[u8],
) -> bool {
    gathered
        .of
        .add(message.internal_date, message.size_bytes, header);
    *unpaid += header.len();
    if *unpaid <= SORT_UNPAID_BYTES_MAX {
        return true;
    }
    *unpaid = 0;
    pay(gathered).is_ok()
}

/// Pays for what was gathered, where it is more than was expected. Refused once, it stays so.
fn pay<G: Gather>(gathered: &mut Gathered<G>) -> Result<(), Failure> {
    let bytes = gathered.bytes();
    let missing = (bytes + SORT_READ_BYTES).saturating_sub(gathered.charge.bytes());
    gathered.is_short |= bytes > gathered.bytes_max;
    gathered.is_short = gathered.is_short || missing > 0 && !gathered.charge.grow(missing);
    match gathered.is_short {
        true => Err(TOO_MUCH),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use imap::sort::{SortCriterion, SortField};
    use runtime::{Budget, Holder};

    use super::super::limits::{SUMMARIES_PER_READ_MAX, SUMMARY_BYTES_PER_READ_MAX};
    use super::super::search::summary_chunk;
    use super::*;

    /// A sorter that holds some 50 KB, and pays for the first of them.
    fn gathered(budget: &Budget) -> Gathered<Sorter> {
        let by_subject = SortCriterion {
            field: SortField::Subject,
            reverse: false,
        };
        let mut of = Sorter::new(&[by_subject], 0);
        for number in 0..500 {
            let header = format!("Subject: {number} {}\r\n", "x".repeat(80));
            of.add(InternalDate::utc(0), 1, header.as_bytes());
        }
        let charge = budget.take_for(Holder(1), SORT_READ_BYTES);
        Gathered {
            of,
            charge: charge.expect("it is empty"),
            unread: Vec::new(),
            bytes_max: usize::MAX,
            is_short: false,
        }
    }

    #[test]
    fn what_is_held_is_paid_for_or_refused() {
        let budget = Budget::new(SORT_READ_BYTES + 1_000_000);
        let mut sorted = gathered(&budget);
        let bytes = sorted.of.memory_bytes();
        sorted.bytes_max = bytes;
        assert_eq!(pay(&mut sorted), Ok(()));
        assert_eq!(budget.used_bytes(), SORT_READ_BYTES + bytes);
        assert_eq!(pay(&mut sorted), Ok(()), "once");
        assert_eq!(budget.used_bytes(), SORT_READ_BYTES + bytes);
        sorted.bytes_max = bytes - 1;
        assert_eq!(pay(&mut sorted), Err(TOO_MUCH));
        sorted.bytes_max = bytes;
        assert_eq!(pay(&mut sorted), Err(TOO_MUCH), "messages may be missing");
        drop(sorted);
        assert_eq!(budget.used_bytes(), 0);
        // Without room it does not wait.
        let scarce = Budget::new(SORT_READ_BYTES + 1_000);
        assert_eq!(pay(&mut gathered(&scarce)), Err(TOO_MUCH));
    }

    /// One chunk of summaries with nothing but references would be 30 MB of links.
    #[test]
    fn what_a_chunk_becomes_is_paid_for_while_it_is_added() {
        let budget = Budget::new(SORT_READ_BYTES + 4_000_000);
        let charge = budget.take_for(Holder(1), SORT_READ_BYTES);
        let mut gathered = Gathered {
            of: Threader::new(imap::thread::ThreadAlgorithm::References),
            charge: charge.expect("it is empty"),
            unread: Vec::new(),
            bytes_max: usize::MAX,
            is_short: false,
        };
        let message = super::super::sample::message(1, 1);
        let (mut unpaid, mut added) = (0, 0);
        for number in 0..200 {
            let ids: String = (0..1_000).map(|id| format!("<{number}@{id}>")).collect();
            let header = format!("References: {ids}\r\n");
            added += 1;
            if !add(&mut gathered, &mut unpaid, &message, header.as_bytes()) {
                break;
            }
        }
        assert!(added < 100, "{added}");
        assert!(gathered.of.memory_bytes() <= gathered.charge.bytes());
        assert_eq!(pay(&mut gathered), Err(TOO_MUCH));
    }

    #[test]
    fn chunks_of_summaries_are_bounded_by_count_and_bytes() {
        let message = |bytes: u32| {
            let mut message = super::super::sample::message(1, 1);
            message.body.summary.bytes = bytes;
            message
        };
        let places: Vec<Place> = (0..1_000).map(|index| (index as u32 + 1, index)).collect();
        for (bytes, count) in [
            (0, SUMMARIES_PER_READ_MAX),
            (SUMMARY_BYTES_PER_READ_MAX as u32 / 10, 10),
            (SUMMARY_BYTES_PER_READ_MAX as u32 + 1, 1),
        ] {
            let messages = Arc::new(vec![message(bytes); 1_000]);
            assert_eq!(summary_chunk(&messages, &places), count);
        }
    }
}
