//! Every file of `transcripts/` is one behaviour: its first line names the RFC section, then
//!
//! - `@ key value` sets the session up (`role lmtp`, `size N`, `recipients N`, `errors N`, `refused N`, `idle N`, `messages N`, `tls
//!   offered`, `tls required`, `submission plain`: logins without TLS, `submission tls`: not without; `trusted yes`: XCLIENT is, `zone yes`: XDELIVERY is), before anything else;
//! - `C: text` is a line from the client, CRLF appended; `C~ text` the same without CRLF; both know `\r \n \0 \t \\ \xNN` and `\*N{…}`, which
//!   repeats what is in the braces;
//! - `S: text` is a reply line; `M: text` the content of a message taken, in the same escapes;
//! - `A: tls` is the handshake; `A: closed` says that the server has closed.
//!
//! The client's bytes are given whole, cut in two at every place, and one by one: replies and messages must be the same.

use crate::world::{World, config};
use sasl::Offer;
use smtp::{Config, Role, Service};

struct Transcript {
    config: Config,
    trusted: bool,
    scram: bool,
    tokens: bool,
    zone: bool,
    /// Client bytes up to a handshake or the end.
    flights: Vec<Vec<u8>>,
    replies: Vec<u8>,
    messages: Vec<Vec<u8>>,
    closed: bool,
}

#[test]
fn transcripts_hold_however_the_bytes_are_cut() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).expect("the transcripts are there") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        assert!(
            text.starts_with("RFC "),
            "{name}: the first line names the RFC section"
        );
        check(&name, &parse(&name, &text));
        count += 1;
    }
    assert!(count >= 40, "{count} transcripts");
}

fn check(name: &str, transcript: &Transcript) {
    let whole = run(transcript, |flight| vec![flight]);
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\r\\n", "\n");
    assert_eq!(text(&whole.output), text(&transcript.replies), "{name}");
    let messages: Vec<String> = whole.messages.iter().map(|message| text(message)).collect();
    let expected: Vec<String> = transcript
        .messages
        .iter()
        .map(|message| text(message))
        .collect();
    assert_eq!(messages, expected, "{name}");
    assert_eq!(whole.closed, transcript.closed, "{name}: closed");

    let same = |other: World, how: &str| {
        assert_eq!(text(&other.output), text(&whole.output), "{name}, {how}");
        assert_eq!(
            (&other.messages, other.closed),
            (&whole.messages, whole.closed),
            "{name}, {how}"
        );
    };
    same(
        run(transcript, |flight| flight.chunks(1).collect()),
        "byte by byte",
    );
    let longest = transcript.flights.iter().map(Vec::len).max().unwrap_or(0);
    // Long lines would make this quadratic: past 4 KiB every 61st place has to do.
    let stride = if longest > 4096 { 61 } else { 1 };
    for cut in (1..longest).step_by(stride) {
        let halves = |flight: &'static [u8]| -> Vec<&'static [u8]> {
            let (head, tail) = flight.split_at(cut.min(flight.len()));
            vec![head, tail]
        };
        same(run(transcript, halves), &format!("cut at {cut}"));
    }
}

fn run(transcript: &Transcript, cut: impl Fn(&'static [u8]) -> Vec<&'static [u8]>) -> World {
    let mut world = World::new(transcript.config.clone());
    if transcript.scram || transcript.tokens {
        world.session.offer(Offer {
            scram: transcript.scram,
            binding: None,
            tokens: transcript.tokens,
            external: transcript.tokens,
        });
    }
    if transcript.trusted {
        world.session.trust();
    }
    if transcript.zone {
        world.session.trust_zone();
    }
    for (index, flight) in transcript.flights.iter().enumerate() {
        if index > 0 {
            assert!(world.handshake, "a handshake was agreed on");
            world.tls_started();
        }
        // Test data lives as long as the test.
        let flight: &'static [u8] = Vec::leak(flight.clone());
        for piece in cut(flight) {
            world.receive(piece);
        }
    }
    world
}

fn parse(name: &str, text: &str) -> Transcript {
    let mut transcript = Transcript {
        config: config(Role::Smtp),
        trusted: false,
        scram: false,
        tokens: false,
        zone: false,
        flights: vec![Vec::new()],
        replies: Vec::new(),
        messages: Vec::new(),
        closed: false,
    };
    for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
        let (kind, rest) = line
            .split_at_checked(2)
            .unwrap_or_else(|| panic!("{name}: {line}"));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let flight = transcript.flights.last_mut().unwrap();
        match kind {
            "@ " if rest == "scram yes" => transcript.scram = true,
            "@ " if rest == "tokens yes" => transcript.tokens = true,
            "@ " if rest == "trusted yes" => transcript.trusted = true,
            "@ " if rest == "zone yes" => transcript.zone = true,
            "@ " => set(&mut transcript.config, rest),
            "C:" => {
                flight.extend(unescape(rest));
                flight.extend_from_slice(b"\r\n");
            }
            "C~" => flight.extend(unescape(rest)),
            "S:" => {
                transcript.replies.extend(unescape(rest));
                transcript.replies.extend_from_slice(b"\r\n");
            }
            "M:" => transcript.messages.push(unescape(rest)),
            "A:" if rest == "tls" => transcript.flights.push(Vec::new()),
            "A:" if rest == "closed" => transcript.closed = true,
            _ => panic!("{name}: {line}"),
        }
    }
    transcript
}

fn set(config: &mut Config, rest: &str) {
    let (key, value) = rest.split_once(' ').expect("key and value");
    let number = || value.parse::<u64>().expect("a number");
    match key {
        "role" => config.role = Role::Lmtp,
        "tls" => {
            config.tls_available = true;
            config.tls_required = value == "required";
        }
        "submission" => {
            config.service = Service::Submission {
                login_without_tls: value == "plain",
            };
        }
        "size" => config.limits.message_bytes_max = number(),
        "recipients" => config.limits.recipients_max = number() as usize,
        "messages" => config.limits.messages_max = number(),
        "errors" => config.limits.errors_max = number() as u32,
        "refused" => config.limits.refused_recipients_max = number() as u32,
        "idle" => config.limits.idle_commands_max = number() as u32,
        _ => panic!("{key}"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        match escape {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                out.push(u8::from_str_radix(&rest[..2], 16).expect("two hex digits"));
                rest = &rest[2..];
            }
            b'*' => {
                let (count, after) = rest.split_once('{').expect("a count and a brace");
                let (piece, after) = after.split_once('}').expect("a closing brace");
                out.extend(unescape(piece).repeat(count.parse().expect("a count")));
                rest = after;
            }
            other => panic!("no such escape: {}", other as char),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
