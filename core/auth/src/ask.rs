//! Look-ups for one message: bounded in number and in time.

use std::cell::Cell;

use dns::{Kind, NameFault, Names, Value};

use crate::limits::{DEADLINE_US, LOOKUPS_MAX};

/// Asks names for one message. After `limits::LOOKUPS_MAX` look-ups, or `limits::DEADLINE_US` of one part of its evaluation, every answer is
/// `Unavailable`, at once.
pub struct Ask<'a, N> {
    names: &'a N,
    /// Microseconds, of any clock that does not go back.
    now_us: &'a dyn Fn() -> u64,
    /// When the part began.
    began_us: Cell<u64>,
    left: Cell<u32>,
}

impl<'a, N: Names> Ask<'a, N> {
    pub fn new(names: &'a N, now_us: &'a dyn Fn() -> u64) -> Ask<'a, N> {
        Ask {
            names,
            now_us,
            began_us: Cell::new(now_us()),
            left: Cell::new(LOOKUPS_MAX),
        }
    }

    /// Look-ups so far.
    pub fn lookups(&self) -> u32 {
        LOOKUPS_MAX - self.left.get()
    }

    /// A part of the evaluation begins, with time of its own: a stranger whose zones are slow in one part takes none from the next.
    pub(crate) fn begin_part(&self) {
        self.began_us.set((self.now_us)());
    }

    pub(crate) async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, NameFault> {
        self.take()?;
        self.names.records(name, kind).await
    }

    pub(crate) async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, NameFault> {
        self.take()?;
        self.names.texts(name).await
    }

    pub(crate) async fn names_of(&self, at: std::net::IpAddr) -> Result<Vec<String>, NameFault> {
        self.take()?;
        self.names.names_of(at).await
    }

    fn take(&self) -> Result<(), NameFault> {
        let late = (self.now_us)().saturating_sub(self.began_us.get()) >= DEADLINE_US;
        match self.left.get().checked_sub(1) {
            Some(left) if !late => {
                self.left.set(left);
                Ok(())
            }
            _ => Err(NameFault::Unavailable(
                "too many look-ups for one message".to_owned(),
            )),
        }
    }
}
