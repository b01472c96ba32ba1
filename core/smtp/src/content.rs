//! Mail data on its way in: the end found, dots removed, ambiguities noticed, bytes copied once.
//!
//! The end of mail data is CRLF `.` CRLF and nothing else (RFC 5321 §4.1.1.4), and a line ends in CRLF and in nothing else
//! (§2.3.8). A sender and a receiver who disagree on either can be made to see two different sequences of messages in one
//! stream of bytes. So a CR without LF or an LF without CR is never taken for a line end: it taints the message, reading goes on to
//! the true end, and then the whole message is refused.

use memchr::{memchr, memchr2};

use crate::reply::Refusal;

/// What the bytes seen so far leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// After CRLF, or at the very beginning (the CRLF of the DATA line counts).
    LineStart,
    /// A dot at the start of a line; not kept.
    Dot,
    /// Dot and CR at the start of a line; not kept.
    DotCr,
    /// Inside a line.
    Middle,
    /// A CR inside a line; not kept yet.
    Cr,
}

/// How the end of the content is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By CRLF `.` CRLF; dots at line starts are doubled.
    Dots,
    /// By counting (RFC 3030); dots mean nothing.
    Chunks,
}

#[derive(Debug)]
pub(crate) struct Content {
    framing: Framing,
    tail: Tail,
    /// What the caller put in front, then the content. Empty once refused.
    kept: Vec<u8>,
    /// Content bytes seen, dots removed.
    size_bytes: u64,
    size_bytes_max: u64,
    refusal: Option<Refusal>,
}

impl Content {
    /// Content is appended to `prefix`, which is not counted.
    pub fn new(framing: Framing, prefix: Vec<u8>, size_bytes_max: u64) -> Self {
        Self {
            framing,
            tail: Tail::LineStart,
            kept: prefix,
            size_bytes: 0,
            size_bytes_max,
            refusal: None,
        }
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// From now on nothing is kept and the end brings `refusal`, or a graver one.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self
            .refusal
            .is_none_or(|present| gravity(refusal) > gravity(present))
        {
            self.refusal = Some(refusal);
            self.kept = Vec::new();
        }
    }

    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Takes `input` up to the end of mail data. Answers how much was taken and whether that was the end; short of the
    /// end everything is taken. With `Framing::Chunks` there is no end to be found.
    pub fn take(&mut self, input: &[u8]) -> (usize, bool) {
        let mut at = 0;
        loop {
            // Each turn takes a byte or leaves a state that takes none for one that does.
            let Some(&next) = input.get(at) else {
                return (at, false);
            };
            match (self.tail, next) {
                (Tail::LineStart, b'.') if self.framing == Framing::Dots => {
                    self.tail = Tail::Dot;
                    at += 1;
                }
                (Tail::LineStart, _) => self.tail = Tail::Middle,
                (Tail::Dot, b'\r') => {
                    self.tail = Tail::DotCr;
                    at += 1;
                }
                // RFC 5321 §4.5.2: the first dot goes, the rest of the line stays.
                (Tail::Dot, _) => self.tail = Tail::Middle,
                (Tail::DotCr, b'\n') => return (at + 1, true),
                (Tail::Cr, b'\n') => {
                    self.keep(b"\r\n");
                    self.tail = Tail::LineStart;
                    at += 1;
                }
                (Tail::Cr | Tail::DotCr, _) => {
                    self.refuse(Refusal::BareCr);
                    self.tail = Tail::Middle;
                }
                (Tail::Middle, _) => at = self.take_lines(input, at),
            }
        }
    }

    /// The fast path: whole lines from `begin` on, inside a line. Ends where the tail becomes anything but `Middle`, or at the
    /// end of `input`; answers how far it came.
    fn take_lines(&mut self, input: &[u8], begin: usize) -> usize {
        let mut at = begin;
        let mut not_plain_until = at;
        loop {
            if at >= not_plain_until {
                at += plain_bytes(&input[at..]);
                not_plain_until = at + BLOCK_BYTES;
            }
            let Some(distance) = memchr2(b'\r', b'\n', &input[at..]) else {
                break;
            };
            let hit = at + distance;
            at = hit + 1;
            if input[hit] == b'\n' {
                self.refuse(Refusal::BareLf);
                continue;
            }
            match input.get(at) {
                Some(b'\n') => {
                    at += 1;
                    // A dot may be the end; at the end of input we cannot know yet. Else the run goes on.
                    if input.get(at).is_none_or(|next| *next == b'.') {
                        self.keep(&input[begin..at]);
                        self.tail = Tail::LineStart;
                        return at;
                    }
                }
                Some(_) => self.refuse(Refusal::BareCr),
                None => {
                    self.keep(&input[begin..hit]);
                    self.tail = Tail::Cr;
                    return at;
                }
            }
        }
        self.keep(&input[begin..]);
        input.len()
    }

    /// Counts every byte, also past a refusal: the reply comes at the end of the content, and nothing is kept from there on.
    fn keep(&mut self, run: &[u8]) {
        self.size_bytes = self.size_bytes.saturating_add(run.len() as u64);
        if self.size_bytes > self.size_bytes_max {
            self.refuse(Refusal::TooBig);
        }
        if self.refusal.is_some() {
            return;
        }
        if memchr(0, run).is_some() {
            // RFC 3501 §9 CHAR8: a literal cannot carry NUL, so no client could read it back.
            self.refuse(Refusal::Nul);
        } else {
            self.kept.extend_from_slice(run);
        }
    }

    /// The prefix and the content, or why not. With chunks the last byte may not be half a line end.
    pub fn finish(mut self) -> Result<Vec<u8>, Refusal> {
        if self.tail == Tail::Cr {
            self.refuse(Refusal::BareCr);
        }
        match self.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(self.kept),
        }
    }
}

/// What is looked at without a branch for each line.
const BLOCK_BYTES: usize = 256;

/// How many bytes of `rest`, which begins inside a line, are lines that need no closer look: each CR has its LF, each LF its CR, and no line
/// begins with a dot. Whole blocks only, and never half a line end. Nearly all mail is such: a look at sixteen bytes at once in place of a
/// search for each line end is a third of what taking a message costs.
fn plain_bytes(rest: &[u8]) -> usize {
    let behind = match rest {
        [] | [b'\n', ..] => return 0,
        [_, behind @ ..] => behind,
    };
    let blocks = rest
        .chunks_exact(BLOCK_BYTES)
        .zip(behind.chunks_exact(BLOCK_BYTES));
    let plain = blocks.take_while(|(block, behind)| is_plain(block, behind));
    let bytes = plain.count() * BLOCK_BYTES;
    let is_cut = bytes > 0 && rest[bytes - 1] == b'\r';
    bytes - usize::from(is_cut)
}

/// Of a block and the same bytes one place on.
fn is_plain(block: &[u8], behind: &[u8]) -> bool {
    let pairs = block.iter().zip(behind);
    let trouble = pairs.fold(0, |trouble, (byte, next)| {
        let half = (*byte == b'\r') ^ (*next == b'\n');
        let dot = (*byte == b'\n') & (*next == b'.');
        trouble | u8::from(half | dot)
    });
    trouble == 0
}

/// Which of two refusals is answered. Among equals the first; the order is such that the answer does not depend on how the bytes
/// were cut into segments.
fn gravity(refusal: Refusal) -> u8 {
    match refusal {
        Refusal::Nul => 0,
        Refusal::TooBig => 1,
        Refusal::BareCr | Refusal::BareLf => 2,
        // The service's own, mostly temporary: the next try will bring out the rest.
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` cut at every place into two, and byte by byte; all must agree.
    fn receive(framing: Framing, input: &[u8]) -> (Result<Vec<u8>, Refusal>, usize, bool) {
        let run = |cuts: &[&[u8]]| {
            let mut content = Content::new(framing, b"^".to_vec(), 30_000);
            let (mut taken, mut ended) = (0, false);
            for piece in cuts {
                if ended {
                    break;
                }
                let (count, end) = content.take(piece);
                taken += count;
                ended = end;
            }
            (content.finish(), taken, ended)
        };
        let whole = run(&[input]);
        for cut in 0..input.len() {
            assert_eq!(run(&[&input[..cut], &input[cut..]]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(run(&bytes), whole);
        whole
    }

    fn data(input: &[u8]) -> (Result<Vec<u8>, Refusal>, usize, bool) {
        receive(Framing::Dots, input)
    }

    #[test]
    fn dot_line_ends_data() {
        assert_eq!(data(b".\r\nNOOP\r\n"), (Ok(b"^".to_vec()), 3, true));
        assert_eq!(
            data(b"a\r\n.\r\nNOOP\r\n"),
            (Ok(b"^a\r\n".to_vec()), 6, true)
        );
        assert_eq!(data(b"\r\n.\r\n"), (Ok(b"^\r\n".to_vec()), 5, true));
    }

    #[test]
    fn a_dot_at_line_start_is_removed_once() {
        assert_eq!(
            data(b"..\r\n...a\r\n.b\r\na.\r\n.\r\n").0,
            Ok(b"^.\r\n..a\r\nb\r\na.\r\n".to_vec())
        );
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_data() {
        let impostors: [(&[u8], Refusal); 12] = [
            (b"a\n.\nb", Refusal::BareLf),
            (b"a\n.\r\nb", Refusal::BareLf),
            (b"a\r\n.\nb", Refusal::BareLf),
            (b"a\r\n.\rb", Refusal::BareCr),
            (b"a\r.\r\nb", Refusal::BareCr),
            (b"a\r.\rb", Refusal::BareCr),
            (b"a\r\r\n.\nb", Refusal::BareCr),
            (b"a\r\n.\r\rb", Refusal::BareCr),
            (b"a\r\r\nb", Refusal::BareCr),
            (b"a\r\n\n.\r\nb", Refusal::BareLf),
            (b"a\r\n.\0\r\nb", Refusal::Nul),
            (b".\n", Refusal::BareLf),
        ];
        for (impostor, refusal) in impostors {
            let mut input = impostor.to_vec();
            input.extend_from_slice(b"\r\n.\r\n");
            assert_eq!(
                data(&input),
                (Err(refusal), input.len(), true),
                "{}",
                impostor.escape_ascii()
            );
        }
    }

    #[test]
    fn the_size_limit_holds_at_its_last_byte() {
        let mut content = Content::new(Framing::Dots, Vec::new(), 6);
        content.take(b"1234\r\n..\r\n.\r\n");
        assert_eq!(content.finish(), Err(Refusal::TooBig));
        let mut content = Content::new(Framing::Dots, Vec::new(), 9);
        content.take(b"1234\r\n..\r\n.\r\n");
        assert_eq!(content.finish(), Ok(b"1234\r\n.\r\n".to_vec()));
    }

    /// RFC 5321 §4.5.3: content lines have no limit of their own (M11), and however long they are, nothing but CRLF ends them.
    #[test]
    fn lines_of_any_length_are_kept_byte_for_byte() {
        let long = [b"x".repeat(12_000), b"\r\n..".to_vec(), b"y".repeat(12_000)].concat();
        let kept = [
            b"^".to_vec(),
            b"x".repeat(12_000),
            b"\r\n.".to_vec(),
            b"y".repeat(12_000),
            b"\r\n".to_vec(),
        ]
        .concat();
        let input = [&long[..], b"\r\n.\r\n"].concat();
        // Cut where something is decided: around the line ends, the dots, and in the middle of the long lines.
        for cut in [
            1,
            9_999,
            11_999,
            12_000,
            12_001,
            12_002,
            12_003,
            12_004,
            20_000,
            input.len() - 4,
            input.len() - 1,
        ] {
            let mut content = Content::new(Framing::Dots, b"^".to_vec(), 30_000);
            assert_eq!(content.take(&input[..cut]), (cut, false));
            assert_eq!(content.take(&input[cut..]), (input.len() - cut, true));
            assert_eq!(content.finish().as_ref(), Ok(&kept), "cut at {cut}");
        }
        let mut content = Content::new(Framing::Chunks, Vec::new(), 30_000);
        content.take(&long);
        assert_eq!(content.finish(), Ok(long.clone()));
        // The size of the message bounds the memory, and a bare LF or CR far inside a line is still refused.
        for (inside, refusal) in [(&b"\n"[..], Refusal::BareLf), (b"\r", Refusal::BareCr)] {
            let mut content = Content::new(Framing::Dots, Vec::new(), 30_000);
            let input = [&long[..], inside, b".\r\nz\r\n.\r\n"].concat();
            assert_eq!(content.take(&input), (input.len(), true));
            assert_eq!(content.finish(), Err(refusal));
        }
        let mut content = Content::new(Framing::Dots, Vec::new(), 30_000);
        for _ in 0..100 {
            content.take(&[b'x'; 1_000]);
            assert!(content.held_bytes() <= 64 * 1_024);
        }
        assert_eq!(content.refusal(), Some(Refusal::TooBig));
    }

    /// Blocks are looked at as wholes only where a byte at a time would say the same.
    #[test]
    fn blocks_make_no_difference() {
        let pieces: [&[u8]; 9] = [
            b"\r\n",
            b"\r\n.",
            b"\r\n..",
            b"\r",
            b"\n",
            b".",
            b"\r\n.\r\n",
            b"\0",
            b"\r\n\r\n",
        ];
        let mut random = fastrand::Rng::with_seed(12);
        for round in 0..3_000 {
            let mut input = Vec::new();
            for _ in 0..random.usize(1..12) {
                // Around the edges of blocks, and mostly lines that are whole.
                let run = BLOCK_BYTES - 3 + random.usize(..6);
                input.resize(input.len() + [run, 1, 70, 2 * run][random.usize(..4)], b'x');
                let is_whole = round % 3 > 0 && random.u8(..) > 20;
                let piece = if is_whole {
                    0
                } else {
                    random.usize(..pieces.len())
                };
                input.extend_from_slice(pieces[piece]);
            }
            for framing in [Framing::Dots, Framing::Chunks] {
                let mut whole = Content::new(framing, Vec::new(), 5_000);
                let mut bytes = Content::new(framing, Vec::new(), 5_000);
                let (taken, ended) = whole.take(&input);
                let last = input.iter().position(|byte| bytes.take(&[*byte]).1);
                let at = last.map_or(input.len(), |last| last + 1);
                assert_eq!((taken, ended), (at, last.is_some()), "{round}");
                assert_eq!(whole.finish(), bytes.finish(), "{round}");
            }
        }
    }

    #[test]
    fn chunks_keep_dots_and_refuse_half_line_ends() {
        assert_eq!(
            receive(Framing::Chunks, b".\r\n..a\r\n").0,
            Ok(b"^.\r\n..a\r\n".to_vec())
        );
        assert_eq!(
            receive(Framing::Chunks, b"no end").0,
            Ok(b"^no end".to_vec())
        );
        assert_eq!(receive(Framing::Chunks, b"half\r").0, Err(Refusal::BareCr));
        assert_eq!(receive(Framing::Chunks, b"a\nb").0, Err(Refusal::BareLf));
    }
}
