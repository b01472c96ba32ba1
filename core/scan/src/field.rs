//! X-Ringpost-Scan: who looked at a message and what each found. One field, in front, ours alone.

/// Its name; fields of strangers with it are removed (`auth::header::forged`).
pub const FIELD: &str = "X-Ringpost-Scan";

/// The field being written.
#[derive(Debug, Default)]
pub struct Field {
    parts: Vec<String>,
}

impl Field {
    /// `scanner=result (words)`. `words` may be empty; none of the three may have `(`, `)`, `;` or a line end (`text::word`).
    pub fn add(&mut self, scanner: &str, result: &str, words: &str) {
        self.parts.push(match words {
            "" => format!("{scanner}={result}"),
            words => format!("{scanner}={result} ({words})"),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The field with its line's end; nothing where nothing was added.
    pub fn text(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let value = self.parts.join(";\n\t");
        // One part may be longer than a line of a header may be: it is folded at its blanks.
        let mut out = String::from(FIELD);
        out.push(':');
        let mut line = out.len();
        for (at, part) in value.split(";\n\t").enumerate() {
            if at > 0 {
                out.push_str(";\r\n\t");
                line = 1;
            }
            for (at_word, word) in part.split(' ').enumerate() {
                if (at, at_word) == (0, 0) || (at_word > 0 && line + word.len() < 78) {
                    out.push(' ');
                    line += 1;
                } else if at_word > 0 {
                    out.push_str("\r\n\t ");
                    line = 2;
                }
                out.push_str(word);
                line += word.len();
            }
        }
        out.push_str("\r\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scanner_has_a_line() {
        let mut field = Field::default();
        assert_eq!(field.text(), "");
        field.add("rspamd", "junk", "7.50 of 15.00, BAYES_SPAM 5.10");
        field.add("clamd", "clean", "");
        assert_eq!(
            field.text(),
            "X-Ringpost-Scan: rspamd=junk (7.50 of 15.00, BAYES_SPAM 5.10);\r\n\tclamd=clean\r\n"
        );
    }

    #[test]
    fn no_line_is_longer_than_a_header_allows() {
        let mut field = Field::default();
        let words = "SYMBOL_OF_A_FAIR_LENGTH 1.00, ".repeat(40);
        field.add("rspamd", "junk", words.trim());
        field.add("x", "y", &"z".repeat(200));
        let text = field.text();
        let lines = text.strip_suffix("\r\n").expect("an end").split("\r\n");
        for (at, line) in lines.enumerate() {
            assert!(line.len() <= 300, "{line}");
            assert!(at == 0 || line.starts_with('\t'));
            assert!(!line.trim().is_empty());
        }
    }
}
