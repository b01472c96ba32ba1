//! ACL (RFC 4314) and LIST-MYRIGHTS (RFC 8440).

use crate::rig::run;

const PLANS: &str = "\"Other Users/alice@example.org/Plans\"";

#[test]
fn an_owner_gives_rights_and_takes_them_back() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice.ok("CREATE Plans").await;
        let lines = alice.ok("GETACL Plans").await;
        let owner = "\"alice@example.org\" lrswipkxteacd";
        assert_eq!(lines, [format!("* ACL \"Plans\" {owner}")]);
        alice.ok("SETACL Plans bob@example.org lr").await;
        alice.ok("SETACL Plans Bob@example.org +sw").await;
        alice.ok("SETACL Plans -bob@example.org w").await;
        alice.ok("SETACL Plans anyone l").await;
        let lines = alice.ok("GETACL Plans").await;
        let others = "\"anyone\" l \"bob@example.org\" lrsw \"-bob@example.org\" w";
        assert_eq!(lines, [format!("* ACL \"Plans\" {owner} {others}")]);
        let mine = bob.ok(&format!("MYRIGHTS {PLANS}")).await;
        assert_eq!(mine, [format!("* MYRIGHTS {PLANS} lrs")]);
        alice.ok("DELETEACL Plans -bob@example.org").await;
        alice.ok("SETACL Plans anyone \"\"").await;
        let mine = bob.ok(&format!("MYRIGHTS {PLANS}")).await;
        assert_eq!(mine, [format!("* MYRIGHTS {PLANS} lrsw")]);
    });
}

#[test]
fn what_cannot_be_set_is_refused() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        for (command, answer) in [
            ("SETACL INBOX erin@example.org lr", "NO [CANNOT] "),
            ("SETACL INBOX carol lr", "NO [CANNOT] "),
            ("SETACL INBOX alice@example.org lr", "NO [CANNOT] "),
            ("DELETEACL INBOX alice@example.org", "NO [CANNOT] "),
            ("SETACL Nope anyone lr", "NO [NONEXISTENT] "),
            ("GETACL Nope", "NO [NONEXISTENT] "),
            ("MYRIGHTS Nope", "NO [NONEXISTENT] "),
            ("LISTRIGHTS Nope anyone", "NO [NONEXISTENT] "),
            ("SETACL INBOX anyone lrq", "BAD "),
        ] {
            let refused = alice.refused(command).await;
            assert!(refused.starts_with(answer), "{command}: {refused}");
        }
    });
}

#[test]
fn rights_that_can_be_given_are_listed() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let lines = alice.ok("LISTRIGHTS INBOX anyone").await;
        let each = "\"\" l r s w i p k x t e a c d";
        assert_eq!(lines, [format!("* LISTRIGHTS \"INBOX\" \"anyone\" {each}")]);
        let lines = alice.ok("LISTRIGHTS INBOX alice@example.org").await;
        let all = "* LISTRIGHTS \"INBOX\" \"alice@example.org\" lrswipkxteacd";
        assert_eq!(lines, [all]);
    });
}

#[test]
fn one_with_the_right_to_administer_gives_rights_in_the_owners_place() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        let mut carol = rig.session_of("carol").await;
        alice.ok("CREATE Plans").await;
        alice.ok("SETACL Plans bob@example.org lra").await;
        bob.ok(&format!("SETACL {PLANS} carol@example.org lr"))
            .await;
        carol.ok(&format!("STATUS {PLANS} (MESSAGES)")).await;
        let refused = carol.refused(&format!("GETACL {PLANS}")).await;
        assert!(refused.starts_with("NO [NOPERM] "), "{refused}");
        let refused = bob
            .refused(&format!("SETACL {PLANS} alice@example.org l"))
            .await;
        assert!(refused.starts_with("NO [CANNOT] "), "{refused}");
        bob.ok(&format!("DELETEACL {PLANS} bob@example.org")).await;
        let refused = bob.refused(&format!("GETACL {PLANS}")).await;
        assert!(refused.starts_with("NO [NONEXISTENT] "), "{refused}");
    });
}

#[test]
fn each_change_is_in_the_audit_with_what_was_before() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        rig.session_of("bob").await;
        alice.ok("SETACL INBOX bob@example.org lr").await;
        alice.ok("SETACL INBOX bob@example.org lr").await;
        alice.ok("DELETEACL INBOX bob@example.org").await;
        alice.refused("SETACL INBOX erin@example.org lr").await;
        let audited = rig.audited.lock().expect("no holder panics");
        let changes = audited.iter().filter(|line| line.contains("changed"));
        let changes: Vec<&str> = changes.map(String::as_str).collect();
        let begin = "imap LOGIN command alice@example.org -: changed, \
                     rights of bob@example.org on INBOX of alice@example.org: ";
        let expected = [
            format!("{begin}none before, lr now"),
            format!("{begin}lr before, none now"),
        ];
        assert_eq!(changes, expected);
    });
}

#[test]
fn list_reports_rights() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice.ok("CREATE Plans").await;
        alice.ok("SETACL Plans bob@example.org lr").await;
        let lines = bob
            .ok("LIST \"\" (INBOX \"Other Users/*\") RETURN (MYRIGHTS)")
            .await;
        let expected = [
            "* LIST (\\HasNoChildren) \"/\" \"INBOX\"".to_owned(),
            "* MYRIGHTS \"INBOX\" lrswipkxteacd".to_owned(),
            "* LIST (\\Noselect \\HasChildren) \"/\" \"Other Users/alice@example.org\"".to_owned(),
            format!("* LIST (\\HasNoChildren) \"/\" {PLANS}"),
            format!("* MYRIGHTS {PLANS} lr"),
        ];
        assert_eq!(lines, expected);
    });
}
