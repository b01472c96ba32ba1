//! What holds for source files: unsafe in one room only, with its two sentences; no blanket allow; a header in every
//! crate; a reason at every limit; no blob; long files are mentioned.

use super::{Findings, Tree};

/// The only crate that may hold `unsafe`.
const UNSAFE_ROOMS: &[&str] = &["core/uring/"];
const BLOB_BYTES_MAX: u64 = 100 * 1_024;
const FILE_LINES_MENTIONED: usize = 500;
/// A file that the walk of one message goes through must be readable in one sitting.
const WALK_LINES_MAX: usize = 600;

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    for name in tree.ending(".rs") {
        let text = tree.text(name);
        findings.complaints.extend(unsafe_outside(name, &text));
        findings
            .complaints
            .extend(unsafe_without_reason(name, &text));
        findings.complaints.extend(blanket_allow(name, &text));
        if name.ends_with("src/lib.rs") && !text.starts_with("//!") {
            findings.complaints.push(format!("{name}: a crate begins with its story (`//! …`: what it is, what must hold, where to start)"));
        }
        if name.ends_with("/limits.rs") {
            findings
                .complaints
                .extend(limit_without_reason(name, &text));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MENTIONED {
            findings.mentions.push(format!(
                "{name}: {lines} lines; is there a second story in it?"
            ));
        }
    }
    for name in &tree.files {
        let bytes = std::fs::metadata(tree.root.join(name)).map_or(0, |meta| meta.len());
        if bytes > BLOB_BYTES_MAX && name != "Cargo.lock" {
            findings.complaints.push(format!(
                "{name}: {bytes} bytes; generate it, or keep it outside the repository"
            ));
        }
    }
    walk(tree, findings);
}

/// The files named in "The walk of one message" exist and are short enough to be walked.
fn walk(tree: &Tree, findings: &mut Findings) {
    let text = tree.text("core/ARCHITECTURE.md");
    let section = text
        .split("## The walk of one message")
        .nth(1)
        .unwrap_or("");
    let section = section.split("\n## ").next().unwrap_or("");
    let steps: Vec<&str> = section
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.ends_with(".rs"))
        .collect();
    if steps.len() < 6 {
        findings.complaints.push(format!(
            "core/ARCHITECTURE.md: the walk of one message has {} steps",
            steps.len()
        ));
    }
    for step in steps {
        let name = format!("core/{step}");
        if !tree.exists(&name) {
            findings.complaints.push(format!(
                "core/ARCHITECTURE.md: the walk goes through `{step}`, which does not exist"
            ));
            continue;
        }
        let lines = tree.text(&name).lines().count();
        if lines > WALK_LINES_MAX {
            findings.complaints.push(format!(
                "{name}: {lines} lines; a file of the walk has at most {WALK_LINES_MAX}"
            ));
        }
    }
}

fn in_unsafe_room(name: &str) -> bool {
    UNSAFE_ROOMS.iter().any(|room| name.starts_with(room))
}

/// Crate roots say `forbid`; nothing else outside that room says `unsafe` at all.
fn unsafe_outside(name: &str, text: &str) -> Vec<String> {
    if in_unsafe_room(name) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    // `forbid` at the root cannot be undone by an attribute further down, which `deny` could.
    let root = name.ends_with("src/lib.rs")
        || name.ends_with("src/main.rs")
        || name.contains("/src/bin/") && !name.contains("/src/bin/mod");
    if root && !text.contains("#![forbid(unsafe_code)]") {
        complaints.push(format!("{name}: add `#![forbid(unsafe_code)]`"));
    }
    for (index, line) in code_lines(text) {
        let opens = [
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "unsafe trait",
        ];
        if opens.iter().any(|open| line.contains(open)) && !line.contains('"') {
            complaints.push(format!(
                "{name}:{}: unsafe lives in {} only",
                index + 1,
                UNSAFE_ROOMS.join(" and ")
            ));
        }
    }
    complaints
}

/// Each unsafe block or impl in that room has its two sentences just above it.
fn unsafe_without_reason(name: &str, text: &str) -> Vec<String> {
    if !in_unsafe_room(name) {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    code_lines(text)
        .filter(|(_, line)| line.contains("unsafe {") || line.contains("unsafe impl"))
        .filter(|(index, _)| {
            // The two sentences may be of several lines each, and still have to be in sight of the block.
            let above = lines[index.saturating_sub(12)..=*index].join("\n");
            !(above.contains("// NEEDED:") && above.contains("// SOUND:"))
        })
        .map(|(index, _)| {
            format!(
                "{name}:{}: unsafe without `// NEEDED:` and `// SOUND:` above it",
                index + 1
            )
        })
        .collect()
}

/// `#![allow(…)]` hides whatever comes later; an item-level `allow` of everything does too.
fn blanket_allow(name: &str, text: &str) -> Vec<String> {
    let broad = [
        "warnings",
        "clippy::all",
        "clippy::pedantic",
        "unused)",
        "unused,",
        "dead_code, unused",
    ];
    code_lines(text)
        .filter(|(_, line)| {
            let line = line.trim_start();
            line.starts_with("#![allow(")
                || line.starts_with("#[allow(") && broad.iter().any(|word| line.contains(word))
        })
        .map(|(index, _)| {
            format!(
                "{name}:{}: a blanket allow; put `#[expect(…, reason = \"…\")]` on the one item",
                index + 1
            )
        })
        .collect()
}

/// Every constant in a `limits.rs` says why it has its value.
fn limit_without_reason(name: &str, text: &str) -> Vec<String> {
    let mut above = "";
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let plain = line.trim_start();
        let constant = plain.starts_with("pub const ") || plain.starts_with("pub(crate) const ");
        // A constant directly below another shares its reason.
        let reasoned = above.starts_with("///")
            || above.starts_with("//")
            || above.starts_with("pub const ")
            || above.starts_with("#[");
        if constant && !reasoned {
            complaints.push(format!(
                "{name}:{}: a limit without a reason; one `///` sentence above it",
                index + 1
            ));
        }
        above = plain;
    }
    complaints
}

/// Lines that are not comments, with their index from 0.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_outside_its_rooms() {
        assert_eq!(
            unsafe_outside("core/store/src/x.rs", "fn f() {\n    unsafe { g() }\n}\n").len(),
            1
        );
        assert_eq!(
            unsafe_outside("core/store/src/lib.rs", "//! story\n").len(),
            1
        );
        assert!(
            unsafe_outside(
                "core/store/src/lib.rs",
                "//! story\n#![forbid(unsafe_code)]\n"
            )
            .is_empty()
        );
        assert!(unsafe_outside("core/uring/src/ring.rs", "unsafe { g() }").is_empty());
    }

    #[test]
    fn unsafe_in_its_room_has_two_sentences() {
        let bare = "fn f() {\n    unsafe { g() }\n}\n";
        let told = "// NEEDED: the kernel owns it.\n// SOUND: the index is asserted.\nlet x = unsafe { g() };\n";
        assert_eq!(
            unsafe_without_reason("core/uring/src/ring.rs", bare).len(),
            1
        );
        assert!(unsafe_without_reason("core/uring/src/ring.rs", told).is_empty());
    }

    #[test]
    fn blanket_allows_are_found() {
        assert_eq!(blanket_allow("x.rs", "#![allow(dead_code)]").len(), 1);
        assert_eq!(blanket_allow("x.rs", "#[allow(clippy::all)]").len(), 1);
        assert!(
            blanket_allow(
                "x.rs",
                "#[expect(clippy::too_many_lines, reason = \"a table\")]"
            )
            .is_empty()
        );
        assert!(blanket_allow("x.rs", "// #![allow(dead_code)] was here").is_empty());
    }

    #[test]
    fn limits_have_reasons() {
        assert_eq!(
            limit_without_reason("limits.rs", "use x;\n\npub const A: usize = 1;\n").len(),
            1
        );
        assert!(
            limit_without_reason(
                "limits.rs",
                "/// RFC 5321.\npub const A: usize = 1;\npub const B: usize = 2;\n"
            )
            .is_empty()
        );
    }
}
