//! clamd's INSTREAM (clamd(8), COMMANDS): content in chunks, one line back.

use crate::Fault;
use crate::limits::CLAMD_REPLY_BYTES_MAX;
use crate::text;

/// The command, in the form whose reply ends in NUL.
pub const BEGIN: &[u8] = b"zINSTREAM\0";
/// The chunk of no bytes that ends the stream.
pub const END: [u8; 4] = [0; 4];

/// What stands before a chunk: its bytes, in network order.
pub fn chunk(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("a chunk is bounded by limits::CLAMD_CHUNK_BYTES")
        .to_be_bytes()
}

/// What clamd says of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Clean,
    /// By the name of the signature.
    Infected(String),
    /// The stream is longer than clamd's StreamMaxLength.
    TooLarge,
}

/// The answer in what was received; `None`: there is more to come.
pub fn parse(input: &[u8]) -> Result<Option<Answer>, Fault> {
    let window = &input[..input.len().min(CLAMD_REPLY_BYTES_MAX)];
    let Some(end) = memchr::memchr2(0, b'\n', window) else {
        return match input.len() < CLAMD_REPLY_BYTES_MAX {
            true => Ok(None),
            false => Err(Fault::TooLong),
        };
    };
    let line = String::from_utf8_lossy(&window[..end]);
    let line = line.trim();
    let body = line.strip_prefix("stream: ").unwrap_or(line);
    if body == "OK" {
        return Ok(Some(Answer::Clean));
    }
    if let Some(name) = body.strip_suffix(" FOUND") {
        return Ok(Some(Answer::Infected(text::word(name))));
    }
    match body.strip_suffix("ERROR") {
        Some(words) if words.contains("size limit exceeded") => Ok(Some(Answer::TooLarge)),
        Some(words) => Err(Fault::Said(text::plain(words))),
        None => Err(Fault::Nonsense("clamd")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_read() {
        for (line, answer) in [
            ("stream: OK\0", Ok(Some(Answer::Clean))),
            (
                "stream: Win.Test.EICAR_HDB-1 FOUND\0",
                Ok(Some(Answer::Infected("Win.Test.EICAR_HDB-1".to_owned()))),
            ),
            ("stream: a\r\nb(c) FOUND\0", Err(Fault::Nonsense("clamd"))),
            (
                "INSTREAM size limit exceeded. ERROR\0",
                Ok(Some(Answer::TooLarge)),
            ),
            (
                "stream: Can't allocate memory ERROR\0",
                Err(Fault::Said("Can't allocate memory".to_owned())),
            ),
            ("UNKNOWN COMMAND\0", Err(Fault::Nonsense("clamd"))),
            ("\0", Err(Fault::Nonsense("clamd"))),
            ("stream: O", Ok(None)),
            ("", Ok(None)),
        ] {
            assert_eq!(parse(line.as_bytes()), answer, "{line:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_bounded() {
        assert_eq!(parse(&[b'x'; 64 * 1_024]), Err(Fault::TooLong));
    }
}
