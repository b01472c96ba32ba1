//! Recipients as the log names them.

use std::fmt::{self, Display, Formatter};

use smtp::Recipient;

/// Addresses with commas between them; those past `BYTES_MAX` are counted.
pub struct Addressees<'r, R>(pub &'r [Recipient<R>]);

impl<R> Display for Addressees<'_, R> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (mut bytes, mut comma) = (0, "");
        for (index, recipient) in self.0.iter().enumerate() {
            let path = recipient.path.to_string();
            bytes += path.len() + 1;
            if bytes > BYTES_MAX {
                return write!(out, " and {} more", self.0.len() - index);
            }
            write!(out, "{comma}{path}")?;
            comma = ",";
        }
        Ok(())
    }
}

/// All addresses of a message to a hundred people, as a rule.
const BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use mail::Address;
    use smtp::ForwardPath;

    use super::*;

    #[test]
    fn many_recipients_end_in_a_count() {
        let of = |count: usize| -> Vec<Recipient<()>> {
            let address = |index| Address::from_path(&format!("person{index}@one.example"));
            let recipient = |index| Recipient {
                path: ForwardPath::Address(address(index).expect("an address")),
                notify: None,
                original: None,
                route: (),
            };
            (0..count).map(recipient).collect()
        };
        let said = Addressees(&of(2)).to_string();
        assert_eq!(said, "<person0@one.example>,<person1@one.example>");
        let said = Addressees(&of(1_000)).to_string();
        assert!(
            said.len() < BYTES_MAX + 20 && said.ends_with(" more"),
            "{said}"
        );
        assert_eq!(Addressees(&of(0)).to_string(), "");
    }
}
