//! Bytes that come before their turn. A sender waits for the greeting (RFC 5321 §3.1), and for the reply to EHLO before it sends commands
//! in groups (RFC 2920 §3.1); programs that only send do not.

/// Before a hello was accepted: whether `input`, all that came and was not answered, holds more than one command.
pub fn is_pipelined(input: &[u8]) -> bool {
    let end = input.iter().position(|byte| *byte == b'\n');
    end.is_some_and(|end| end + 1 < input.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_is_in_turn_and_anything_behind_it_is_not() {
        for input in ["", "EHLO", "EHLO a\r", "EHLO a\r\n"] {
            assert!(!is_pipelined(input.as_bytes()), "{input:?}");
        }
        for input in [
            "EHLO a\r\nMAIL FROM:<>\r\n",
            "HELO a\r\nM",
            "NOOP\r\nEHLO a\r\n",
            "EHLO a\n\r\n",
        ] {
            assert!(is_pipelined(input.as_bytes()), "{input:?}");
        }
    }
}
