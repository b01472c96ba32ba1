//! Two small servers with a mailbox in memory, for any number of connections one behind the other.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// Messages by number or UID, with the size that is added to each.
#[derive(Default)]
struct Mails {
    messages: Vec<(u32, usize)>,
    next: u32,
    validity: u32,
    breaks_at_quit: bool,
    breaks_at: u32,
}

fn serve(state: Arc<Mutex<Mails>>, each: fn(TcpStream, &Mutex<Mails>)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let at = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            each(stream.expect("a client"), &state);
        }
    });
    at
}

fn text(number: u32, more: usize) -> String {
    let filler = "0123456789".repeat(7) + "\r\n";
    let lines = filler.repeat(more / filler.len());
    format!("Subject: m{number}\r\n\r\n.dot\r\n{lines}")
}

pub struct Pop3 {
    pub at: SocketAddr,
    state: Arc<Mutex<Mails>>,
}

impl Pop3 {
    pub fn start(count: u32) -> Pop3 {
        let state = Arc::new(Mutex::new(Mails::default()));
        let pop3 = Pop3 {
            at: serve(state.clone(), pop3),
            state,
        };
        pop3.add(count);
        pop3
    }

    fn state(&self) -> MutexGuard<'_, Mails> {
        self.state.lock().expect("no holder panics")
    }

    pub fn add(&self, count: u32) {
        let mut state = self.state();
        for _ in 0..count {
            state.next += 1;
            let number = state.next;
            state.messages.push((number, 0));
        }
    }

    pub fn set_size(&self, number: u32, more: usize) {
        let mut state = self.state();
        let mut all = state.messages.iter_mut();
        all.find(|(other, _)| *other == number)
            .expect("it is there")
            .1 = more;
    }

    pub fn uids(&self) -> Vec<String> {
        let state = self.state();
        state
            .messages
            .iter()
            .map(|(number, _)| format!("u{number}"))
            .collect()
    }

    /// The next message is numbered as the first one was.
    pub fn restart_numbers(&self) {
        self.state().next = 0;
    }

    pub fn clear(&self) {
        self.state().messages.clear();
    }

    pub fn break_at_quit(&self, breaks: bool) {
        self.state().breaks_at_quit = breaks;
    }

    pub fn break_at_message(&self, number: u32) {
        self.state().breaks_at = number;
    }
}

fn pop3(mut stream: TcpStream, state: &Mutex<Mails>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
    let session = state.lock().expect("no holder panics").messages.clone();
    let mut deleted = Vec::new();
    let _ = stream.write_all(b"+OK\r\n");
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        line.clear();
        let of = |word: Option<&String>| {
            let at: usize = word.expect("a number").parse().expect("a number");
            session[at - 1]
        };
        let reply = match words[0].as_str() {
            "CAPA" => "+OK\r\nUSER\r\nUIDL\r\n.\r\n".to_owned(),
            "UIDL" => {
                let all = session.iter().enumerate();
                let all: String = all
                    .map(|(at, (number, _))| format!("{} u{number}\r\n", at + 1))
                    .collect();
                format!("+OK\r\n{all}.\r\n")
            }
            "LIST" => {
                let all = session.iter().enumerate();
                let all: String = all
                    .map(|(at, (number, more))| {
                        format!("{} {}\r\n", at + 1, text(*number, *more).len())
                    })
                    .collect();
                format!("+OK\r\n{all}.\r\n")
            }
            "RETR" => {
                let (number, more) = of(words.get(1));
                let text = text(number, more).replace("\r\n.", "\r\n..");
                if state.lock().expect("no holder panics").breaks_at == number {
                    let _ = stream.write_all(b"+OK\r\nSubj");
                    return;
                }
                format!("+OK\r\n{text}.\r\n")
            }
            "DELE" => {
                deleted.push(of(words.get(1)).0);
                "+OK\r\n".to_owned()
            }
            "QUIT" => {
                let mut state = state.lock().expect("no holder panics");
                if state.breaks_at_quit {
                    return;
                }
                state
                    .messages
                    .retain(|(number, _)| !deleted.contains(number));
                drop(state);
                let _ = stream.write_all(b"+OK\r\n");
                return;
            }
            _ => "+OK\r\n".to_owned(),
        };
        let _ = stream.write_all(reply.as_bytes());
    }
}

pub struct Imap {
    pub at: SocketAddr,
    state: Arc<Mutex<Mails>>,
}

impl Imap {
    pub fn start(validity: u32, uids: &[u32]) -> Imap {
        let state = Arc::new(Mutex::new(Mails {
            validity,
            ..Mails::default()
        }));
        let imap = Imap {
            at: serve(state.clone(), imap),
            state,
        };
        imap.add(uids);
        imap
    }

    fn state(&self) -> MutexGuard<'_, Mails> {
        self.state.lock().expect("no holder panics")
    }

    pub fn add(&self, uids: &[u32]) {
        let mut state = self.state();
        for uid in uids {
            state.messages.push((*uid, 0));
            state.next = uid + 1;
        }
    }

    pub fn set_size(&self, uid: u32, more: usize) {
        let mut state = self.state();
        let mut all = state.messages.iter_mut();
        all.find(|(other, _)| *other == uid).expect("it is there").1 = more;
    }

    pub fn set_validity(&self, validity: u32) {
        self.state().validity = validity;
    }

    pub fn uids(&self) -> Vec<u32> {
        self.state().messages.iter().map(|(uid, _)| *uid).collect()
    }
}

/// A set of single numbers and ranges.
fn is_in(set: &str, uid: u32) -> bool {
    set.split(',').any(|range| {
        let (low, high) = range.split_once(':').unwrap_or((range, range));
        let low: u32 = low.parse().expect("a number");
        let high: u32 = if high == "*" {
            u32::MAX
        } else {
            high.parse().expect("a number")
        };
        (low..=high).contains(&uid)
    })
}

fn imap(mut stream: TcpStream, state: &Mutex<Mails>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
    let _ = stream.write_all(b"* OK\r\n");
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        line.clear();
        let mut state = state.lock().expect("no holder panics");
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let mut out = String::new();
        match (word(1), word(2)) {
            ("CAPABILITY", _) => out += "* CAPABILITY IMAP4rev1 UIDPLUS\r\n",
            ("SELECT" | "EXAMINE", _) => {
                out += &format!(
                    "* OK [UIDVALIDITY {}] x\r\n* OK [UIDNEXT {}] x\r\n",
                    state.validity, state.next
                );
            }
            ("UID", "SEARCH") => {
                let found = state
                    .messages
                    .iter()
                    .filter(|(uid, _)| is_in(word(4), *uid));
                let found: String = found.map(|(uid, _)| format!(" {uid}")).collect();
                out += &format!("* SEARCH{found}\r\n");
            }
            ("UID", "FETCH") => {
                for (at, (uid, more)) in state.messages.iter().enumerate() {
                    if !is_in(word(3), *uid) {
                        continue;
                    }
                    let text = text(*uid, *more);
                    let piece = words
                        .iter()
                        .find_map(|word| word.strip_prefix("BODY.PEEK[]<"));
                    match piece {
                        Some(piece) => {
                            let (from, count) =
                                piece.trim_end_matches(">)").split_once('.').expect("two");
                            let from: usize = from.parse().expect("a number");
                            let count: usize = count.parse().expect("a number");
                            let from_here = from.min(text.len());
                            let part = &text[from_here..(from_here + count).min(text.len())];
                            out += &format!(
                                "* {} FETCH (UID {uid} BODY[]<{from}> {{{}}}\r\n{part})\r\n",
                                at + 1,
                                part.len()
                            );
                        }
                        None => {
                            let date = "\" 1-Jan-2026 00:00:00 +0000\"";
                            out += &format!(
                                "* {} FETCH (UID {uid} FLAGS (\\Seen) INTERNALDATE {date} RFC822.SIZE {})\r\n",
                                at + 1,
                                text.len()
                            );
                        }
                    }
                }
            }
            ("UID", "EXPUNGE") => state.messages.retain(|(uid, _)| !is_in(word(3), *uid)),
            _ => {}
        }
        out += &format!("{} OK\r\n", word(0));
        let _ = stream.write_all(out.as_bytes());
    }
}
