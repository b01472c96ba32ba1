//! Capabilities that a program or an account is not offered.

use imap::hide::Hide;

use crate::rig::run;

fn hide(client: Option<&str>, account: Option<&str>, capability: &str) -> Hide {
    Hide {
        client: client.map(Box::from),
        account: account.map(Box::from),
        capabilities: vec![capability.into()],
    }
}

#[test]
fn capability_follows_id_and_login() {
    run(|mut rig| async move {
        rig.hide = [
            hide(Some("Outlook"), None, "QRESYNC"),
            hide(None, Some("alice@example.org"), "COMPRESS"),
            hide(None, Some("bob@example.org"), "IDLE"),
        ]
        .into();
        let mut session = rig.connect().await;
        let login = session.ask("LOGIN alice secret").await.join("");
        assert!(
            login.contains(" QRESYNC") && !login.contains("COMPRESS"),
            "{login}"
        );
        assert!(login.contains(" IDLE"), "{login}");
        session.ok("ID (\"name\" \"Microsoft Outlook\")").await;
        let shown = session.ok("CAPABILITY").await.join("");
        assert!(
            shown.contains(" CONDSTORE") && !shown.contains("QRESYNC"),
            "{shown}"
        );
        // RFC 5161 §3.1: what is not offered is passed over.
        let enabled = session.ok("ENABLE QRESYNC CONDSTORE").await;
        assert_eq!(enabled, ["* ENABLED CONDSTORE"]);
        session.ok("ID NIL").await;
        let shown = session.ok("CAPABILITY").await.join("");
        assert!(shown.contains(" QRESYNC"), "{shown}");
    });
}
