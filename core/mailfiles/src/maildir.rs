//! Names of the files of a Maildir, and the keywords that Dovecot keeps beside them.
//!
//! A name is a base that never changes, and an info behind `:2,` with a letter for each flag (cr.yp.to/proto/maildir.html). Small letters are keywords by their number in
//! the file `dovecot-keywords` of the folder.

use mail::flags::KEYWORDS_MAX;
use mail::{Flags, Keyword, SystemFlags};

use crate::limits::{KEYWORDS_BYTES_MAX, LETTERS_MAX};

/// In ASCII order, as the info wants them. `P` (passed) has no flag in IMAP.
const LETTERS: [(SystemFlags, u8); 5] = [
    (SystemFlags::DRAFT, b'D'),
    (SystemFlags::FLAGGED, b'F'),
    (SystemFlags::ANSWERED, b'R'),
    (SystemFlags::SEEN, b'S'),
    (SystemFlags::DELETED, b'T'),
];

/// The part of a file's name that stays, and the letters behind it.
pub fn split(name: &[u8]) -> (&[u8], &[u8]) {
    let at = name.windows(3).rposition(|window| window == b":2,");
    at.map_or((name, &[]), |at| (&name[..at], &name[at + 3..]))
}

/// What the letters of an info mean.
pub fn flags(info: &[u8], keywords: &Keywords) -> Flags {
    let mut flags = Flags::default();
    for letter in info {
        match letter {
            b'a'..=b'z' => {
                let keyword = keywords.0[usize::from(letter - b'a')].as_ref();
                if let Some(keyword) = keyword
                    && flags.keywords.len() < KEYWORDS_MAX
                    && !flags.has_keyword(keyword)
                {
                    flags.keywords.push(keyword.clone());
                }
            }
            // Dovecot adds fields behind a comma.
            b',' => break,
            letter => {
                let mut known = LETTERS.iter();
                if let Some((flag, _)) = known.find(|(_, known)| known == letter) {
                    flags.system = flags.system.with(*flag);
                }
            }
        }
    }
    flags
}

/// The letters for these flags. A keyword without a letter gets the next one; `false`: there was none left for some keyword, which is omitted.
pub fn info(flags: &Flags, keywords: &mut Keywords) -> (String, bool) {
    let mut letters: Vec<u8> = LETTERS
        .iter()
        .filter(|(flag, _)| flags.system.contains(*flag))
        .map(|(_, letter)| *letter)
        .collect();
    let mut is_whole = true;
    for keyword in &flags.keywords {
        match keywords.number(keyword) {
            Some(number) => letters.push(b'a' + number as u8),
            None => is_whole = false,
        }
    }
    letters.sort_unstable();
    (letters.into_iter().map(char::from).collect(), is_whole)
}

/// The keywords of one folder, by their letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keywords([Option<Keyword>; LETTERS_MAX]);

impl Keywords {
    /// Reads `dovecot-keywords`: lines of a number and a keyword. What is not one is omitted.
    pub fn parse(file: &[u8]) -> Keywords {
        let mut keywords = Keywords::default();
        let file = &file[..file.len().min(KEYWORDS_BYTES_MAX)];
        for line in file.split(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(line).unwrap_or("").trim_end();
            let Some((number, keyword)) = line.split_once(' ') else {
                continue;
            };
            let number = number.parse::<usize>().ok();
            let number = number.filter(|number| *number < LETTERS_MAX);
            if let (Some(number), Some(keyword)) = (number, Keyword::parse(keyword)) {
                keywords.0[number] = Some(keyword);
            }
        }
        keywords
    }

    pub fn encode(&self) -> String {
        let all = self.0.iter().enumerate();
        all.filter_map(|(number, keyword)| {
            let keyword = keyword.as_ref()?;
            Some(format!("{number} {}\n", keyword.as_str()))
        })
        .collect()
    }

    fn number(&mut self, keyword: &Keyword) -> Option<usize> {
        let same = |known: &Option<Keyword>| known.as_ref() == Some(keyword);
        let number = self.0.iter().position(same);
        number.or_else(|| {
            let free = self.0.iter().position(Option::is_none)?;
            self.0[free] = Some(keyword.clone());
            Some(free)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(text: &str) -> Keyword {
        Keyword::parse(text).expect("an atom")
    }

    #[test]
    fn the_base_is_what_stands_before_the_last_info() {
        for (name, base, info) in [
            ("1.a.host:2,FS", "1.a.host", "FS"),
            ("1.a.host", "1.a.host", ""),
            ("1.a:2,b:2,S", "1.a:2,b", "S"),
            ("1.a,S=12,W=13:2,", "1.a,S=12,W=13", ""),
            ("", "", ""),
        ] {
            assert_eq!(split(name.as_bytes()), (base.as_bytes(), info.as_bytes()));
        }
    }

    #[test]
    fn letters_are_flags_and_keywords_by_number() {
        let keywords =
            Keywords::parse(b"0 $Junk\n1 Work\n1x bad\n99 far\n2 (no)\n\xff\n3 later\r\n");
        let found = flags(b"DFPRSTad,x", &keywords);
        let all = LETTERS
            .iter()
            .fold(SystemFlags::default(), |all, (flag, _)| all.with(*flag));
        assert_eq!(found.system, all);
        assert_eq!(found.keywords, [keyword("$Junk"), keyword("later")]);
        assert_eq!(keywords.encode(), "0 $Junk\n1 Work\n3 later\n");
    }

    #[test]
    fn flags_come_back_and_the_27th_keyword_is_said_to_be_missing() {
        let mut keywords = Keywords::default();
        for number in 0..LETTERS_MAX {
            let flags_of = Flags {
                system: SystemFlags::SEEN.with(SystemFlags::DRAFT),
                keywords: vec![keyword(&format!("k{number}"))],
            };
            let (letters, is_whole) = info(&flags_of, &mut keywords);
            assert!(is_whole && letters.starts_with("DS"), "{letters}");
            let keywords = Keywords::parse(keywords.encode().as_bytes());
            assert_eq!(flags(letters.as_bytes(), &keywords), flags_of);
        }
        let more = Flags {
            keywords: vec![keyword("K3"), keyword("one-too-many")],
            ..Flags::default()
        };
        assert_eq!(info(&more, &mut keywords), ("d".to_owned(), false));
    }
}
