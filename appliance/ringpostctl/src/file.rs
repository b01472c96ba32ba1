//! A settings file of this machine, read to be sent; and the question whether it is meant.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use admin::limits::REQUEST_BYTES_MAX;

/// A settings file of this machine: what it is called, and its text.
pub(crate) fn read(file: &Path) -> Result<(String, String), String> {
    let told = |why: String| format!("{}: {why}", file.display());
    let opened = std::fs::File::open(file).map_err(|error| told(error.to_string()))?;
    let mut bytes = Vec::new();
    // What is left of a request is for the words around it and for escapes.
    let most = REQUEST_BYTES_MAX as u64 / 2;
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| told(error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(told(format!(
            "it is larger than {} KiB: name a settings file",
            most >> 10
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        told(format!("line {line} is not UTF-8: save the file as UTF-8"))
    })?;
    let name = file.file_name().unwrap_or(file.as_os_str());
    let name: String = name.to_string_lossy().escape_debug().take(64).collect();
    Ok((name, text))
}

/// Asks at the terminal. `Err`: not confirmed, or no terminal.
pub(crate) fn is_meant(checked: &str) -> Result<(), String> {
    if !std::io::stdin().is_terminal() {
        return Err(
            "confirmation is needed: add --yes (`settings check` shows what changes)".into(),
        );
    }
    eprint!("{checked}\nApply them? Type yes: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    match line.trim() {
        "yes" => Ok(()),
        _ => Err("nothing was changed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_text_or_too_long_is_refused_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("box.toml");
        let told = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("ours");
            read(&path).expect_err("no settings")
        };
        assert!(told(b"a\nb\n\xff").contains("line 3 is not UTF-8"));
        assert!(told(&vec![b'#'; REQUEST_BYTES_MAX]).contains("KiB"));
        std::fs::write(&path, "[time]\n").expect("ours");
        assert_eq!(read(&path), Ok(("box.toml".into(), "[time]\n".into())));
        assert!(read(Path::new("/dev/zero")).is_err());
    }
}
