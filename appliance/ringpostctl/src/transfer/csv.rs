//! The file with several accounts: comma-separated values with a first line that names the columns (RFC 4180, without line breaks in values).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::limits::{ACCOUNTS_MAX, CSV_BYTES_MAX};

/// One account that is brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Here.
    pub account: String,
    /// `imaps://HOST`; `None`: the one of the command line.
    pub from: Option<String>,
    pub user: String,
    pub password: Secret,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Here(String),
    /// The first line of this file.
    In(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    pub(crate) fn read(&self) -> Result<String, String> {
        let file = match self {
            Secret::Here(secret) => return Ok(secret.clone()),
            Secret::In(file) => file,
        };
        let told = |error: std::io::Error| format!("{}: {error}", file.display());
        let mut text = String::new();
        let opened = File::open(file).map_err(told)?;
        opened.take(4_096).read_to_string(&mut text).map_err(told)?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(line.to_owned()),
            _ => Err(format!(
                "{} has no password in its first line",
                file.display()
            )),
        }
    }
}

/// The lines of a file. `Err`: which line is wrong; its values are not shown, because one is a password.
pub(crate) fn read(file: &Path) -> Result<Vec<Line>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut text = String::new();
    let opened = File::open(file).map_err(told)?;
    let mut opened = opened.take(CSV_BYTES_MAX + 1);
    opened.read_to_string(&mut text).map_err(told)?;
    if text.len() as u64 > CSV_BYTES_MAX {
        return Err(format!(
            "{} has more than {CSV_BYTES_MAX} bytes",
            file.display()
        ));
    }
    parse(&text).map_err(|why| format!("{}: {why}", file.display()))
}

fn parse(text: &str) -> Result<Vec<Line>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let (_, head) = lines.next().ok_or("the file is empty")?;
    let columns = values(head).ok_or("line 1: a quote is not closed")?;
    for column in &columns {
        if !COLUMNS.contains(&column.as_str()) {
            return Err(format!(
                "line 1: `{}` is not a column; there are {}",
                column.escape_debug(),
                COLUMNS.join(", ")
            ));
        }
    }
    let mut found: Vec<Line> = Vec::new();
    let mut accounts = BTreeSet::new();
    for (index, line) in lines {
        let wrong = |why: &str| format!("line {}: {why}", index + 1);
        let values = values(line).ok_or_else(|| wrong("a quote is not closed"))?;
        if values.len() != columns.len() {
            return Err(wrong("it has another number of values than line 1"));
        }
        let value = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            Some(values[at].clone()).filter(|value| !value.is_empty())
        };
        let password = match (value("password"), value("password_file")) {
            (Some(password), None) => Secret::Here(password),
            (None, Some(file)) => Secret::In(file.into()),
            _ => return Err(wrong("it needs either a password or a password_file")),
        };
        let account = value("account").ok_or_else(|| wrong("it has no account"))?;
        let user = value("user").unwrap_or_else(|| account.clone());
        if !accounts.insert((account.clone(), value("from"), user.clone())) {
            return Err(wrong("the same account is in a line before"));
        }
        if found.len() == ACCOUNTS_MAX {
            return Err(format!("there are more than {ACCOUNTS_MAX} accounts"));
        }
        found.push(Line {
            account,
            from: value("from"),
            user,
            password,
        });
    }
    Ok(found)
}

/// `None`: a quote is not closed.
fn values(line: &str) -> Option<Vec<String>> {
    let mut values = vec![String::new()];
    let mut letters = line.chars().peekable();
    let mut is_quoted = false;
    while let Some(letter) = letters.next() {
        let value = values.last_mut()?;
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                value.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            '"' if value.is_empty() => is_quoted = true,
            ',' if !is_quoted => values.push(String::new()),
            letter => value.push(letter),
        }
    }
    (!is_quoted).then_some(values)
}

const COLUMNS: [&str; 5] = ["account", "from", "user", "password", "password_file"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_names_and_values_may_be_quoted() {
        let text = "\u{feff}user,account,password,password_file\r\nann,ann@example.org,\"a,\"\"b\",\r\n\r\n,ben@example.org,,ben.txt\n";
        let lines = parse(text).expect("right");
        let line = |user: &str, account: &str, password| Line {
            account: account.into(),
            from: None,
            user: user.into(),
            password,
        };
        assert_eq!(
            lines,
            [
                line("ann", "ann@example.org", Secret::Here("a,\"b".into())),
                line(
                    "ben@example.org",
                    "ben@example.org",
                    Secret::In("ben.txt".into())
                ),
            ]
        );
        assert!(!format!("{lines:?}").contains("a,"));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_shows_no_password() {
        for (text, why) in [
            ("", "empty"),
            ("account,secret\n", "`secret`"),
            ("account,password\na,hunter2,x\n", "line 2"),
            ("account,password\na,\"hunter2\n", "line 2"),
            ("account,password\na,hunter2\na,hunter2\n", "line 3"),
            ("account,password\n,hunter2\n", "no account"),
            ("account,password,password_file\na,hunter2,f\n", "either"),
        ] {
            let told = parse(text).expect_err(text);
            assert!(told.contains(why) && !told.contains("hunter2"), "{told}");
        }
    }
}
