//! Which keywords a session's client has been shown (RFC 9051 §7.3.5): FLAGS and PERMANENTFLAGS come before the first use of
//! a keyword that they do not list.

use imap::respond::put_mailbox_flags;
use mail::{Keyword, Rights};
use mailbox::Message;

use super::limits::{ANNOUNCED_TOGETHER_MAX, KEYWORDS_SHOWN_MAX};

/// The keywords that FLAGS has listed in this session.
pub struct Keywords {
    /// Oldest first, at most `KEYWORDS_SHOWN_MAX`. One that fell out is shown once more when it is used.
    shown: Vec<Keyword>,
    /// Which of them may be set; none in a mailbox that was opened for reading.
    rights: Rights,
}

impl Keywords {
    /// `shown`: those that SELECT lists.
    pub fn new(shown: Vec<Keyword>, rights: Rights) -> Keywords {
        Keywords { shown, rights }
    }

    /// The FLAGS and PERMANENTFLAGS lines.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_mailbox_flags(out, &self.shown, self.rights);
    }

    /// Whether the flags of so many messages are announced together: see `ANNOUNCED_TOGETHER_MAX`.
    pub fn batch<T>(messages: &[T]) -> impl Iterator<Item = &[T]> {
        messages.chunks(ANNOUNCED_TOGETHER_MAX)
    }

    /// The flags of `messages` are about to be sent.
    pub fn announce<'m>(
        &mut self,
        messages: impl IntoIterator<Item = &'m Message>,
        out: &mut Vec<u8>,
    ) {
        let before = self.shown.len();
        for message in messages {
            for keyword in &message.flags.keywords {
                if !self.shown.contains(keyword) {
                    self.shown.push(keyword.clone());
                }
            }
        }
        if self.shown.len() == before {
            return;
        }
        self.put(out);
        let surplus = self.shown.len().saturating_sub(KEYWORDS_SHOWN_MAX);
        self.shown.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::message;
    use super::*;

    fn with(keywords: &[&str]) -> Message {
        let mut message = message(1, 1);
        message.flags.keywords = keywords
            .iter()
            .map(|text| Keyword::parse(text).unwrap())
            .collect();
        message
    }

    fn announced(keywords: &mut Keywords, messages: &[Message]) -> String {
        let mut out = Vec::new();
        keywords.announce(messages, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_new_keyword_is_shown_once() {
        let mut keywords = Keywords::new(with(&["Work"]).flags.keywords, Rights::ALL);
        assert_eq!(announced(&mut keywords, &[with(&["work"])]), "");
        assert_eq!(
            announced(&mut keywords, &[with(&["Work", "$Junk"]), with(&["a"])]),
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work $Junk a)\r\n\
             * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work $Junk a \\*)] flags that are kept\r\n"
        );
        assert_eq!(announced(&mut keywords, &[with(&["A", "$junk"])]), "");
    }

    #[test]
    fn what_is_open_read_only_keeps_none() {
        let mut keywords = Keywords::new(Vec::new(), Rights::NONE);
        let text = announced(&mut keywords, &[with(&["Work"])]);
        assert!(text.starts_with("* FLAGS (") && text.contains(" Work)\r\n"));
        assert!(text.contains("[PERMANENTFLAGS ()]"));
    }

    #[test]
    fn no_session_remembers_keywords_without_end() {
        let mut keywords = Keywords::new(Vec::new(), Rights::ALL);
        for number in 0..2 * KEYWORDS_SHOWN_MAX {
            let name = format!("k{number}");
            assert!(announced(&mut keywords, &[with(&[&name])]).contains(&name));
        }
        assert_eq!(keywords.shown.len(), KEYWORDS_SHOWN_MAX);
        assert_ne!(announced(&mut keywords, &[with(&["k0"])]), "");
    }
}
