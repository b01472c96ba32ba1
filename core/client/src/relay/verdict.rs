//! What a try came to for one recipient.

use queue::limits::{HOST_BYTES_MAX, REPLY_BYTES_MAX};
use smtp::client::Reply;

/// Why a message is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 4xx to the sender, a recipient or the content: greylisting, a full mailbox.
    Refused,
    /// 452 to a recipient that was one too many: the next transaction takes it.
    Rest,
    /// 421, or 4xx to the greeting: the server has enough of us.
    Closing,
    /// No connection could be made.
    Connect,
    /// The connection broke, hung or made no sense; whether content was taken is not known.
    Broken,
    /// The name could not be looked up.
    Names,
    /// TLS is needed and failed.
    Tls,
    /// Something of ours: no memory, storage busy, a mailbox here without room.
    Ours,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server answered 250 to the content: the message is its own now.
    Delivered(Said),
    /// For good.
    Failed(Said),
    /// To be tried again.
    Later(Class, Said),
}

/// What was said, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// A reply as it came in one line (`550 5.1.1 no such user`), or our own words behind a status (`4.4.1 …`). At most
    /// `queue::limits::REPLY_BYTES_MAX`.
    pub text: String,
    /// The server's name; empty: we said it.
    pub host: String,
    /// Reports about success are now the server's (RFC 3461 §5.2.2).
    pub reports: bool,
    /// How the server was reached, for those who ask where a message is.
    pub tls: Assured,
}

/// How far TLS vouched for the server that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Assured {
    /// In clear, or there was no conversation.
    #[default]
    Clear,
    /// Under TLS, with a certificate that was not judged.
    Opportunistic,
    /// Its certificate is valid, as the policy of its domain asks (MTA-STS).
    Policy,
    /// Its domain publishes its certificate (DANE).
    Dane,
}

impl Assured {
    /// As the trace has it.
    pub fn word(self) -> &'static str {
        match self {
            Assured::Clear => "none",
            Assured::Opportunistic => "opportunistic",
            Assured::Policy => "MTA-STS",
            Assured::Dane => "DANE",
        }
    }
}

impl Said {
    /// Our own words; `status` as RFC 3463 has it.
    pub fn ours(status: &str, words: impl std::fmt::Display) -> Said {
        Said {
            text: bounded(&format!("{status} {words}"), REPLY_BYTES_MAX),
            ..Said::default()
        }
    }

    pub fn by(host: &str, reply: &Reply) -> Said {
        let text = format!("{} {}", reply.code, reply.lines.join(" "));
        Said {
            text: bounded(&text, REPLY_BYTES_MAX),
            host: bounded(host, HOST_BYTES_MAX),
            ..Said::default()
        }
    }

    pub fn with_host(mut self, host: &str) -> Said {
        self.host = bounded(host, HOST_BYTES_MAX);
        self
    }
}

impl Verdict {
    pub fn said(&self) -> &Said {
        match self {
            Verdict::Delivered(said) | Verdict::Failed(said) | Verdict::Later(_, said) => said,
        }
    }

    /// What a reply means that is not 2xx, at any step (RFC 5321 §4.2.1).
    pub fn of_refusal(host: &str, reply: &Reply) -> Verdict {
        let said = Said::by(host, reply);
        match reply.code {
            421 => Verdict::Later(Class::Closing, said),
            400..=499 => Verdict::Later(Class::Refused, said),
            500..=599 => Verdict::Failed(said),
            // A 2xx or 3xx where it does not belong.
            _ => Verdict::Later(Class::Broken, said),
        }
    }
}

/// The status of a text as `Said` has it (RFC 3463): as it is written, or the class of the code alone.
pub fn status(text: &str) -> String {
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    let written = words.iter().take(2).find(|word| is_status(word));
    match (written, text.as_bytes().first()) {
        (Some(status), _) => (*status).to_owned(),
        (None, Some(class @ (b'2' | b'4' | b'5'))) => format!("{}.0.0", char::from(*class)),
        (None, _) => "4.0.0".to_owned(),
    }
}

/// Whether a server said so: its code comes first.
pub fn is_reply(text: &str) -> bool {
    let code = text.split(' ').next().unwrap_or("");
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 3463 §2.
fn is_status(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let is_number = |part: &&str, digits_max: usize| {
        (1..=digits_max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    match &parts[..] {
        [class, subject, detail] => {
            matches!(*class, "2" | "4" | "5") && is_number(subject, 3) && is_number(detail, 3)
        }
        _ => false,
    }
}

/// One line of characters that can be shown, of at most `bytes_max`.
fn bounded(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for each in text.chars() {
        let each = if each.is_control() { ' ' } else { each };
        if out.len() + each.len_utf8() > bytes_max {
            break;
        }
        out.push(each);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply {
            code,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn each_code_has_its_meaning() {
        for (code, wanted) in [
            (421, Some(Class::Closing)),
            (450, Some(Class::Refused)),
            (452, Some(Class::Refused)),
            (550, None),
            (599, None),
            (250, Some(Class::Broken)),
            (354, Some(Class::Broken)),
        ] {
            let verdict = Verdict::of_refusal("mx.example", &reply(code, &["x"]));
            match wanted {
                Some(class) => assert!(matches!(verdict, Verdict::Later(is, _) if is == class)),
                None => assert!(matches!(verdict, Verdict::Failed(_))),
            }
            assert_eq!(verdict.said().host, "mx.example");
        }
    }

    #[test]
    fn a_status_is_what_is_written_or_the_class() {
        for (text, wanted) in [
            ("550 5.1.1 no such user", "5.1.1"),
            ("550 no such user", "5.0.0"),
            ("450 4.7.0.1 x", "4.0.0"),
            ("4.4.1 no answer", "4.4.1"),
            ("250 2.0.0 ok", "2.0.0"),
            ("", "4.0.0"),
            ("550 5.1234.1 x", "5.0.0"),
            ("550", "5.0.0"),
        ] {
            assert_eq!(status(text), wanted, "{text}");
        }
        assert!(is_reply("550 x") && is_reply("421") && !is_reply("4.4.1 x"));
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        let long = "\u{e9}".repeat(5_000);
        let said = Said::by("mx.example", &reply(550, &["a\rb\nc\u{0}", &long]));
        assert!(said.text.starts_with("550 a b c "));
        assert!(said.text.len() <= REPLY_BYTES_MAX);
    }
}
