//! What the process may have is scarce: descriptors.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use crate::connect;
use crate::daemon::{ALICE, Home, said};
use crate::ledger::Ledger;

/// More than the plan lets in with 256 descriptors, for every service.
const IDLE: usize = 100;
const LETTER: &str = "Subject: with every place taken\r\n\r\nhello\r\n";

/// `ulimit -n 256`, and idle clients at every door until they are refused. A leg that is lost then is left out as ever, mail goes on,
/// and the operator is heard.
#[test]
fn idle_clients_at_every_door_leave_the_mirror_and_the_operator_their_descriptors() {
    let mut home = Home::with_leg_size("128MiB");
    home.open_files = Some(256);
    let daemon = home.start();
    let ledger = Ledger::of(ALICE);
    ledger.fill(home.smtp(), 3, 1_000);
    let mut early = connect::smtp(home.smtp()).expect("it listens");
    let mut idle: Vec<TcpStream> = Vec::new();
    for port in [25, 24, 143, 993, 80, 443] {
        for _ in 0..IDLE {
            // One that the kernel has no place for either is as good as refused.
            idle.extend(TcpStream::connect_timeout(
                &home.at(port),
                Duration::from_secs(5),
            ));
        }
    }
    let refused = idle
        .iter_mut()
        .filter(|client| client.peer_addr().is_ok_and(|at| at == home.imap()))
        .filter_map(greeting)
        .filter(|greeting| greeting.starts_with("* BYE"))
        .count();
    assert!(refused > 0, "all of {IDLE} were let in");

    let failed = home.ctl(&["leg", "fail", "1"]);
    assert!(failed.status.success(), "{}", said(&failed));
    let reply = early.send(&[ALICE], LETTER).expect("still connected");
    assert!(reply.code == 250, "{reply}");
    let legs = home.ctl_ok(&["leg", "list"]);
    assert_eq!(legs.matches("in_sync").count(), 1, "{legs}");
    let words = daemon.words();
    assert!(words.matches("cannot accept").count() < 20, "{words}");
    drop(idle);
    home.ctl_ok(&["leg", "attach", &home.legs()[1].to_string_lossy()]);
    home.wait_until_in_sync();
}

/// The first line; `None` where none comes.
fn greeting(client: &mut TcpStream) -> Option<String> {
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("our own socket");
    let mut line = [0; 128];
    let count = client.read(&mut line).ok().filter(|count| *count > 0)?;
    Some(String::from_utf8_lossy(&line[..count]).into_owned())
}
