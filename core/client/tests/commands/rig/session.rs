//! The client's end of a connection: lines sent, and answers read as each protocol ends them.

use runtime::memory::MemoryPeer;

/// One client.
pub struct Session {
    pub(super) peer: MemoryPeer,
    pub(super) input: Vec<u8>,
}

impl Session {
    /// The next line.
    pub async fn line(&mut self) -> String {
        loop {
            // until a line is whole
            if let Some(at) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            let count = self.peer.receive(&mut self.input, 4_096).await;
            assert!(count > 0, "the session ended: {:?}", self.input);
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.peer.send(text.as_bytes()).await.expect("it reads");
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.peer.send(bytes).await.expect("it reads");
    }

    /// What comes next, whatever it is; at least a byte, unless the session ended.
    pub async fn some(&mut self) -> Vec<u8> {
        if self.input.is_empty() {
            self.peer.receive(&mut self.input, 4_096).await;
        }
        std::mem::take(&mut self.input)
    }

    /// The lines up to the tagged one; that without its tag.
    pub async fn answer(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            // until it is answered
            let line = self.line().await;
            if let Some(tagged) = line.strip_prefix("t ") {
                lines.push(tagged.to_owned());
                return lines;
            }
            lines.push(line);
        }
    }

    pub async fn ask(&mut self, command: &str) -> Vec<String> {
        self.send(&format!("t {command}\r\n")).await;
        self.answer().await
    }

    /// As `ask`, for what must be answered OK: the lines before that.
    pub async fn ok(&mut self, command: &str) -> Vec<String> {
        let mut lines = self.ask(command).await;
        let last = lines.pop().expect("an answer");
        assert!(last.starts_with("OK "), "{command}: {last}");
        lines
    }

    /// The tagged line of what must not be answered OK.
    pub async fn refused(&mut self, command: &str) -> String {
        let last = self.ask(command).await.pop().expect("an answer");
        assert!(!last.starts_with("OK"), "{command}: {last}");
        last
    }

    /// POP3: one line, and one line of an answer.
    pub async fn pop(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.line().await
    }

    /// POP3: what is answered +OK and has lines behind it, up to the dot; as they came.
    pub async fn pop_lines(&mut self, command: &str) -> Vec<String> {
        let answer = self.pop(command).await;
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
        let mut lines = Vec::new();
        loop {
            // until the dot
            match self.line().await {
                dot if dot == "." => return lines,
                line => lines.push(line),
            }
        }
    }

    /// ManageSieve: the lines up to the one that ends an answer.
    pub async fn sieve_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            // until OK, NO or BYE
            let line = self.line().await;
            let is_end = ["OK", "NO ", "BYE "]
                .iter()
                .any(|word| line.starts_with(word));
            lines.push(line);
            if is_end {
                return lines;
            }
        }
    }

    /// ManageSieve: a command, and the lines of its answer.
    pub async fn sieve(&mut self, command: &str) -> Vec<String> {
        self.send(&format!("{command}\r\n")).await;
        self.sieve_lines().await
    }

    /// SMTP: sends lines, answers the last line of each reply that comes.
    pub async fn smtp(&mut self, lines: &str, replies: usize) -> Vec<String> {
        self.send(lines).await;
        let mut answers = Vec::new();
        while answers.len() < replies {
            let line = self.line().await;
            if line.as_bytes()[3] == b' ' {
                answers.push(line);
            }
        }
        answers
    }

    /// How many bytes come before the connection ends.
    pub async fn end(&mut self) -> usize {
        let mut count = self.input.len();
        loop {
            // until it ends
            self.input.clear();
            match self.peer.receive(&mut self.input, 65_536).await {
                0 => return count,
                more => count += more,
            }
        }
    }

    /// No byte follows any more.
    pub async fn is_over(&mut self) -> bool {
        self.input.is_empty() && self.peer.receive(&mut self.input, 1).await == 0
    }
}
