//! Strangers behind a balancer: each is known by the address that the PROXY header names, from the settings to the ban list.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::daemon::Home;

struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    /// Connects as the balancer, which names `client`.
    fn behind_balancer(home: &Home, client: &str) -> Client {
        let stream = TcpStream::connect(home.at(25)).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a socket");
        let mut client_of = Client {
            lines: BufReader::new(stream),
        };
        client_of.send(&format!("PROXY TCP4 {client} 192.0.2.25 4711 25"));
        client_of
    }

    fn send(&mut self, line: &str) {
        let sent = self
            .lines
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes());
        sent.expect("the daemon reads");
    }

    /// The last line of the next reply.
    fn reply(&mut self) -> String {
        loop {
            // until the reply is over
            let mut line = String::new();
            let bytes = self.lines.read_line(&mut line).expect("a reply");
            if bytes == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.send(line);
        self.reply()
    }
}

#[test]
fn clients_behind_a_balancer_are_counted_and_banned_one_by_one() {
    let home = Home::new();
    home.configure(
        "[door]\nproxy = [\"127.0.0.0/8\"]\naddress_connections = 1\nhello = \"refuse\"\n[[domain]]\nname = \"example.com\"\n",
    );
    let _daemon = home.start();
    let mut first = Client::behind_balancer(&home, "192.0.2.7");
    assert!(first.reply().starts_with("220 mail.example.org"));
    let crowded = Client::behind_balancer(&home, "192.0.2.7").reply();
    assert!(
        crowded.starts_with("421 4.7.0 too many connections"),
        "{crowded}"
    );
    let mut other = Client::behind_balancer(&home, "192.0.2.8");
    assert!(other.reply().starts_with("220 "));

    assert!(other.say("EHLO mail.example.org").starts_with("250 "));
    assert!(other.say("MAIL FROM:<a@example.net>").starts_with("250 "));
    let refused = other.say("RCPT TO:<dora@example.com>");
    assert!(refused.starts_with("550 5.7.1 the name given"), "{refused}");

    home.ctl_ok(&["ban", "add", "192.0.2.8", "--for", "1h"]);
    let banned = Client::behind_balancer(&home, "192.0.2.8").reply();
    assert!(
        banned.starts_with("421 4.7.0 too many failures"),
        "{banned}"
    );
    home.ctl_ok(&["ban", "lift", "192.0.2.8"]);
    drop(other);
    let page = home.ctl_ok(&["metrics"]);
    for event in ["address_limit", "hello_refused", "banned_refused"] {
        let sample = format!("ringpost_door_total{{event=\"{event}\"}} 1\n");
        assert!(page.contains(&sample), "{sample} in {page}");
    }
}
