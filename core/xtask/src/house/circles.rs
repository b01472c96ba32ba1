//! No circle of imports between the files of a crate.
//!
//! Files that import each other have to be read together, and can only be moved or tested together. A parent module and its children are one
//! story told in several files, so what they import of each other is not counted. A circle is broken by moving the noun that both sides
//! need to a file of its own, on the lower side.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Tree};

/// A module by its path within the crate; the crate's root is the empty path.
type Module = Vec<String>;

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    let mut crates: BTreeMap<&str, Vec<(Module, &str)>> = BTreeMap::new();
    for name in tree.ending(".rs") {
        if let Some((home, module)) = place_of(name)
            && tree.exists(&format!("{home}/Cargo.toml"))
        {
            crates.entry(home).or_default().push((module, name));
        }
    }
    for (home, files) in crates {
        let texts = files
            .into_iter()
            .map(|(module, name)| (module, tree.text(name)))
            .collect();
        for circle in circles(&texts) {
            findings.complaints.push(format!(
                "{home}: {} import each other in a circle; move the noun that both need to a file of its own",
                circle.join(", ")
            ));
        }
    }
}

/// The crate of a source file and the file's module in it. `None` for programs in `src/bin`, for tests, and outside `src`.
fn place_of(name: &str) -> Option<(&str, Module)> {
    let (home, path) = name.strip_suffix(".rs")?.split_once("/src/")?;
    let parts: Module = path.split('/').map(str::to_owned).collect();
    let is_left_out = parts[0] == "bin" || parts.iter().any(|part| part == "tests");
    let module = match path {
        "lib" | "main" => Vec::new(),
        _ => parts,
    };
    (!is_left_out).then_some((home, module))
}

/// Each set of two files or more of which every one reaches every other by imports. Files in the order of their names.
fn circles(files: &BTreeMap<Module, String>) -> Vec<Vec<String>> {
    let imports: BTreeMap<&Module, BTreeSet<&Module>> = files
        .iter()
        .map(|(module, text)| (module, imports(module, text, files)))
        .collect();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|module| (*module, reach(module, &imports)))
        .collect();
    let mut found = Vec::new();
    let mut done: BTreeSet<&Module> = BTreeSet::new();
    for (module, reaches) in &reached {
        let circle: Vec<&Module> = reaches
            .iter()
            .filter(|other| reached[*other].contains(*module))
            .copied()
            .collect();
        if circle.len() > 1 && done.insert(module) {
            done.extend(&circle);
            found.push(circle.iter().map(|module| module.join("::")).collect());
        }
    }
    found
}

/// All modules that `from` imports, directly or through others. `from` itself is among them only if a circle leads back.
fn reach<'a>(
    from: &'a Module,
    imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    // Bound: each module is opened once.
    while let Some(module) = open.pop() {
        for next in &imports[module] {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

/// The modules of `files` that `text` names by a path from `crate`, `super` or `self`, without its parents, its children and itself.
fn imports<'a>(
    module: &Module,
    text: &str,
    files: &'a BTreeMap<Module, String>,
) -> BTreeSet<&'a Module> {
    let code: Vec<&str> = without_tests(text)
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect();
    let code = code.join("\n");
    let words = words(&code);
    let mut paths = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let is_begin = index == 0 || words[index - 1] != "::";
        if is_begin && matches!(*word, "crate" | "super" | "self") {
            paths_at(&words[index..], &mut Vec::new(), &mut paths);
        }
    }
    let named = paths.iter().filter_map(|path| resolve(module, path, files));
    named
        .filter(|other| !other.starts_with(module) && !module.starts_with(other))
        .collect()
}

/// What stands before the tests that are written out at the end of a file. A declaration (`mod tests;`) ends nothing: it may stand at the
/// top, with all of the code behind it.
fn without_tests(text: &str) -> &str {
    let mut from = 0;
    // Bound: each turn goes on behind the module that it looked at.
    while let Some(at) = text[from..].find(TESTS) {
        let (begin, name) = (from + at, from + at + TESTS.len());
        let sign = text[name..].find(['{', ';']);
        if sign.is_some_and(|sign| text[name + sign..].starts_with('{')) {
            return &text[..begin];
        }
        from = name;
    }
    text
}

/// Names, `::`, and every other character that is not white space.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_name = |char: char| char.is_alphanumeric() || char == '_';
        let bytes = match first {
            _ if is_name(first) => rest.find(|char| !is_name(char)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        words.push(&rest[..bytes]);
        rest = rest[bytes..].trim_start();
    }
    words
}

/// Collects every path of the tree that begins at `words`, each behind `before`. Returns how many words the tree has.
fn paths_at<'a>(
    words: &[&'a str],
    before: &mut Vec<&'a str>,
    paths: &mut Vec<Vec<&'a str>>,
) -> usize {
    let depth = before.len();
    let mut at = 0;
    while at < words.len() {
        if words[at] == "{" {
            at += 1;
            while at < words.len() && words[at] != "}" {
                // Each turn goes on by a word at least.
                let length = match words[at] {
                    "," => 1,
                    _ => paths_at(&words[at..], before, paths).max(1),
                };
                at += length;
            }
            at += 1;
            break;
        }
        before.push(words[at]);
        at += 1;
        if words.get(at) != Some(&"::") {
            paths.push(before.clone());
            // `as name` belongs to the path.
            if words.get(at) == Some(&"as") {
                at += 2;
            }
            break;
        }
        at += 1;
    }
    before.truncate(depth);
    at
}

/// The file that a path used in `module` leads into: the longest part of it that is a module.
fn resolve<'a>(
    module: &Module,
    path: &[&str],
    files: &'a BTreeMap<Module, String>,
) -> Option<&'a Module> {
    let mut at = module.clone();
    let mut rest = path;
    match rest.first() {
        Some(&"crate") => at.clear(),
        Some(&"super") => {
            at.pop();
        }
        _ => {}
    }
    rest = rest.get(1..).unwrap_or(&[]);
    while rest.first() == Some(&"super") {
        at.pop();
        rest = &rest[1..];
    }
    for part in rest {
        at.push((*part).to_owned());
        if !files.contains_key(&at) {
            at.pop();
            break;
        }
    }
    files.get_key_value(&at).map(|(found, _)| found)
}

/// How a module of tests begins.
const TESTS: &str = "#[cfg(test)]\nmod ";

#[cfg(test)]
mod tests {
    use super::*;

    fn files(of: &[(&str, &str)]) -> BTreeMap<Module, String> {
        let module = |name: &str| {
            place_of(&format!("core/x/src/{name}.rs"))
                .expect("a source")
                .1
        };
        of.iter()
            .map(|(name, text)| (module(name), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_circle_of_three_is_found_through_trees_and_inline_paths() {
        let files = files(&[
            ("lib", "mod a; mod b; mod c; mod d;"),
            ("a", "use crate::{b::{B as Other, C}, limits::*};"),
            ("b", "fn f() { super::c::g(1) }"),
            ("c", "use crate::a::A;"),
            ("d", "use crate::a::A; use crate::c::C;"),
        ]);
        assert_eq!(circles(&files), [["a", "b", "c"]]);
    }

    #[test]
    fn parents_children_tests_and_comments_do_not_count() {
        let files = files(&[
            ("lib", "pub use a::A;"),
            ("a", "use crate::a::inner::I; use crate::Root;"),
            ("a/inner", "use super::A; // see crate::b::B"),
            ("b", "use crate::a::A;"),
            (
                "c",
                "use crate::b::B;\n#[cfg(test)]\nmod tests { use crate::d::D; }",
            ),
            ("d", "use crate::c::C;"),
        ]);
        assert_eq!(circles(&files), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_declaration_of_tests_does_not_hide_what_follows_it() {
        let declared = "#[cfg(test)]\nmod tests;\n\nuse crate::b::B;";
        let written = "use crate::a::A;\n#[cfg(test)]\nmod tests { use crate::c::C; }";
        let files = files(&[
            ("a", declared),
            ("b", written),
            ("c", "#[cfg(test)]\nmod rig;\nuse crate::b::B;"),
        ]);
        assert_eq!(circles(&files), [["a", "b"]]);
    }

    #[test]
    fn children_of_different_parents_count() {
        let files = files(&[
            ("lib", ""),
            ("a", ""),
            ("a/x", "use crate::b::y::{self, Y};"),
            ("b", ""),
            ("b/y", "use super::super::a::x::X;"),
        ]);
        assert_eq!(circles(&files), [["a::x", "b::y"]]);
    }
}
