//! RFC 6609.

use std::collections::HashMap;

use crate::common::{World, refusal, shown};

const LETTER: &str = "Subject: x\n\n";

fn says(scripts: &[(&'static str, &'static str)], script: &str, lines: &[&str]) {
    let world = World {
        scripts: HashMap::from_iter(scripts.iter().copied()),
        ..World::default()
    };
    let outcome = world.run(&[script], LETTER).expect("an outcome");
    assert_eq!(shown(&outcome), lines, "{script}");
}

/// Its actions are those of the outer script, in order.
#[test]
fn an_included_script_acts_where_it_stands() {
    says(
        &[
            ("personal/one", r#"require "fileinto"; fileinto "mine";"#),
            ("global/one", r#"require "fileinto"; fileinto "all";"#),
        ],
        r#"require "include"; include :global "one"; include "one"; include :personal "one";"#,
        &[r#"fileinto "all""#, r#"fileinto "mine""#],
    );
}

/// RFC 6609 §3.3: a script of the administrator uses one for "go on" and the other for "enough".
#[test]
fn return_ends_one_script_and_stop_ends_all() {
    let scripts = [
        ("personal/back", "require \"include\"; return; discard;"),
        ("personal/end", "stop;"),
    ];
    says(
        &scripts,
        r#"require "include"; include "back"; keep;"#,
        &["keep"],
    );
    says(
        &scripts,
        r#"require "include"; include "end"; discard;"#,
        &["implicit keep"],
    );
    says(
        &[],
        r#"require "include"; return; discard;"#,
        &["implicit keep"],
    );
}

/// A rule that is missing without an error would file mail wrongly for weeks.
#[test]
fn a_script_that_is_not_there_is_an_error_unless_it_is_optional() {
    says(
        &[],
        r#"require "include"; include :optional "a"; keep;"#,
        &["keep"],
    );
    says(
        &[],
        r#"require "include"; include "a";"#,
        &[
            "implicit keep",
            "failed: line 1, column 20: There is no script \"a\"",
        ],
    );
    says(
        &[("personal/a", "keep;\n nonsense;")],
        r#"require "include"; include :optional "a";"#,
        &[
            "implicit keep",
            "failed: line 1, column 20: The script \"a\" is wrong: line 2, column 2: There is no command \"nonsense\"",
        ],
    );
}

/// RFC 6609 §3.2: it is about the name, whichever script includes it.
#[test]
fn once_is_once() {
    let scripts = [(
        "personal/a",
        r#"require ["include", "variables"]; global "n"; set "n" "${n}x";"#,
    )];
    let script = |tags: &str| {
        format!(
            r#"require ["include", "variables", "fileinto"]; global "n";
               include {tags} "a"; include {tags} "a"; fileinto "${{n}}";"#
        )
    };
    says(&scripts, &script(":once"), &[r#"fileinto "x""#]);
    says(&scripts, &script(""), &[r#"fileinto "xx""#]);
}

/// Else a script of the administrator could be disturbed by names that a person uses.
#[test]
fn variables_are_shared_only_if_both_say_so() {
    let scripts = [(
        "personal/a",
        r#"require ["include", "variables"]; set "private" "a"; set "global.shared" "${shared}b"; set "shared" "c";"#,
    )];
    says(
        &scripts,
        r#"require ["include", "variables", "fileinto"]; global ["shared"]; set "private" "p"; set "shared" "s";
           include "a"; fileinto "${private}${shared}${global.shared}";"#,
        &[r#"fileinto "pbb""#],
    );
    let late = r#"require ["include", "variables"]; set "a" "b"; global "a";"#;
    assert!(refusal(late).contains("write \"global\" above"));
}

/// A script is compiled alone, so that circles are only seen in a run.
#[test]
fn a_circle_is_an_error_that_names_the_script() {
    says(
        &[
            ("personal/a", "require \"include\";\ninclude \"b\";"),
            ("personal/b", "require \"include\";\n\n include \"a\";"),
        ],
        r#"require "include"; include "a";"#,
        &[
            "implicit keep",
            "failed: script \"b\", line 3, column 2: The script \"a\" includes itself",
        ],
    );
}

/// Each level is frames on the stack of the delivery.
#[test]
fn depth_is_bounded() {
    let names = [
        "personal/1",
        "personal/2",
        "personal/3",
        "personal/4",
        "personal/5",
        "personal/6",
    ];
    let sources = [
        "require \"include\"; include \"2\";",
        "require \"include\"; include \"3\";",
        "require \"include\"; include \"4\";",
        "require \"include\"; include \"5\";",
        "require \"include\"; include \"6\";",
        "discard;",
    ];
    let scripts: Vec<_> = names.into_iter().zip(sources).collect();
    says(
        &scripts,
        r#"require "include"; include "1";"#,
        &[
            "implicit keep",
            "failed: script \"5\", line 1, column 20: Scripts include each other more than 5 deep",
        ],
    );
    says(&scripts, r#"require "include"; include "2";"#, &["discard"]);
}

/// The caller reads them before the run; a question in the run costs a second one.
#[test]
fn a_script_lists_what_it_includes() {
    let source =
        br#"require "include"; if true { include :global "a"; } include "b"; include "b";"#;
    let script = sieve::Script::compile(source).expect("a script");
    let names: Vec<_> = script
        .includes()
        .iter()
        .map(|wanted| &*wanted.name)
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(
        refusal(r#"require "include"; include "../etc";"#).contains("not the name of a script")
    );
    let variable = r#"require ["include", "variables"]; include "${a}";"#;
    assert!(refusal(variable).contains("no variables"));
}
