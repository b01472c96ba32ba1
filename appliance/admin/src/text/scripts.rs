//! Scripts that filter mail, for people.

use serde_json::Value;

use crate::scripts::{Ask, ScriptDetail, ScriptLine};
use crate::table::table;
use crate::text::typed;

/// The text for the answer to `ask`.
pub fn show(ask: &Ask, value: &Value) -> Result<String, String> {
    Ok(match ask {
        Ask::List { .. } => list(&typed::<Vec<ScriptLine>>(value)?),
        // As it was stored, so that it can be put into a file.
        Ask::Show { .. } => typed::<ScriptDetail>(value)?.text,
        Ask::Check { .. } => "The script is valid.".to_owned(),
        Ask::Put { .. } | Ask::Activate { .. } | Ask::Deactivate { .. } | Ask::Remove { .. } => {
            "done".to_owned()
        }
    })
}

fn list(lines: &[ScriptLine]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let state = if line.active { "active" } else { "" };
            vec![line.name.clone(), line.bytes.to_string(), state.to_owned()]
        })
        .collect();
    table(&["SCRIPT", "BYTES", "STATE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_which_script_is_active() {
        let line = |name: &str, active| ScriptLine {
            name: name.to_owned(),
            bytes: 812,
            active,
        };
        let text = list(&[line("main", true), line("holiday", false)]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("main") && lines[1].ends_with("active"));
        assert!(lines[2].ends_with("812"), "{text}");
    }
}
