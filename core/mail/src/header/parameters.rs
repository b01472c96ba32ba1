//! Values with parameters (RFC 2045 §5.1, RFC 2183).

use crate::limits::PARAMETERS_MAX;

use super::Words;

/// A value with parameters (RFC 2045 §5.1 Content-Type, RFC 2183 Content-Disposition). Names and values as written,
/// quoting removed; RFC 2231 pieces stay pieces, as IMAP wants them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameterised {
    pub value: Vec<u8>,
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// There are more than `PARAMETERS_MAX`; they are not listed.
    pub cut: bool,
}

impl Parameterised {
    pub fn parse(value: &[u8]) -> Parameterised {
        let mut rest = value;
        let head = token_run(&mut rest, b";");
        let mut parameters = Vec::new();
        let mut cut = false;
        while let [b';', after @ ..] = rest {
            rest = after;
            let name = token_run(&mut rest, b"=;");
            let mut text = Vec::new();
            if let [b'=', after @ ..] = rest {
                rest = after;
                text = token_run(&mut rest, b";");
            }
            if name.is_empty() {
                continue;
            }
            if parameters.len() == PARAMETERS_MAX {
                cut = true;
                break;
            }
            parameters.push((name, text));
        }
        Parameterised {
            value: head,
            parameters,
            cut,
        }
    }

    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let same = |pair: &&(Vec<u8>, Vec<u8>)| pair.0.eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().find(same).map(|pair| &pair.1[..])
    }
}

/// Text up to one of `stops`, with white space outside quotes and comments removed.
fn token_run(rest: &mut &[u8], stops: &[u8]) -> Vec<u8> {
    let mut words = Words {
        bytes: rest,
        comment: None,
    };
    let mut text = Vec::new();
    while let Some(&byte) = words.bytes.first() {
        match byte {
            b'"' => words.quoted(&mut text),
            b'(' => {
                words.skip_comment();
            }
            _ if stops.contains(&byte) => break,
            _ => {
                words.bytes = &words.bytes[1..];
                if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0) {
                    text.push(byte);
                }
            }
        }
    }
    *rest = words.bytes;
    text
}
