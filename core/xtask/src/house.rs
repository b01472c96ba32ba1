//! The tidy test: one reader of the tree that holds it to its own rules, and says the better form.
//!
//! `complaints` must be empty for `cargo xtask check` to pass; `mentions` are spoken and do not fail anything
//! (style: function and file length are only mentioned). Each rule is a plain function over text, tested beside it.

mod circles;
mod cited;
mod documents;
mod exits;
mod manifests;
mod metrics;
mod reach;
mod replies;
mod share;
mod sources;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the tidy test has to say. One sentence each, beginning with the place.
#[derive(Debug, Default)]
pub struct Findings {
    pub complaints: Vec<String>,
    pub mentions: Vec<String>,
}

/// The tracked files, read once.
pub struct Tree {
    root: PathBuf,
    /// Paths relative to the root, sorted; only files that exist.
    files: Vec<String>,
}

impl Tree {
    /// Everything git knows or would add (ignored files are none of our business).
    pub fn read(root: &Path) -> Result<Tree, String> {
        let output = Command::new("git")
            .current_dir(root)
            .args([
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "-z",
            ])
            .output()
            .map_err(|error| format!("git ls-files: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "git ls-files: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        let mut files: Vec<String> = output
            .stdout
            .split(|byte| *byte == 0)
            .filter_map(|name| std::str::from_utf8(name).ok())
            .filter(|name| !name.is_empty() && root.join(name).is_file())
            .map(String::from)
            .collect();
        files.sort();
        files.dedup();
        Ok(Tree {
            root: root.to_path_buf(),
            files,
        })
    }

    fn ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = &'a str> {
        self.files
            .iter()
            .map(String::as_str)
            .filter(move |name| name.ends_with(ending))
    }

    fn text(&self, name: &str) -> String {
        std::fs::read(self.root.join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn exists(&self, name: &str) -> bool {
        self.root.join(name).exists()
    }
}

/// Reads the whole tree. `Err` when the tree cannot be read at all (no git).
pub fn inspect(root: &Path) -> Result<Findings, String> {
    let tree = Tree::read(root)?;
    let mut findings = Findings::default();
    manifests::inspect(&tree, &mut findings);
    reach::inspect(&tree, &mut findings);
    circles::inspect(&tree, &mut findings);
    sources::inspect(&tree, &mut findings);
    documents::inspect(&tree, &mut findings);
    cited::inspect(&tree, &mut findings);
    share::inspect(&tree, &mut findings);
    replies::inspect(&tree, &mut findings);
    exits::inspect(&tree, &mut findings);
    metrics::inspect(&tree, &mut findings);
    words::inspect(&tree, &mut findings);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_keeps_its_own_rules() {
        let findings = super::inspect(&crate::root()).expect("the tree is readable");
        assert!(
            findings.complaints.is_empty(),
            "\n{}",
            findings.complaints.join("\n")
        );
    }
}
