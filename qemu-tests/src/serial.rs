//! The serial line, watched while it comes: what it says decides whether a boot has failed, long before a time-out.
//!
//! A thread reads the socket into memory; QEMU itself writes the whole log to `serial.log`. Waiting always begins at a
//! mark, so that a second boot in the same log is not taken for the first.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::failure::{Doing, Told};
use crate::limits::{SERIAL_BYTES_MAX, SERIAL_LINE_BYTES_MAX};

/// What the daemon prints once every listener accepts.
pub const READY: &str = "RINGPOST READY";
/// What the console prints when it draws for the first time.
pub const DASHBOARD: &str = "RINGPOST DASHBOARD";

/// A line that means the guest will not get well by waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub kind: Kind,
    pub line: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Oops, panic, BUG.
    Kernel,
    /// systemd gave a unit up, or the boot altogether.
    Unit,
    /// OVMF finds nothing to start, or may not.
    Firmware,
    /// The daemon or the boot helper has something to say: why it refuses to start, or a note of a start that goes on.
    /// Only time tells which, see `Guest::wait`.
    Said,
}

/// Text, what it means. The first that a line contains counts.
const TROUBLES: &[(&str, Kind)] = &[
    ("Kernel panic", Kind::Kernel),
    ("Oops:", Kind::Kernel),
    ("BUG:", Kind::Kernel),
    ("kernel BUG at", Kind::Kernel),
    ("double fault:", Kind::Kernel),
    ("8254 timer not connected", Kind::Kernel), // seen of a starved emulator: it never goes on
    ("Freezing execution", Kind::Unit),
    ("You are in emergency mode", Kind::Unit),
    ("You are in rescue mode", Kind::Unit),
    ("[FAILED]", Kind::Unit),
    ("[DEPEND]", Kind::Unit),
    ("Failed to start ", Kind::Unit),
    ("BdsDxe: No bootable option", Kind::Firmware),
    ("BdsDxe: failed to start", Kind::Firmware),
    ("Access Denied", Kind::Firmware),
    ("Security Violation", Kind::Firmware),
    ("No bootable device", Kind::Firmware),
];

/// Programs whose errors are lines that begin with their name.
const OURS: &[&str] = &["ringpostd: ", "ringpost-boot: "];

/// Lines that contain such text and are none: said by the kernel or our own programs in a healthy boot.
const HARMLESS: &[&str] = &[
    "Debugging BUG:",
    "BUG: soft lockup", // a starved emulator: the guest goes on by itself
];

/// What a line means, escape sequences left out.
pub fn judge(line: &str) -> Option<Trouble> {
    let plain = without_escapes(line);
    if HARMLESS.iter().any(|text| plain.contains(text)) {
        return None;
    }
    let kind = if OURS.iter().any(|name| plain.trim_start().starts_with(name)) {
        Kind::Said
    } else {
        TROUBLES.iter().find(|(text, _)| plain.contains(text))?.1
    };
    Some(Trouble {
        kind,
        line: plain.trim().to_owned(),
    })
}

/// The text a person would see: ECMA-48 control sequences and other control characters removed.
pub fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => match letters.next() {
                // a control sequence ends with a byte of 0x40 to 0x7e
                Some('[') => {
                    while letters
                        .next()
                        .is_some_and(|byte| !('@'..='~').contains(&byte))
                    {}
                }
                // a string ends with BEL or ESC \
                Some(']') => {
                    while letters
                        .next()
                        .is_some_and(|byte| byte != '\u{7}' && byte != '\\')
                    {}
                }
                _ => {}
            },
            '\t' => plain.push(' '),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// Cuts bytes into lines. A screen without line ends is cut at `SERIAL_LINE_BYTES_MAX`.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Every line that `bytes` completes.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' || self.partial.len() >= SERIAL_LINE_BYTES_MAX {
                lines.push(String::from_utf8_lossy(&self.partial).into_owned());
                self.partial.clear();
            }
            if byte != b'\n' {
                self.partial.push(byte);
            }
        }
        lines
    }
}

#[derive(Debug, Default)]
struct Heard {
    text: Vec<u8>,
    /// Where in `text` its line begins, and what it means.
    troubles: Vec<(usize, Trouble)>,
    closed: bool,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

/// The line, as heard so far. Clones hear the same.
#[derive(Clone)]
pub struct Serial {
    heard: Arc<(Mutex<Heard>, Condvar)>,
    to_guest: Arc<Mutex<UnixStream>>,
}

/// Why waiting ended without the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vain {
    Trouble(Trouble),
    /// QEMU closed the line.
    Closed,
    /// Nothing of this came in time.
    Late,
}

impl Serial {
    /// Begins to listen.
    pub fn listen(stream: UnixStream) -> Told<Serial> {
        let to_guest = stream.try_clone().doing("the serial line")?;
        let serial = Serial {
            heard: Arc::default(),
            to_guest: Arc::new(Mutex::new(to_guest)),
        };
        let heard = serial.heard.clone();
        std::thread::spawn(move || hear(stream, &heard));
        Ok(serial)
    }

    /// Here and now.
    pub fn mark(&self) -> Mark {
        Mark(self.heard.0.lock().expect("no reader panics").text.len())
    }

    /// Everything heard since `mark`.
    pub fn since(&self, mark: Mark) -> String {
        let heard = self.heard.0.lock().expect("no reader panics");
        String::from_utf8_lossy(heard.text.get(mark.0..).unwrap_or_default()).into_owned()
    }

    /// Types into the guest's console.
    pub fn write(&self, text: &str) -> Told<()> {
        self.to_guest
            .lock()
            .expect("no writer panics")
            .write_all(text.as_bytes())
            .doing("typing on the serial line")
    }

    /// Trouble heard since `mark`, except kinds that `expected` names.
    pub fn trouble(&self, mark: Mark, expected: &[Kind]) -> Option<Trouble> {
        let heard = self.heard.0.lock().expect("no reader panics");
        heard
            .troubles
            .iter()
            .find(|(at, trouble)| *at >= mark.0 && !expected.contains(&trouble.kind))
            .map(|(_, trouble)| trouble.clone())
    }

    /// Waits until `text` has been heard since `mark`, for at most `within`; ends early on trouble that is not
    /// `expected`. Text beats trouble that came with it.
    pub fn wait(
        &self,
        mark: Mark,
        text: &str,
        expected: &[Kind],
        within: Duration,
    ) -> Result<(), Vain> {
        let end = Instant::now() + within;
        let (heard, news) = &*self.heard;
        let mut heard = heard.lock().expect("no reader panics");
        let mut searched = mark.0;
        loop {
            // until heard, trouble, or `end`
            let from = searched.min(heard.text.len());
            if contains(&heard.text[from..], text.as_bytes()) {
                return Ok(());
            }
            searched = heard.text.len().saturating_sub(text.len()).max(mark.0);
            let trouble = heard
                .troubles
                .iter()
                .find(|(at, trouble)| *at >= mark.0 && !expected.contains(&trouble.kind));
            if let Some((_, trouble)) = trouble {
                return Err(Vain::Trouble(trouble.clone()));
            }
            if heard.closed {
                return Err(Vain::Closed);
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return Err(Vain::Late);
            };
            heard = news.wait_timeout(heard, left).expect("no reader panics").0;
        }
    }
}

pub fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn hear(mut stream: UnixStream, shared: &(Mutex<Heard>, Condvar)) {
    let mut buffer = [0; 4096];
    let mut lines = Lines::default();
    let mut line_begin = 0;
    loop {
        // until QEMU closes the line
        let count = stream.read(&mut buffer).unwrap_or(0);
        let mut heard = shared.0.lock().expect("no waiter panics");
        if count == 0 {
            heard.closed = true;
            shared.1.notify_all();
            return;
        }
        if heard.text.len() < SERIAL_BYTES_MAX {
            heard.text.extend_from_slice(&buffer[..count]);
        }
        for line in lines.take(&buffer[..count]) {
            if let Some(trouble) = judge(&line) {
                heard.troubles.push((line_begin, trouble));
            }
            line_begin = heard.text.len();
        }
        shared.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: &str) -> Option<Kind> {
        judge(line).map(|trouble| trouble.kind)
    }

    #[test]
    fn trouble_is_known_by_its_line() {
        assert_eq!(
            kind("[    1.2] Kernel panic - not syncing: Attempted to kill init!"),
            Some(Kind::Kernel)
        );
        assert_eq!(
            kind("[    0.4] int3: 0000 [#1] PREEMPT SMP Oops: 0000"),
            Some(Kind::Kernel)
        );
        assert_eq!(
            kind("[    9.1] BUG: kernel NULL pointer dereference, address: 0"),
            Some(Kind::Kernel)
        );
        assert_eq!(
            kind("\u{1b}[0;1;31m[FAILED]\u{1b}[0m Failed to start ringpostd.service"),
            Some(Kind::Unit)
        );
        assert_eq!(
            kind("BdsDxe: No bootable option or device was found."),
            Some(Kind::Firmware)
        );
        assert_eq!(
            kind("ringpostd: a volume has 1 to 4 legs: name two devices"),
            Some(Kind::Said)
        );
    }

    #[test]
    fn a_colour_in_the_middle_hides_nothing() {
        assert_eq!(
            kind("[\u{1b}[0;1;31mFAILED\u{1b}[0m] Failed to start x"),
            Some(Kind::Unit)
        );
        assert_eq!(without_escapes("\u{1b}]0;title\u{7}a\u{1b}[2Jb\r"), "ab");
        assert_eq!(without_escapes("cut \u{1b}["), "cut ");
    }

    #[test]
    fn a_healthy_line_is_none() {
        for line in [
            "RINGPOST READY",
            "[   15.0] EXT4-fs (vda): orphan cleanup on readonly fs, comm ringpostd: 3 inodes",
            "[    2.0] nvme nvme0: 2/0/0 default/read/poll queues",
            "watchdog: BUG: soft lockup - CPU#1 stuck for 26s!",
        ] {
            assert_eq!(judge(line), None, "{line}");
        }
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut lines = Lines::default();
        assert!(lines.take(b"Kernel pa").is_empty());
        assert_eq!(lines.take(b"nic\r\nnext\n"), ["Kernel panic\r", "next"]);
        let endless = vec![b'x'; SERIAL_LINE_BYTES_MAX + 10];
        assert_eq!(lines.take(&endless).len(), 1);
    }

    fn pair() -> (UnixStream, Serial) {
        let (guest, ours) = UnixStream::pair().expect("a pair");
        (guest, Serial::listen(ours).expect("a line"))
    }

    #[test]
    fn ready_is_heard_after_the_mark_only() {
        let (mut guest, serial) = pair();
        let begin = serial.mark();
        guest.write_all(b"RINGPOST READY\n").expect("heard");
        let far = Duration::from_secs(60);
        assert_eq!(serial.wait(begin, READY, &[], far), Ok(()));
        let second = serial.mark();
        drop(guest);
        assert_eq!(serial.wait(second, READY, &[], far), Err(Vain::Closed));
    }

    #[test]
    fn trouble_ends_waiting_at_once_unless_it_is_expected() {
        let (mut guest, serial) = pair();
        let begin = serial.mark();
        guest
            .write_all(b"x\n[FAILED] Failed to start a\n")
            .expect("heard");
        let far = Duration::from_secs(60);
        let Err(Vain::Trouble(trouble)) = serial.wait(begin, READY, &[], far) else {
            panic!("trouble was not received");
        };
        assert_eq!(trouble.kind, Kind::Unit);
        guest.write_all(b"RINGPOST READY\n").expect("heard");
        assert_eq!(serial.wait(begin, READY, &[Kind::Unit], far), Ok(()));
    }
}
