//! What a terminal on the serial line would show.

/// The size of a terminal that does not tell its own.
pub const COLUMNS: u16 = 80;
pub const ROWS: u16 = 24;

/// A terminal's picture: its rows, without blanks at their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    pub rows: Vec<String>,
    /// Row and column, from 0; `None` while it is hidden.
    pub cursor: Option<(u16, u16)>,
}

impl Screen {
    /// After all of `heard` (bytes of a serial log, from any moment at which the terminal was blank).
    pub fn after(heard: &str) -> Screen {
        let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
        terminal.process(heard.as_bytes());
        let screen = terminal.screen();
        Screen {
            rows: screen
                .rows(0, COLUMNS)
                .map(|row| row.trim_end().to_owned())
                .collect(),
            cursor: (!screen.hide_cursor()).then(|| screen.cursor_position()),
        }
    }

    pub fn has(&self, text: &str) -> bool {
        self.rows.iter().any(|row| row.contains(text))
    }

    /// The row that begins so.
    pub fn row(&self, begin: &str) -> Option<&str> {
        let row = self
            .rows
            .iter()
            .find(|row| row.trim_start().starts_with(begin))?;
        Some(row.as_str())
    }

    /// For a failure's sentence.
    pub fn picture(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(|row| format!("    |{row}")).collect();
        rows.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_what_its_escapes_say() {
        let screen = Screen::after(
            "noise\r\n\u{1b}[2J\u{1b}[?25l\u{1b}[1;1HRingpost\u{1b}[3;5H\u{1b}[1mSERVING\u{1b}[0m",
        );
        assert_eq!(screen.row("Ringpost"), Some("Ringpost"));
        assert_eq!(screen.rows[2], "    SERVING");
        assert!(screen.has("SERVING") && !screen.has("noise"));
        assert_eq!((screen.cursor, screen.rows.len()), (None, 24));
    }

    #[test]
    fn a_line_that_runs_across_is_seen() {
        let screen =
            Screen::after("\u{1b}[2J\u{1b}[1;1HRingpost\u{1b}[1;3H[ 12.0] nvme: trouble\r\n");
        assert!(screen.row("Ringpost").is_none());
        assert_eq!(screen.cursor, Some((1, 0)));
    }
}
