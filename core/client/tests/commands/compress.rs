//! COMPRESS=DEFLATE (RFC 4978).

use imap::deflate::{Deflater, Inflater};
use imap::limits::PACKED_BYTES_MAX;

use crate::rig::{Rig, Session, run};

/// A client whose connection is compressed.
struct Compressed {
    session: Session,
    deflater: Deflater,
    inflater: Inflater,
    plain: Vec<u8>,
}

impl Compressed {
    async fn of(rig: &Rig) -> Compressed {
        let mut session = rig.selected().await;
        let lines = session.ask("COMPRESS DEFLATE").await;
        assert_eq!(lines, ["OK Compression started"]);
        Compressed {
            session,
            deflater: Deflater::default(),
            inflater: Inflater::default(),
            plain: Vec::new(),
        }
    }

    /// All up to the tagged line.
    async fn answer(&mut self) -> String {
        loop {
            // until it is answered, or the session ends
            let text = String::from_utf8_lossy(&self.plain).into_owned();
            if text.starts_with("t ") || text.contains("\r\nt ") || text.contains("* BYE ") {
                self.plain.clear();
                return text;
            }
            let wire = self.session.some().await;
            assert!(!wire.is_empty(), "the session ended: {text}");
            let used = self.inflater.expand(&wire, 1 << 20, &mut self.plain);
            assert_eq!(used, Ok(wire.len()));
        }
    }

    async fn ask(&mut self, command: &str) -> String {
        let packed = self.deflater.pack(format!("t {command}\r\n").as_bytes());
        self.session.send_bytes(&packed).await;
        self.answer().await
    }
}

#[test]
fn both_directions_are_compressed_from_the_ok_on() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut client = Compressed::of(&rig).await;
        let answer = client.ask("FETCH 1:3 (UID BODY[])").await;
        assert!(answer.contains("body 3\r\n"), "{answer}");
        assert!(answer.ends_with("t OK Fetch completed\r\n"), "{answer}");
        let answer = client.ask("CAPABILITY").await;
        assert!(!answer.contains("COMPRESS"), "{answer}");
        let answer = client.ask("COMPRESS DEFLATE").await;
        assert!(answer.starts_with("t NO [COMPRESSIONACTIVE] "), "{answer}");
        // Byte by byte, and two commands in one block.
        for byte in client.deflater.pack(b"t NOOP\r\n") {
            client.session.send_bytes(&[byte]).await;
        }
        assert_eq!(client.answer().await, "t OK NOOP completed\r\n");
        let answer = client.ask("IDLE\r\nDONE").await;
        assert_eq!(answer, "+ idling\r\nt OK Idle completed\r\n");
    });
}

#[test]
fn a_large_message_goes_in_and_out() {
    run(|rig| async move {
        let mut client = Compressed::of(&rig).await;
        let line = "0123456789 the same again and again\r\n";
        let raw = format!("Subject: large\r\n\r\n{}", line.repeat(2_000));
        let command = format!("APPEND INBOX {{{}+}}\r\n{raw}", raw.len());
        let mut packed = Vec::new();
        for piece in format!("t {command}\r\n")
            .as_bytes()
            .chunks(PACKED_BYTES_MAX)
        {
            packed.extend(client.deflater.pack(piece));
        }
        assert!(packed.len() < 10_000, "{}", packed.len());
        client.session.send_bytes(&packed).await;
        let answer = client.answer().await;
        assert!(answer.contains("[APPENDUID "), "{answer}");
        let answer = client.ask("FETCH 1 BODY[]").await;
        assert!(answer.contains(&raw));
    });
}

/// The literal of a message repeats itself more than any command does.
#[test]
fn a_message_that_repeats_itself_is_not_a_bomb() {
    run(|rig| async move {
        let mut client = Compressed::of(&rig).await;
        let raw = format!("Subject: x\r\n\r\n{}", "x".repeat(90_000));
        for _ in 0..20 {
            let command = format!("APPEND INBOX {{{}}}", raw.len());
            let packed = client.deflater.pack(format!("t {command}\r\n").as_bytes());
            client.session.send_bytes(&packed).await;
            while !client.plain.starts_with(b"+ ") {
                let wire = client.session.some().await;
                let used = client.inflater.expand(&wire, 1_000, &mut client.plain);
                assert_eq!(used, Ok(wire.len()));
            }
            client.plain.clear();
            for piece in format!("{raw}\r\n").as_bytes().chunks(PACKED_BYTES_MAX) {
                let packed = client.deflater.pack(piece);
                client.session.send_bytes(&packed).await;
            }
            let answer = client.answer().await;
            assert!(answer.contains("[APPENDUID "), "{answer}");
        }
    });
}

/// Each command is a lawful one, and each costs a client eighty bytes and us 65,000.
#[test]
fn a_bomb_ends_with_bye() {
    run(|rig| async move {
        let mut client = Compressed::of(&rig).await;
        let command = format!("t NOOP{}\r\n", " ".repeat(65_000));
        let packed = client.deflater.pack(command.as_bytes());
        assert!(packed.len() < 600, "{}", packed.len());
        for _ in 0..1_000 {
            client.session.send_bytes(&packed).await;
            let answer = client.answer().await;
            if answer.contains("* BYE ") {
                let text = "* BYE Compressed data expands to too many commands\r\n";
                assert!(answer.ends_with(text), "{answer}");
                return;
            }
            assert_eq!(answer, "t OK NOOP completed\r\n");
        }
        panic!("65 MB of blanks were taken for commands");
    });
}

#[test]
fn what_is_not_deflate_ends_with_bye() {
    run(|rig| async move {
        let mut client = Compressed::of(&rig).await;
        client
            .session
            .send_bytes(b"t NOOP\r\n\xff\xff\xff\xff")
            .await;
        let answer = client.answer().await;
        assert_eq!(answer, "* BYE Compressed data cannot be decompressed\r\n");
    });
}

/// 8 MiB of 64 are for that: an account has a quarter of it.
#[test]
fn an_account_has_so_many_compressed_connections_and_others_are_plain() {
    run(|rig| async move {
        let mut held = Vec::new();
        let last = loop {
            // until one is refused
            let mut session = rig.session().await;
            match session
                .ask("COMPRESS DEFLATE")
                .await
                .pop()
                .expect("an answer")
            {
                ok if ok.starts_with("OK ") => held.push(session),
                refused => {
                    session.ok("NOOP").await;
                    break refused;
                }
            }
        };
        assert!(last.starts_with("NO [LIMIT] "), "{last}");
        assert!(held.len() >= 40, "{}", held.len());
        drop(held.pop());
        rig.host
            .sleep_until(base::Time(rig.host.now().0 + 1_000_000))
            .await;
        let mut again = rig.session().await;
        assert_eq!(
            again.ask("COMPRESS DEFLATE").await,
            ["OK Compression started"]
        );
    });
}
