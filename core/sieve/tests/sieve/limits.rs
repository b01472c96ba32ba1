//! Bounds of scripts and of runs.

use proptest::prelude::*;
use sieve::Script;
use sieve::limits::*;

use crate::common::{World, refusal, says, shown};

const LETTER: &str = "From: ann@example.net\nTo: bob@example.org\nSubject: x\n\n";

#[test]
fn a_script_that_is_too_large_is_refused() {
    let large = format!("#{}\n", "x".repeat(SCRIPT_BYTES_MAX));
    assert!(refusal(&large).contains("at most 262144 bytes"));
    // Lists of nothing take the most memory for their bytes.
    let list = format!(
        "if header [{}\"\"] \"\" {{}}\n",
        "\"\",".repeat(LIST_COUNT_MAX - 1)
    );
    let large = list.repeat(SCRIPT_BYTES_MAX / list.len());
    assert!(refusal(&large).contains("takes too much memory"));
    let patterns = "\"a\",".repeat(REGEXES_COUNT_MAX + 1);
    let large = format!("require \"regex\"; if header :regex \"a\" [{patterns}\"a\"] {{}}");
    assert!(refusal(&large).contains("at most 32 regular expressions"));
    let many: String = (0..=VARIABLES_COUNT_MAX)
        .map(|index| format!("set \"a{index}\" \"\";"))
        .collect();
    assert!(refusal(&format!("require \"variables\"; {many}")).contains("at most 256 variables"));
}

#[test]
fn a_script_says_how_much_memory_it_takes() {
    let bytes = |source: &str| {
        Script::compile(source.as_bytes())
            .expect("a script")
            .bytes()
    };
    let empty = bytes("");
    let letters = "x".repeat(10_000);
    let script = format!("if header \"subject\" \"{letters}\" {{ keep; }}");
    assert!(bytes(&script) > empty + letters.len());
    assert!(bytes(&script) < empty + letters.len() + 2_000);
    // A comment is not kept.
    assert_eq!(bytes(&format!("# {letters}\n")), empty);
}

#[test]
fn actions_and_redirects_are_bounded() {
    let many = |count| -> String {
        (0..count)
            .map(|index| format!("fileinto \"{index}\";\n"))
            .collect()
    };
    let head = "require \"fileinto\";\n";
    let outcome = World::default().run(&[&format!("{head}{}", many(ACTIONS_COUNT_MAX))], LETTER);
    assert_eq!(
        outcome.expect("an outcome").actions.len(),
        ACTIONS_COUNT_MAX
    );
    says(
        &format!("{head}{}", many(ACTIONS_COUNT_MAX + 1)),
        LETTER,
        &[
            "implicit keep",
            "failed: line 34, column 1: A message causes at most 32 actions",
        ],
    );
    let many: String = (0..5)
        .map(|index| format!("redirect \"a{index}@b.c\";\n"))
        .collect();
    says(
        &many,
        LETTER,
        &[
            "implicit keep",
            "failed: line 5, column 1: A message is redirected to at most 4 addresses",
        ],
    );
}

#[test]
fn variables_are_cut_and_bounded() {
    let letters = "ü".repeat(VARIABLE_BYTES_MAX);
    let script = format!(
        "require [\"variables\", \"fileinto\"]; set \"a\" \"x{letters}\"; set :length \"n\" \"${{a}}\"; fileinto \"${{n}}\";"
    );
    says(
        &script,
        LETTER,
        &[&format!(
            "fileinto \"{}\"",
            1 + (VARIABLE_BYTES_MAX - 1) / 2
        )],
    );
    let letters = "x".repeat(VARIABLE_BYTES_MAX);
    let mut many = format!("require \"variables\"; set \"a\" \"{letters}\";");
    for index in 0..VARIABLES_BYTES_MAX / VARIABLE_BYTES_MAX {
        many.push_str(&format!("set \"b{index}\" \"${{a}}\";"));
    }
    let outcome = World::default().run(&[&many], LETTER).expect("an outcome");
    assert!(shown(&outcome)[1].contains("variables take too much memory"));
    let wide = format!(
        "require [\"variables\", \"fileinto\"]; set \"a\" \"{letters}\"; fileinto \"{}\";",
        "${a}".repeat(17)
    );
    let outcome = World::default().run(&[&wide], LETTER).expect("an outcome");
    assert!(shown(&outcome)[1].contains("A string has more than"));
}

#[test]
fn a_run_that_takes_too_long_is_given_up() {
    let test = format!(
        "if header :matches \"subject\" \"*{}b\" {{ discard; }}\n",
        "a".repeat(3_000)
    );
    let letter = format!("Subject: {}\n\n", "a".repeat(20_000));
    let outcome = World::default().run(&[&test], &letter).expect("an outcome");
    assert_eq!(
        shown(&outcome),
        [
            "implicit keep",
            "failed: line 1, column 30: The script takes too long for this message"
        ]
    );
    assert_eq!(outcome.steps, STEPS_COUNT_MAX);
    let body = "if body :contains \"zzz\" { discard; }\n".repeat(1_000);
    let letter = format!("Subject: x\n\n{}", "y".repeat(400_000));
    let outcome = World::default().run(&[&format!("require \"body\";\n{body}")], &letter);
    assert!(outcome.expect("an outcome").failure.is_some());
}

#[test]
fn a_message_with_too_large_a_header_is_kept_and_not_filtered() {
    let many = "A: b\n".repeat(FIELDS_COUNT_MAX + 1);
    let large = format!("A: {}\n", "b".repeat(HEADER_BYTES_MAX));
    for letter in [many, large] {
        says(
            "discard;",
            &letter,
            &[
                "implicit keep",
                "failed: The header of the message is too large for scripts",
            ],
        );
    }
}

/// The deepest recursion that compiles runs on the stack of a thread.
#[test]
fn the_deepest_script_runs() {
    let depth = NESTING_COUNT_MAX;
    let blocks = format!("{}discard;{}", "if true {".repeat(depth), "}".repeat(depth));
    says(&blocks, LETTER, &["discard"]);
    let tests = format!("if not{} true {{ discard; }}", " not".repeat(depth - 3));
    says(&tests, LETTER, &["discard"]);
}

/// Included scripts recurse where blocks do. The process would end if the stack did.
#[test]
fn the_deepest_includes_fit_a_small_stack() {
    let nested = |inner: &str| {
        let blocks = NESTING_COUNT_MAX;
        let head = "require [\"include\", \"fileinto\"]; ";
        let begin = "if allof (true, not false) {".repeat(blocks - 3);
        format!("{head}{begin}{inner}{}", "}".repeat(blocks - 3))
    };
    let run = move || {
        let mut scripts = std::collections::HashMap::new();
        for depth in 1..=INCLUDE_DEPTH_MAX {
            let inner = match depth {
                INCLUDE_DEPTH_MAX => "fileinto \"deep\";".to_owned(),
                _ => format!("include \"{}\";", depth + 1),
            };
            let name: &'static str = format!("personal/{depth}").leak();
            let source: &'static str = nested(&inner).leak();
            scripts.insert(name, source);
        }
        let world = World {
            scripts,
            ..World::default()
        };
        world.says(&nested("include \"1\";"), LETTER, &["fileinto \"deep\""]);
    };
    let thread = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(run);
    thread.expect("a thread").join().expect("the run ends");
}

/// A quarter of what threads usually have.
const STACK_BYTES: usize = 512 * 1_024;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any text in any place of a script compiles or is refused, and what compiles runs to its end.
    #[test]
    fn any_words_are_a_script_or_an_error(words in proptest::collection::vec(0..WORDS.len(), 0..40)) {
        let source: Vec<&str> = words.into_iter().map(|index| WORDS[index]).collect();
        let source = format!("{ALL}\n{}", source.join(" "));
        if Script::compile(source.as_bytes()).is_ok() {
            let outcome = World::default().run(&[&source], LETTER).expect("an outcome");
            prop_assert!(outcome.steps <= STEPS_COUNT_MAX);
            prop_assert!(outcome.actions.len() <= ACTIONS_COUNT_MAX + 1);
        }
    }

    /// A pattern matches what it was made of.
    #[test]
    fn a_quoted_text_matches_itself(text in "[a-z*?\\\\ ]{0,20}") {
        let quoted = text.replace('\\', "\\\\");
        let script = format!(
            "require \"variables\"; set :quotewildcard \"q\" \"{quoted}\"; if string :matches \"{quoted}\" \"${{q}}\" {{ discard; }}"
        );
        let outcome = World::default().run(&[&script], LETTER).expect("an outcome");
        prop_assert!(outcome.actions.is_empty(), "{}", script);
    }
}

const ALL: &str = r#"require ["fileinto", "variables", "imap4flags", "copy", "relational", "body", "date", "index", "editheader"];"#;
const WORDS: [&str; 32] = [
    "if",
    "elsif",
    "else",
    "{",
    "}",
    "(",
    ")",
    ",",
    ";",
    "not",
    "true",
    "allof",
    "header",
    ":matches",
    "\"subject\"",
    "\"*x?\"",
    "[\"a\", \"${1}\"]",
    "keep",
    "discard;",
    "fileinto \"a${0}\";",
    "set \"a\" \"${a}${1}\";",
    "addheader \"X-A\" \"${a}\";",
    "deleteheader \"Subject\";",
    "if header :matches \"subject\" \"*\" {",
    "body :contains \"a\"",
    "currentdate \"year\" \"2026\"",
    "addflag \"${a}\";",
    "stop;",
    "if",
    "true {",
    "not not",
    "redirect \"${a}@b.c\";",
];
