//! Annotations on the wire (RFC 5464): what is asked. The line that answers is in `respond`.

/// One command. The empty mailbox name stands for the server (§3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// §4.2.
    Get {
        mailbox: Box<str>,
        /// Longer values are not sent (§4.2.1).
        size_max: Option<u32>,
        depth: Depth,
        /// Lower case, each beginning with `/`.
        entries: Vec<Box<str>>,
    },
    /// §4.3. `None` is NIL: the entry is taken out.
    Set {
        mailbox: Box<str>,
        /// The names as in `Get`.
        entries: Vec<(Box<str>, Option<Vec<u8>>)>,
    },
}

/// §4.2.2: how far below an entry others are sent as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Not at all.
    #[default]
    Zero,
    /// Those directly below.
    One,
    Infinity,
}

impl Depth {
    /// Whether `entry` is asked for by `wanted`.
    pub fn reaches(self, wanted: &str, entry: &str) -> bool {
        if wanted == entry {
            return true;
        }
        let below = entry.strip_prefix(wanted);
        let below = below.and_then(|below| below.strip_prefix('/'));
        below.is_some_and(|below| match self {
            Depth::Zero => false,
            Depth::One => !below.contains('/'),
            Depth::Infinity => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_says_what_is_below() {
        let all = ["/shared/a", "/shared/a/b", "/shared/a/b/c", "/shared/ab"];
        let reached = |depth: Depth| {
            let reached = all.iter().filter(|entry| depth.reaches("/shared/a", entry));
            reached.count()
        };
        assert_eq!(reached(Depth::Zero), 1);
        assert_eq!(reached(Depth::One), 2);
        assert_eq!(reached(Depth::Infinity), 3);
    }
}
