//! SEARCH, SORT and THREAD: what is asked for, and the program of keys.

use super::Line;
use crate::command::SearchResults;
use crate::date::encode_day;
use crate::respond::put_number;
use crate::search::SearchKey;

impl Line<'_> {
    /// RETURN options where results are asked for (RFC 4731).
    pub(super) fn results(&mut self, results: Option<SearchResults>) {
        let Some(results) = results else { return };
        self.word(" RETURN (");
        let options = [
            (results.min, "MIN"),
            (results.max, "MAX"),
            (results.count, "COUNT"),
            (results.save, "SAVE"),
        ];
        self.words(options);
        if let Some(slice) = results.partial {
            let alone = !(results.min || results.max || results.count || results.save);
            self.word(if alone { "" } else { " " });
            self.word(&format!("PARTIAL {}", slice.written()));
        }
        self.word(if results.all { " ALL)" } else { ")" });
    }

    /// The charset and the keys.
    pub(super) fn program(&mut self, key: &SearchKey) {
        self.word(" UTF-8 ");
        match key {
            SearchKey::And(keys) if keys.len() > 1 => self.keys(keys),
            key => self.key(key),
        }
    }

    /// Keys that all must hold.
    pub(super) fn keys(&mut self, keys: &[SearchKey]) {
        for (index, key) in keys.iter().enumerate() {
            if index > 0 {
                self.word(" ");
            }
            self.key(key);
        }
    }

    pub(super) fn key(&mut self, key: &SearchKey) {
        match key {
            SearchKey::All => self.word("ALL"),
            SearchKey::And(keys) => {
                self.word("(");
                self.keys(keys);
                self.word(")");
            }
            SearchKey::Or(pair) => {
                self.word("OR ");
                self.key(&pair.0);
                self.word(" ");
                self.key(&pair.1);
            }
            SearchKey::Not(key) => {
                self.word("NOT ");
                self.key(key);
            }
            SearchKey::Numbers(set) => set.encode(self.out),
            SearchKey::Uids(set) => {
                self.word("UID ");
                set.encode(self.out);
            }
            SearchKey::System(flag) => {
                let named = crate::parse::SYSTEM_FLAGS
                    .iter()
                    .find(|(_, known)| known == flag);
                let (name, _) = named.expect("a key names one system flag");
                self.word(&name[1..].to_ascii_uppercase());
            }
            SearchKey::Keyword(keyword) => {
                self.word("KEYWORD ");
                self.word(keyword);
            }
            SearchKey::Recent => self.word("RECENT"),
            SearchKey::Before(day) => self.day("BEFORE ", *day),
            SearchKey::On(day) => self.day("ON ", *day),
            SearchKey::Since(day) => self.day("SINCE ", *day),
            SearchKey::SentBefore(day) => self.day("SENTBEFORE ", *day),
            SearchKey::SentOn(day) => self.day("SENTON ", *day),
            SearchKey::SentSince(day) => self.day("SENTSINCE ", *day),
            SearchKey::Larger(bytes) => {
                self.word("LARGER ");
                put_number(self.out, *bytes);
            }
            SearchKey::Smaller(bytes) => {
                self.word("SMALLER ");
                put_number(self.out, *bytes);
            }
            SearchKey::Older(seconds) => {
                self.word("OLDER ");
                put_number(self.out, *seconds);
            }
            SearchKey::Younger(seconds) => {
                self.word("YOUNGER ");
                put_number(self.out, *seconds);
            }
            SearchKey::ModSeq(modseq) => {
                self.word("MODSEQ ");
                put_number(self.out, modseq.0);
            }
            SearchKey::SavedBefore(day) => self.day("SAVEDBEFORE ", *day),
            SearchKey::SavedOn(day) => self.day("SAVEDON ", *day),
            SearchKey::SavedSince(day) => self.day("SAVEDSINCE ", *day),
            SearchKey::EmailId(id) => {
                self.word("EMAILID ");
                self.word(id);
            }
            SearchKey::ThreadId(id) => {
                self.word("THREADID ");
                self.word(id);
            }
            SearchKey::Envelope { field, text } => {
                self.word(field.word());
                self.word(" ");
                self.string(text.as_bytes());
            }
            SearchKey::Header { name, text } => {
                self.word("HEADER ");
                self.string(name.as_bytes());
                self.word(" ");
                self.string(text.as_bytes());
            }
            SearchKey::Body(text) => {
                self.word("BODY ");
                self.string(text.as_bytes());
            }
            SearchKey::Text(text) => {
                self.word("TEXT ");
                self.string(text.as_bytes());
            }
        }
    }

    /// A key with a date, without its quotes.
    pub(super) fn day(&mut self, word: &str, day: i64) {
        self.word(word);
        self.word(&encode_day(day));
    }
}
