//! The line that answers a SEARCH.

use imap::command::{SearchRequest, SearchResults};
use imap::respond::{put, put_number};

use mail::ModSeq;

use super::super::limits::OUTPUT_BYTES_MAX;

/// The line, put into `out` bit by bit: it may name millions.
pub(super) struct Results<'f> {
    head: String,
    rest: &'f [u32],
    in_ranges: bool,
    tail: String,
}

impl<'f> Results<'f> {
    /// `found` ascends; `modseq` is that of RFC 7162 §3.1.6. `None`: no line is to be sent.
    pub fn new(
        tag: &str,
        found: &'f [u32],
        modseq: Option<ModSeq>,
        request: &SearchRequest,
        rev2: bool,
    ) -> Option<Results<'f>> {
        let wanted = match request.results {
            Some(wanted) if wanted.is_silent() => return None,
            Some(wanted) => wanted,
            // RFC 9051 §6.4.4: with rev2 enabled, SEARCH without RETURN is as RETURN (ALL).
            None if rev2 => SearchResults {
                all: true,
                ..SearchResults::default()
            },
            None => {
                return Some(Results {
                    head: "* SEARCH".into(),
                    rest: found,
                    in_ranges: false,
                    tail: match modseq {
                        Some(ModSeq(modseq)) => format!(" (MODSEQ {modseq})\r\n"),
                        None => "\r\n".into(),
                    },
                });
            }
        };
        let mut name = Vec::new();
        imap::respond::put_string(&mut name, tag.as_bytes());
        let name = String::from_utf8(name).expect("a tag is ASCII");
        let mut results = Results {
            head: format!("* ESEARCH (TAG {name})"),
            rest: &[],
            in_ranges: true,
            tail: "\r\n".into(),
        };
        if request.uid {
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
        let mut tail = String::new();
        if wanted.count {
            tail += &format!(" COUNT {}", found.len());
        }
        if let Some(ModSeq(modseq)) = modseq {
            tail += &format!(" MODSEQ {modseq}");
        }
        results.tail = tail + "\r\n";
        Some(results)
    }

    /// `true`: `out` is to be sent before there is more.
    pub fn put_some(&mut self, out: &mut Vec<u8>) -> bool {
        let mut before = if self.head.is_empty() { "," } else { " " };
        put(out, &std::mem::take(&mut self.head));
        while let Some(&first) = self.rest.first() {
            if out.len() > OUTPUT_BYTES_MAX {
                return true;
            }
            let joined = |pair: &&[u32]| self.in_ranges && pair[0].checked_add(1) == Some(pair[1]);
            let more = self.rest.windows(2).take_while(joined).count();
            put(out, if self.in_ranges { before } else { " " });
            before = ",";
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
