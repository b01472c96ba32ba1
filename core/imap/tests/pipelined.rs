//! Many commands in one read: their replies are handed over in pieces.

use imap::limits::REPLIES_BYTES_MAX;
use imap::{Event, Policy, Session};

/// One read's worth of `line` again and again; the replies, and the most bytes of them that waited at once.
fn replies(mut session: Session, line: &str) -> (String, usize) {
    let lines = line.repeat(64 * 1_024 / line.len());
    session.input().extend_from_slice(lines.as_bytes());
    let (mut all, mut most) = (Vec::new(), 0);
    loop {
        // until the input is used up
        let mut out = Vec::new();
        let event = session.step(&mut out);
        most = most.max(out.len());
        all.append(&mut out);
        if event == Event::Wait {
            return (String::from_utf8(all).unwrap(), most);
        }
    }
}

#[test]
fn replies_to_one_read_do_not_gather() {
    let before_login = || Session::new(Policy::default(), true);
    let logged_in = || {
        let mut session = before_login();
        session.logged_in("-", &mut Vec::new());
        session
    };
    for line in [
        "a SEARCH CHARSET X\r\n",
        "a CAPABILITY\r\n",
        "a ID NIL\r\n",
        "a NOOP\r\n",
        "a AUTHENTICATE X\r\n",
    ] {
        let (all, most) = replies(before_login(), line);
        assert!(most <= REPLIES_BYTES_MAX + 1_024, "{line:?}: {most}");
        let tagged = all.lines().filter(|line| line.starts_with("a "));
        assert_eq!(tagged.count(), 64 * 1_024 / line.len());
    }
    for line in [
        "a NAMESPACE\r\n",
        "a ENABLE IMAP4rev2\r\n",
        "a SEARCH CHARSET X\r\n",
    ] {
        let (_, most) = replies(logged_in(), line);
        assert!(most <= REPLIES_BYTES_MAX + 1_024, "{line:?}: {most}");
    }
}
