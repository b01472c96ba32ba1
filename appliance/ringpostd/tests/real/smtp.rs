//! A small blocking SMTP client that says exactly what it is told to.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const REPLY_WITHIN: Duration = Duration::from_secs(60);

pub struct Smtp {
    reader: BufReader<TcpStream>,
}

impl Smtp {
    /// Connects, reads the greeting and says EHLO.
    pub fn connect(server: SocketAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp::connect_silent(server)?;
        let greeting = smtp.reply()?;
        if !greeting.starts_with("220") {
            return Err(io::Error::other(greeting));
        }
        smtp.command("EHLO client.example.net")?;
        Ok(smtp)
    }

    /// Connects and says nothing.
    pub fn connect_silent(server: SocketAddr) -> io::Result<Smtp> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WITHIN))?;
        stream.set_write_timeout(Some(REPLY_WITHIN))?;
        Ok(Smtp {
            reader: BufReader::new(stream),
        })
    }

    /// Sends one line and returns the whole reply (lines joined by `\n`).
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.raw(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    pub fn reply(&mut self) -> io::Result<String> {
        let mut whole = String::new();
        loop {
            // Until the last line of the reply; the read time-out bounds it.
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let last = line.as_bytes().get(3) != Some(&b'-');
            whole.push_str(line.trim_end());
            if last {
                return Ok(whole);
            }
            whole.push('\n');
        }
    }

    /// Closes our half: the server sees the end of input, and can still answer.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.reader.get_mut().shutdown(Shutdown::Write)
    }

    /// One whole transaction; the reply to the final dot, or the first refusal. `content` ends in CRLF; leading dots are
    /// doubled here.
    pub fn send(&mut self, to: &[&str], content: &str) -> io::Result<String> {
        let mut reply = self.command("MAIL FROM:<sender@example.net>")?;
        if !reply.starts_with('2') {
            return Ok(reply);
        }
        for to in to {
            reply = self.command(&format!("RCPT TO:<{to}>"))?;
            if !reply.starts_with('2') {
                self.command("RSET")?;
                return Ok(reply);
            }
        }
        reply = self.command("DATA")?;
        if !reply.starts_with("354") {
            self.command("RSET")?;
            return Ok(reply);
        }
        let mut stuffed = content.replace("\r\n.", "\r\n..");
        if stuffed.starts_with('.') {
            stuffed.insert(0, '.');
        }
        self.raw(stuffed.as_bytes())?;
        self.raw(b".\r\n")?;
        self.reply()
    }
}
