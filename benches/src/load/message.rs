//! Messages of an exact size, each with an id of its own and a body that differs from its neighbours'.
//!
//! The body is random base64 in lines of 76 characters: about what attachments look like, so that compression finds
//! what it would find in real mail's large part and nothing more.

const LINE_BYTES: usize = 78;
const POOL_LINES: usize = 16 * 1_024;

pub struct Composer {
    pool: Vec<u8>,
    from: String,
    run: u64,
    next: u64,
}

impl Composer {
    /// `run` keeps ids of different runs apart.
    pub fn new(run: u64, from: &str) -> Composer {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut random = fastrand::Rng::with_seed(run ^ 0x5eed);
        let mut pool = Vec::with_capacity(POOL_LINES * LINE_BYTES);
        for _ in 0..POOL_LINES {
            for _ in 0..LINE_BYTES - 2 {
                pool.push(ALPHABET[random.usize(..64)]);
            }
            pool.extend_from_slice(b"\r\n");
        }
        Composer {
            pool,
            from: from.to_owned(),
            run,
            next: 0,
        }
    }

    /// Appends one message of `size_bytes` (at least its header) to `out` and returns its number. No line begins with a
    /// dot, the last one ends in CRLF.
    pub fn compose(&mut self, to: &str, size_bytes: usize, out: &mut Vec<u8>) -> u64 {
        let number = self.next;
        self.next += 1;
        let begin = out.len();
        let header = format!(
            "From: Load <{}>\r\nTo: <{to}>\r\nSubject: load {number}\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\
             Message-ID: <{}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
            self.from,
            self.id(number)
        );
        out.extend_from_slice(header.as_bytes());
        // Start at a line of the pool that no neighbour starts at; wrap around.
        let mut line = (number as usize).wrapping_mul(7_919) % POOL_LINES;
        while begin + size_bytes >= out.len() + LINE_BYTES {
            out.extend_from_slice(&self.pool[line * LINE_BYTES..(line + 1) * LINE_BYTES]);
            line = (line + 1) % POOL_LINES;
        }
        let left = (begin + size_bytes).saturating_sub(out.len());
        if left >= 2 {
            out.extend_from_slice(&self.pool[line * LINE_BYTES..line * LINE_BYTES + left - 2]);
            out.extend_from_slice(b"\r\n");
        }
        number
    }

    /// The Message-ID (without angle brackets) of a message that was composed.
    pub fn id(&self, number: u64) -> String {
        format!("{:x}.{number}@load.example.net", self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_size_asked_for() {
        let mut composer = Composer::new(1, "load@example.net");
        for size in [600, 1_024, 10_240, 10_241, 102_400] {
            let mut out = Vec::new();
            composer.compose("alice@example.org", size, &mut out);
            assert!(size - out.len() < 2, "{size} became {}", out.len());
            assert!(out.ends_with(b"\r\n"));
            assert!(!out.windows(3).any(|three| three == b"\r\n."));
        }
    }

    #[test]
    fn no_two_messages_are_equal() {
        let mut composer = Composer::new(1, "load@example.net");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        composer.compose("alice@example.org", 2_048, &mut first);
        composer.compose("alice@example.org", 2_048, &mut second);
        assert_ne!(first[600..], second[600..]);
    }
}
