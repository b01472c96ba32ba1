//! SEARCH: rows first, summaries of those that rows cannot decide, bodies of those that summaries cannot.

use std::fmt::Write as _;

use bytes::Bytes;
use imap::command::{SearchRequest, SearchResults};
use imap::respond::put;
use imap::search::{Content, Matcher, Row, Verdict};
use imap::sequence;
use mail::Summary;
use mailbox::{MailboxFault, Message};
use store::BodyRef;

use super::fault::Failure;
use super::limits::{
    BODIES_PER_READ_MAX, BODY_BYTES_PER_READ_MAX, SAVED_RANGES_MAX, SUMMARIES_PER_READ_MAX,
};
use super::recent::Recent;
use super::selected::Selected;
use super::{Done, Imap};

impl Imap {
    pub(super) async fn on_search(
        &self,
        selected: &mut Selected,
        request: &SearchRequest,
        rev2: bool,
        tag: &str,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        let id = selected.id;
        let view = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.view(id).await })
            .await??;
        let numbering = &selected.numbering;
        let rows = Rows {
            messages: &view.messages,
            recent: selected.recent_shown(),
        };
        let matcher = Matcher::new(
            &request.key,
            numbering.count(),
            numbering.highest_uid(),
            &selected.saved,
        );
        // (number, index in the view); what arrived since the client was last told has no number yet.
        let mut found: Vec<(u32, usize)> = Vec::new();
        let mut open: Vec<(u32, usize)> = Vec::new();
        for (index, message) in view.messages.iter().enumerate() {
            let Some(number) = numbering.number_of(message.uid.0) else {
                continue;
            };
            match matcher.verdict(rows.row(number, index), Content::default()) {
                Verdict::Yes => found.push((number, index)),
                Verdict::No => {}
                Verdict::NeedSummary | Verdict::NeedBody => open.push((number, index)),
            }
        }
        for chunk in open.chunks(SUMMARIES_PER_READ_MAX) {
            let more = self.search_deeper(&matcher, &rows, chunk).await?;
            found.extend(more);
        }
        found.sort_unstable();
        if let Some(results) = request.results.filter(|results| results.save) {
            let uids = found.iter().map(|&(_, index)| view.messages[index].uid.0);
            selected.saved = saved(uids, results).ok_or(Failure::No(
                "NOTSAVED",
                "the result is too scattered to be saved",
            ))?;
        }
        let uid = request.uid;
        let named = |&(number, index): &(u32, usize)| {
            if uid {
                view.messages[index].uid.0
            } else {
                number
            }
        };
        let found: Vec<u32> = found.iter().map(named).collect();
        put_results(out, tag, &found, request, rev2);
        Ok(Done::plain("searched"))
    }

    /// Those of `open` that match, having read what it takes.
    async fn search_deeper(
        &self,
        matcher: &Matcher<'_>,
        rows: &Rows<'_>,
        open: &[(u32, usize)],
    ) -> Result<Vec<(u32, usize)>, Failure> {
        let refs: Vec<BodyRef> = refs(rows.messages, open);
        let summaries = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.summaries(&refs).await })
            .await?;
        let mut found = Vec::new();
        let mut open_still = Vec::new();
        for (&(number, index), summary) in open.iter().zip(&summaries) {
            let summary = match summary {
                Ok(bytes) => Summary::decode(bytes).ok(),
                Err(MailboxFault::Damaged) => None,
                Err(fault) => return Err(fault.clone().into()),
            };
            // A summary that cannot be read costs a look at the body.
            let verdict = match &summary {
                Some(summary) => matcher.verdict(
                    rows.row(number, index),
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
        let mut rest = &open_still[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(body_chunk(rows.messages, rest));
            rest = after;
            found.extend(self.search_bodies(matcher, rows, chunk).await?);
        }
        Ok(found)
    }

    async fn search_bodies(
        &self,
        matcher: &Matcher<'_>,
        rows: &Rows<'_>,
        open: &[(u32, usize)],
    ) -> Result<Vec<(u32, usize)>, Failure> {
        let bytes: usize = open
            .iter()
            .map(|&(_, index)| rows.messages[index].size_bytes as usize)
            .sum();
        let _charge = self.memory(bytes).await.ok_or(Failure::Busy)?;
        let refs: Vec<BodyRef> = refs(rows.messages, open);
        let bodies: Vec<Result<Bytes, MailboxFault>> = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.bodies(&refs).await })
            .await?;
        let mut found = Vec::new();
        for (&(number, index), body) in open.iter().zip(bodies) {
            let body = match body {
                Ok(body) => body,
                // A damaged message is not found; it is on the damage list, where its owner is told.
                Err(MailboxFault::Damaged) => continue,
                Err(fault) => return Err(fault.into()),
            };
            let content = Content {
                summary: None,
                body: Some(&body),
            };
            if matcher.verdict(rows.row(number, index), content) == Verdict::Yes {
                found.push((number, index));
            }
        }
        Ok(found)
    }
}

fn refs(messages: &[Message], chosen: &[(u32, usize)]) -> Vec<BodyRef> {
    chosen
        .iter()
        .map(|&(_, index)| messages[index].body.clone())
        .collect()
}

/// How many of `open` are read at once: one at least.
fn body_chunk(messages: &[Message], open: &[(u32, usize)]) -> usize {
    let mut bytes = 0;
    let fits = |&&(_, index): &&(u32, usize)| {
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

/// What SEARCH knows of the messages before it reads.
struct Rows<'v> {
    messages: &'v [Message],
    recent: Option<&'v Recent>,
}

impl Rows<'_> {
    fn row(&self, number: u32, index: usize) -> Row<'_> {
        let message = &self.messages[index];
        Row {
            number,
            uid: message.uid.0,
            flags: &message.flags,
            recent: self
                .recent
                .is_some_and(|recent| recent.contains(message.uid)),
            internal_date: message.internal_date,
            size_bytes: message.size_bytes,
        }
    }
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

/// `found` ascends.
fn put_results(out: &mut Vec<u8>, tag: &str, found: &[u32], request: &SearchRequest, rev2: bool) {
    let results = match request.results {
        Some(results) if results.is_silent() => return,
        Some(results) => results,
        // RFC 9051 §6.4.4: with rev2 enabled, SEARCH without RETURN is as RETURN (ALL).
        None if rev2 => SearchResults {
            all: true,
            ..SearchResults::default()
        },
        None => {
            put(out, "* SEARCH");
            let mut line = String::with_capacity(found.len() * 6);
            for number in found {
                let _ = write!(line, " {number}");
            }
            put(out, &line);
            return put(out, "\r\n");
        }
    };
    put(out, "* ESEARCH (TAG ");
    imap::respond::put_string(out, tag.as_bytes());
    put(out, ")");
    if request.uid {
        put(out, " UID");
    }
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        if results.min {
            put(out, &format!(" MIN {first}"));
        }
        if results.max {
            put(out, &format!(" MAX {last}"));
        }
        if results.all {
            put(
                out,
                &format!(" ALL {}", sequence::compact(found.iter().copied())),
            );
        }
    }
    if results.count {
        put(out, &format!(" COUNT {}", found.len()));
    }
    put(out, "\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap::{Body, Names, parse};

    fn results(line: &str, found: &[u32], rev2: bool) -> String {
        let command = parse::command(format!("t {line}\r\n").as_bytes(), Names::Utf8).unwrap();
        let Body::Search(request) = command.body else {
            panic!()
        };
        let mut out = Vec::new();
        put_results(&mut out, "t", found, &request, rev2);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn results_take_the_form_that_was_asked_for() {
        assert_eq!(
            results("SEARCH ALL", &[1, 2, 5], false),
            "* SEARCH 1 2 5\r\n"
        );
        assert_eq!(results("SEARCH ALL", &[], false), "* SEARCH\r\n");
        assert_eq!(
            results("UID SEARCH ALL", &[1, 2, 5], true),
            "* ESEARCH (TAG \"t\") UID ALL 1:2,5\r\n"
        );
        assert_eq!(
            results("SEARCH RETURN (MIN MAX COUNT) ALL", &[3, 9], false),
            "* ESEARCH (TAG \"t\") MIN 3 MAX 9 COUNT 2\r\n"
        );
        assert_eq!(
            results("SEARCH RETURN (COUNT MIN) ALL", &[], false),
            "* ESEARCH (TAG \"t\") COUNT 0\r\n"
        );
        assert_eq!(
            results("SEARCH RETURN () ALL", &[], false),
            "* ESEARCH (TAG \"t\")\r\n"
        );
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

    #[test]
    fn saving_alone_is_silent() {
        assert_eq!(results("SEARCH RETURN (SAVE) ALL", &[1, 2], true), "");
        assert_eq!(
            results("SEARCH RETURN (SAVE COUNT) ALL", &[1, 2], true),
            "* ESEARCH (TAG \"t\") COUNT 2\r\n"
        );
    }
}
