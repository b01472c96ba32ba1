//! The line that answers a SEARCH.

use imap::command::{SearchRequest, SearchResults};
use imap::respond::{put, put_number};

use mail::ModSeq;

use super::super::limits::OUTPUT_BYTES_MAX;

/// The line, put into `out` bit by bit: it may name millions.
pub struct Results<'f> {
    head: String,
    rest: &'f [u32],
    /// Neighbours are sent as ranges.
    in_ranges: bool,
    /// Stands between two of them.
    between: &'static str,
    tail: String,
}

impl<'f> Results<'f> {
    /// Of a SEARCH. `found` ascends; `modseq` is that of RFC 7162 §3.1.6. `None`: no line is to be sent.
    pub fn new(
        tag: &str,
        found: &'f [u32],
        modseq: Option<ModSeq>,
        request: &SearchRequest,
        rev2: bool,
    ) -> Option<Results<'f>> {
        // RFC 9051 §6.4.4: with rev2 enabled, SEARCH without RETURN is as RETURN (ALL).
        let all = SearchResults {
            all: true,
            ..SearchResults::default()
        };
        match request.results.or(rev2.then_some(all)) {
            Some(wanted) => Results::extended(tag, found, modseq, wanted, (request.uid, true)),
            None => Some(Results::plain("* SEARCH", found, modseq)),
        }
    }

    /// Of a SORT: `found` is in its order, and without RETURN the answer is never ESEARCH (RFC 5267 §3).
    pub fn sorted(
        tag: &str,
        found: &'f [u32],
        modseq: Option<ModSeq>,
        request: &SearchRequest,
    ) -> Option<Results<'f>> {
        match request.results {
            Some(wanted) => Results::extended(tag, found, modseq, wanted, (request.uid, false)),
            None => Some(Results::plain("* SORT", found, modseq)),
        }
    }

    fn plain(head: &str, found: &'f [u32], modseq: Option<ModSeq>) -> Results<'f> {
        Results {
            head: head.into(),
            rest: found,
            in_ranges: false,
            between: " ",
            tail: match modseq {
                Some(ModSeq(modseq)) => format!(" (MODSEQ {modseq})\r\n"),
                None => "\r\n".into(),
            },
        }
    }

    /// ESEARCH. A sorted list has no ranges, in which a client might see no order.
    fn extended(
        tag: &str,
        found: &'f [u32],
        modseq: Option<ModSeq>,
        wanted: SearchResults,
        (uid, in_ranges): (bool, bool),
    ) -> Option<Results<'f>> {
        if wanted.is_silent() {
            return None;
        }
        let mut name = Vec::new();
        imap::respond::put_string(&mut name, tag.as_bytes());
        let name = String::from_utf8(name).expect("a tag is ASCII");
        let mut results = Results {
            head: format!("* ESEARCH (TAG {name})"),
            rest: &[],
            in_ranges,
            between: ",",
            tail: String::new(),
        };
        if uid {
            results.head += " UID";
        }
        if let (Some(first), Some(last)) = (found.first(), found.last()) {
            if wanted.min {
                results.head += &format!(" MIN {first}");
            }
            if wanted.max {
                results.head += &format!(" MAX {last}");
            }
            if wanted.all {
                results.head += " ALL";
                results.rest = found;
            }
        }
        if let Some(slice) = wanted.partial {
            results.head += &format!(" PARTIAL ({}", slice.written());
            results.rest = &found[slice.of(found.len())];
            // RFC 9394 §3.1.
            results.tail += if results.rest.is_empty() {
                " NIL)"
            } else {
                ")"
            };
        }
        if wanted.count {
            results.tail += &format!(" COUNT {}", found.len());
        }
        if let Some(ModSeq(modseq)) = modseq {
            results.tail += &format!(" MODSEQ {modseq}");
        }
        results.tail += "\r\n";
        Some(results)
    }

    /// `true`: `out` is to be sent before there is more.
    pub fn put_some(&mut self, out: &mut Vec<u8>) -> bool {
        let mut before = if self.head.is_empty() {
            self.between
        } else {
            " "
        };
        put(out, &std::mem::take(&mut self.head));
        while let Some(&first) = self.rest.first() {
            if out.len() > OUTPUT_BYTES_MAX {
                return true;
            }
            let joined = |pair: &&[u32]| self.in_ranges && pair[0].checked_add(1) == Some(pair[1]);
            let more = self.rest.windows(2).take_while(joined).count();
            put(out, before);
            before = self.between;
            put_number(out, first);
            if more > 0 {
                put(out, ":");
                put_number(out, self.rest[more]);
            }
            self.rest = &self.rest[more + 1..];
        }
        put(out, &std::mem::take(&mut self.tail));
        false
    }
}

#[cfg(test)]
mod tests {
    use imap::{Body, Names, parse, sequence};

    use super::*;

    fn results(line: &str, found: &[u32], rev2: bool) -> String {
        let command = parse::command(format!("t {line}\r\n").as_bytes(), Names::Utf8).unwrap();
        let Body::Search(request) = command.body else {
            panic!()
        };
        let modseq = request.key.names_modseq().then_some(ModSeq(77));
        let modseq = modseq.filter(|_| !found.is_empty());
        let mut out = Vec::new();
        if let Some(mut results) = Results::new("t", found, modseq, &request, rev2) {
            let mut sent = Vec::new();
            while results.put_some(&mut out) {
                assert!(out.len() < OUTPUT_BYTES_MAX + 64);
                sent.append(&mut out);
            }
            sent.append(&mut out);
            out = sent;
        }
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

    /// RFC 9394 §3.1: the part that is asked for, counted from either end.
    #[test]
    fn a_part_of_the_results_is_named_with_its_range() {
        let line = |returned: &str| {
            results(
                &format!("UID SEARCH RETURN ({returned}) ALL"),
                &[3, 4, 5, 9],
                false,
            )
        };
        let head = "* ESEARCH (TAG \"t\") UID";
        assert_eq!(line("PARTIAL 1:3"), format!("{head} PARTIAL (1:3 3:5)\r\n"));
        assert_eq!(
            line("PARTIAL 3:500"),
            format!("{head} PARTIAL (3:500 5,9)\r\n")
        );
        assert_eq!(
            line("PARTIAL -1:-2"),
            format!("{head} PARTIAL (-1:-2 5,9)\r\n")
        );
        assert_eq!(line("PARTIAL 5:9"), format!("{head} PARTIAL (5:9 NIL)\r\n"));
        assert_eq!(
            line("COUNT PARTIAL 2:2 MAX"),
            format!("{head} MAX 9 PARTIAL (2:2 4) COUNT 4\r\n")
        );
    }

    #[test]
    fn sorted_results_keep_their_order() {
        let line = |line: &str| {
            let command = parse::command(format!("t {line}\r\n").as_bytes(), Names::Utf8).unwrap();
            let Body::Sort(request) = command.body else {
                panic!()
            };
            let modseq = request.search.key.names_modseq().then_some(ModSeq(77));
            let found = [9, 3, 4, 1];
            let mut out = Vec::new();
            let results = Results::sorted("t", &found, modseq, &request.search);
            assert!(!results.unwrap().put_some(&mut out));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line("SORT (DATE) UTF-8 ALL"), "* SORT 9 3 4 1\r\n");
        assert_eq!(
            line("SORT (DATE) UTF-8 MODSEQ 5"),
            "* SORT 9 3 4 1 (MODSEQ 77)\r\n"
        );
        assert_eq!(
            line("UID SORT RETURN () (DATE) UTF-8 ALL"),
            "* ESEARCH (TAG \"t\") UID ALL 9,3,4,1\r\n"
        );
        assert_eq!(
            line("SORT RETURN (MIN MAX COUNT PARTIAL -1:-2) (DATE) UTF-8 MODSEQ 5"),
            "* ESEARCH (TAG \"t\") MIN 9 MAX 1 PARTIAL (-1:-2 4,1) COUNT 4 MODSEQ 77\r\n"
        );
    }

    #[test]
    fn the_highest_modseq_ends_the_line() {
        let line = results("SEARCH MODSEQ 5", &[1, 2], false);
        assert_eq!(line, "* SEARCH 1 2 (MODSEQ 77)\r\n");
        assert_eq!(results("SEARCH MODSEQ 5", &[], false), "* SEARCH\r\n");
        let line = results("SEARCH RETURN (ALL COUNT) MODSEQ 5", &[1, 2], false);
        assert_eq!(line, "* ESEARCH (TAG \"t\") ALL 1:2 COUNT 2 MODSEQ 77\r\n");
    }

    #[test]
    fn a_long_answer_is_put_together_in_pieces() {
        let every_second: Vec<u32> = (1..=60_000).map(|n| 2 * n).collect();
        let plain = results("SEARCH ALL", &every_second, false);
        let numbers = plain.strip_prefix("* SEARCH ").unwrap().trim_end();
        let numbers: Vec<u32> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers, every_second);
        let extended = results("SEARCH RETURN (ALL COUNT) ALL", &every_second, false);
        let set = sequence::compact(every_second.iter().copied());
        assert_eq!(
            extended,
            format!("* ESEARCH (TAG \"t\") ALL {set} COUNT 60000\r\n")
        );
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
