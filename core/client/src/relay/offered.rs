//! What a server offers in its answer to EHLO (RFC 5321 §4.1.1.1).

use smtp::client::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offered {
    pub pipelining: bool,
    pub start_tls: bool,
    pub eight_bit: bool,
    pub utf8: bool,
    pub dsn: bool,
    pub require_tls: bool,
    pub size: bool,
    /// The largest message it takes; `None`: not said, or no bound.
    pub size_max: Option<u64>,
}

impl Offered {
    pub fn of(hello: &Reply) -> Offered {
        let mut offered = Offered::default();
        // The first line is the server's name.
        for line in hello.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let word = words.next().unwrap_or("").to_ascii_uppercase();
            match word.as_str() {
                "PIPELINING" => offered.pipelining = true,
                "STARTTLS" => offered.start_tls = true,
                "8BITMIME" => offered.eight_bit = true,
                "SMTPUTF8" => offered.utf8 = true,
                "DSN" => offered.dsn = true,
                "REQUIRETLS" => offered.require_tls = true,
                "SIZE" => {
                    offered.size = true;
                    let max = words.next().and_then(|max| max.parse().ok());
                    // RFC 1870 §4: 0 is no bound.
                    offered.size_max = max.filter(|max| *max > 0);
                }
                _ => {}
            }
        }
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_words_in_any_case_and_nonsense_is_none() {
        let of = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            Offered::of(&Reply { code: 250, lines })
        };
        assert_eq!(of(&["PIPELINING"]), Offered::default(), "that is its name");
        let offered = of(&["mx", "size 1000", "8BitMime", "STARTTLS ", "X", "", "DSN"]);
        assert!(offered.size && offered.eight_bit && offered.start_tls && offered.dsn);
        assert!(!offered.pipelining && !offered.utf8 && !offered.require_tls);
        assert_eq!(offered.size_max, Some(1_000));
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999"] {
            assert_eq!(of(&["mx", line]).size_max, None, "{line}");
        }
    }
}
