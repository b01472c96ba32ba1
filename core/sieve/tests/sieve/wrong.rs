//! Scripts that are refused, each with the place and the reason.

use crate::common::refusal;

/// A person fixes a script by these texts alone, most often in the form of a mail program.
#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (script, text) in [
        (
            "keep",
            "line 1, column 5: Expected \";\" or a block, found the end of the script",
        ),
        ("kep;", "line 1, column 1: There is no command \"kep\""),
        (
            "keep 1;",
            "line 1, column 6: \"keep\" has too many arguments",
        ),
        (
            "keep :copy;",
            "line 1, column 6: \"keep\" has no tag \":copy\"",
        ),
        (
            "keep {}",
            "line 1, column 1: \"keep\" has no block; write \";\" behind it",
        ),
        ("keep true;", "line 1, column 1: \"keep\" has no tests"),
        (
            "stop;\n\nrequire \"copy\";",
            "line 3, column 1: \"require\" must stand before all other commands",
        ),
        (
            "require [\"copy\",\n \"nosuch\"];",
            "line 2, column 2: The extension \"nosuch\" is not supported",
        ),
        ("if true keep;", "line 1, column 1: \"if\" needs a block"),
        ("if {}", "line 1, column 1: \"if\" needs one test"),
        (
            "if (true, true) {}",
            "line 1, column 1: \"if\" needs one test",
        ),
        ("if true;", "line 1, column 1: \"if\" needs a block"),
        (
            "else {}",
            "line 1, column 1: \"else\" must follow an \"if\" or \"elsif\"",
        ),
        (
            "if true {} else {} elsif true {}",
            "line 1, column 20: \"elsif\" must follow an \"if\" or \"elsif\"",
        ),
        (
            "if true {} else true {}",
            "line 1, column 17: \"else\" has no test",
        ),
        (
            "if allof true {}",
            "line 1, column 4: \"allof\" needs tests in parentheses",
        ),
        (
            "if frobs {}",
            "line 1, column 4: There is no test \"frobs\"",
        ),
        (
            "if not (true) {}",
            "line 1, column 4: \"not\" needs one test",
        ),
        (
            "if header \"a\" {}",
            "line 1, column 4: \"header\" needs a string or a list of strings to compare with here",
        ),
        (
            "if header :is :contains \"a\" \"b\" {}",
            "line 1, column 15: A test has one match type",
        ),
        (
            "if header :is :is \"a\" \"b\" {}",
            "line 1, column 15: The tag \":is\" is there twice",
        ),
        (
            "if header \"a\" :is \"b\" {}",
            "line 1, column 15: \"header\" needs a string or a list of strings to compare with here",
        ),
        (
            "if header :comparator \"i;nosuch\" \"a\" \"b\" {}",
            "line 1, column 23: The comparator \"i;nosuch\" is not supported",
        ),
        (
            "if size 10 {}",
            "line 1, column 9: \"size\" needs \":over\" or \":under\"",
        ),
        (
            "if size :over \"a\" {}",
            "line 1, column 15: \"size\" needs a size here",
        ),
        (
            "redirect \"ann\";",
            "line 1, column 10: \"ann\" is not an address",
        ),
        (
            "redirect \"Ann <ann@example.org>\";",
            "line 1, column 10: \"Ann <ann@example.org>\" is not an address",
        ),
        (
            "redirect [\"a@b.c\", \"d@e.f\"];",
            "line 1, column 10: \"redirect\" needs a single string here",
        ),
        (
            "fileinto \"a\";",
            "line 1, column 10: This needs the extension \"fileinto\"; add it to \"require\"",
        ),
        (
            "require \"fileinto\"; fileinto \"\";",
            "line 1, column 30: \"\" is not the name of a mailbox",
        ),
        (
            "require \"fileinto\"; fileinto \"a\" :copy;",
            "line 1, column 34: The tag \":copy\" must stand before the other arguments",
        ),
    ] {
        assert_eq!(refusal(script), text, "{script}");
    }
}

/// Error texts are one line of printable letters.
#[test]
fn words_of_a_script_cannot_disturb_a_log() {
    let text = refusal("require \"a\nb\u{1b}[31m\";");
    assert!(text.contains(r#""a\r\nb\u{1b}[31m""#), "{text}");
    let long = refusal(&format!("require \"{}\";", "x".repeat(5_000)));
    assert!(long.contains('…') && long.len() < 200, "{long}");
}

/// Editors of other encodings write them; some write a mark in front, which is fine.
#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_are() {
    let error = sieve::Script::compile(b"keep;\n# \xff").expect_err("not UTF-8");
    assert!(
        error.to_string().starts_with("line 2, column 3: "),
        "{error}"
    );
    assert!(sieve::Script::compile("\u{feff}keep;".as_bytes()).is_ok());
}

/// RFC 5228 §8.1 has NUL nowhere, and neither has mail.
#[test]
fn a_nul_is_refused_where_it_is() {
    for script in ["keep;\n # \0", "keep;\n \"a\0\""] {
        let column = script.len() - "keep;\n".len();
        let column = column - usize::from(script.ends_with('"'));
        let text = format!("line 2, column {column}: A script has no NUL");
        assert_eq!(refusal(script), text);
    }
}

/// Error texts go to the person who wrote the script, and into logs.
#[test]
fn an_error_text_is_short_whatever_the_script_is() {
    let long = "x".repeat(5_000);
    for script in [
        format!("{long};"),
        format!("stop :{long};"),
        format!("keep :{long};"),
        format!("if {long} {{}}"),
        format!("if not true :{long} {{}}"),
        format!("require \"variables\"; set \"{long}\" \"\";"),
        format!(
            "require \"regex\"; if header :regex \"a\" \"({}\" {{}}",
            &long[..900]
        ),
    ] {
        let text = refusal(&script);
        assert!(text.len() < 300, "{text}");
    }
}
