//! mbox (RFC 4155), read as it comes: mboxrd and mboxo, LF or CRLF, with the flags of `Status`, `X-Status` and `X-Keywords`.
//!
//! A message begins at a line `From … DATE` at the beginning of the file or behind an empty line. A line without a date is text: files of programs that quote nothing have
//! such lines. Content-Length is not looked at, because it is wrong in every second file that was edited.

mod date;
mod header;

use std::io::{self, BufRead, Write};

pub use header::without_status;
use mail::{Flags, InternalDate};

use crate::limits::{LINE_PIECE_BYTES_MAX, MESSAGE_BYTES_MAX};

/// How `From ` at the beginning of a line of text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// `>From `, and `>>From ` for `>From `: undone without loss.
    Mboxrd,
    /// `>From ` only; a `>>From ` was one before.
    Mboxo,
}

/// One message of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// With CRLF, without the fields that hold flags. Empty where it is too large.
    pub message: Vec<u8>,
    pub flags: Flags,
    /// Of the line that it begins with; `None`: the line has no date.
    pub date: Option<InternalDate>,
    /// It has more than `MESSAGE_BYTES_MAX`, and was read past.
    pub is_too_large: bool,
    /// The first byte of the line that it begins with, counted from where reading began.
    pub at: u64,
}

/// Reads messages one after another.
pub struct Reader<R> {
    from: R,
    quoting: Quoting,
    /// The line that the next message begins with, once it was met, and where.
    begins: Option<(Vec<u8>, u64)>,
    /// Bytes read so far.
    read: u64,
    /// Nothing was read yet.
    is_new: bool,
}

impl<R: BufRead> Reader<R> {
    pub fn new(from: R, quoting: Quoting) -> Reader<R> {
        Reader {
            from,
            quoting,
            begins: None,
            read: 0,
            is_new: true,
        }
    }

    /// The next message; `None` at the end of the file. `InvalidData`: the file does not begin like an mbox.
    pub fn next_letter(&mut self) -> io::Result<Option<Letter>> {
        if std::mem::take(&mut self.is_new) {
            self.begins = self.first()?;
        }
        let Some((begins, at)) = self.begins.take() else {
            return Ok(None);
        };
        let mut letter = Raw::default();
        let (mut line, mut is_begin, mut after_empty) = (Vec::new(), true, false);
        loop {
            // until the next message or the end of the file
            line.clear();
            let ended = piece(&mut self.from, &mut line)?;
            if line.is_empty() {
                break;
            }
            let begin = self.read;
            self.read += line.len() as u64;
            if is_begin && after_empty && is_from(&line) && date::of_line(&line).is_some() {
                self.begins = Some((line, begin));
                break;
            }
            after_empty = is_begin && matches!(&line[..], b"\n" | b"\r\n");
            let text = match is_begin {
                true => unquoted(&line, self.quoting),
                false => &line,
            };
            letter.put(text);
            is_begin = ended;
        }
        Ok(Some(letter.finish(date::of_line(&begins), at)))
    }

    /// The first line that is not empty.
    fn first(&mut self) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut line = Vec::new();
        loop {
            // until a line that is not empty, or the end of the file
            line.clear();
            piece(&mut self.from, &mut line)?;
            let begin = self.read;
            self.read += line.len() as u64;
            match &line[..] {
                b"" => return Ok(None),
                b"\n" | b"\r\n" => {}
                first if is_from(first) => return Ok(Some((line, begin))),
                _ => {
                    let why = "the file does not begin with `From `, as an mbox does";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            }
        }
    }
}

/// A message on its way.
#[derive(Default)]
struct Raw {
    bytes: Vec<u8>,
    is_too_large: bool,
}

impl Raw {
    fn put(&mut self, text: &[u8]) {
        // The line ends that are added come on top: they at most double it.
        if self.is_too_large || self.bytes.len() + text.len() > MESSAGE_BYTES_MAX {
            self.is_too_large = true;
            self.bytes = Vec::new();
            return;
        }
        self.bytes.extend_from_slice(text);
    }

    fn finish(mut self, date: Option<InternalDate>, at: u64) -> Letter {
        // The empty line before the next message belongs to the file.
        let end = match &self.bytes[..] {
            b"\n" | b"\r\n" => self.bytes.len(),
            bytes if bytes.ends_with(b"\n\r\n") => 2,
            bytes if bytes.ends_with(b"\n\n") => 1,
            _ => 0,
        };
        self.bytes.truncate(self.bytes.len() - end);
        let (message, flags) = header::without_status(&self.bytes);
        let message = crate::wire(&message).into_owned();
        let is_too_large = self.is_too_large || message.len() > MESSAGE_BYTES_MAX;
        Letter {
            message: if is_too_large { Vec::new() } else { message },
            flags,
            date,
            is_too_large,
            at,
        }
    }
}

/// Appends a line, or a piece of a long one; `true`: the line is over.
fn piece(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        // until a line end, the end of the file, or the bound
        let buffer = match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Ok(true);
        }
        let room = (LINE_PIECE_BYTES_MAX - line.len()).min(buffer.len());
        let found = memchr::memchr(b'\n', &buffer[..room]);
        let count = found.map_or(room, |at| at + 1);
        line.extend_from_slice(&buffer[..count]);
        from.consume(count);
        if found.is_some() {
            return Ok(true);
        }
        if line.len() == LINE_PIECE_BYTES_MAX {
            return Ok(false);
        }
    }
}

fn is_from(line: &[u8]) -> bool {
    line.starts_with(b"From ")
}

/// Marks before `From `. `None`: it is another line.
fn marks(line: &[u8]) -> Option<usize> {
    let marks = line.iter().take_while(|byte| **byte == b'>').count();
    is_from(&line[marks..]).then_some(marks)
}

fn unquoted(line: &[u8], quoting: Quoting) -> &[u8] {
    match (marks(line), quoting) {
        (Some(1), _) => &line[1..],
        (Some(2..), Quoting::Mboxrd) => &line[1..],
        _ => line,
    }
}

/// Writes a message as mboxrd, with LF, and with these flags in place of the fields that hold flags.
pub fn put(
    out: &mut impl Write,
    message: &[u8],
    flags: &Flags,
    date: InternalDate,
) -> io::Result<()> {
    writeln!(out, "From MAILER-DAEMON {}", date::written(date))?;
    // A sender may have written such fields, too: whoever reads the file would take them for flags.
    let (message, _) = without_status(message);
    let message = &*message;
    // At the end of the header: before its first line, a message that begins with a space would become part of these fields.
    let mut is_header = true;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if is_header && matches!(line, b"\n" | b"\r\n") {
            header::put_status(out, flags)?;
            is_header = false;
        }
        if marks(line).is_some() {
            out.write_all(b">")?;
        }
        match line.strip_suffix(b"\r\n") {
            // Behind a further CR the line end must stay as it is, or that CR would become part of it.
            Some(text) if !text.ends_with(b"\r") => {
                out.write_all(text)?;
                out.write_all(b"\n")?;
            }
            _ => out.write_all(line)?,
        }
    }
    if !message.is_empty() && !message.ends_with(b"\n") {
        out.write_all(b"\r\n")?;
    }
    if is_header {
        header::put_status(out, flags)?;
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
