//! What every text for people is made of: a table, a span of time, a dash where nothing is known.

/// Columns as wide as their widest word.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|word| word.len()).collect();
    for row in rows {
        for (width, word) in widths.iter_mut().zip(row) {
            *width = (*width).max(word.chars().count());
        }
    }
    let line = |words: Vec<&str>| {
        let cells: Vec<String> = words
            .iter()
            .zip(&widths)
            .map(|(word, width)| format!("{word:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// A span in its largest fitting unit.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The text, or a dash for an empty one.
pub fn dash(text: &str) -> String {
    match text {
        "" => "-".into(),
        text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_words() {
        let text = table(&["A", "LONG"], &[vec!["wider".into(), "x".into()]]);
        assert_eq!(text, "A      LONG\nwider  x\n");
    }
}
