//! Both directions awaited together, as `tcp/duplex.rs` does it.

use crate::connection::{ConnectionFault, Duplex, Moved};
use crate::limits::{READ_BYTES_MIN, STOP_SILENCE, WRITE_BYTES_MAX};
use crate::session_host::SessionHost;

use super::MemoryConnection;

impl Duplex for MemoryConnection {
    fn read_at_most(&mut self, bytes: usize) {
        self.read_bytes_max = bytes.max(READ_BYTES_MIN);
    }

    fn is_sending(&self) -> bool {
        !self.leaving.is_empty()
    }

    fn begin_send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault> {
        assert!(!self.is_sending() && bytes.len() <= WRITE_BYTES_MAX);
        if let Some(fault) = self.broken {
            return Err(fault);
        }
        self.leaving.extend_from_slice(bytes);
        self.restart_clock();
        Ok(())
    }

    async fn moves(&mut self, mut into: Option<&mut Vec<u8>>) -> Result<Moved, ConnectionFault> {
        let (stop, host) = (self.stop.clone(), SessionHost::on(self.host.clone()));
        let silent = async {
            stop.requested().await;
            host.sleep(STOP_SILENCE).await;
        };
        let mut silent = std::pin::pin!(silent);
        loop {
            // until something moved, or the wait is over
            if let Some(fault) = self.broken {
                return Err(fault);
            }
            if self.is_sending() && self.put_leaving()? {
                return Ok(Moved::Sent);
            }
            if let Some(into) = &mut into
                && let Some(moved) = self.take_some(into)?
            {
                return Ok(moved);
            }
            let (waits, sends) = (into.is_some() || self.is_sending(), self.is_sending());
            let happened = async {
                match waits {
                    true => self.happens().await,
                    false => std::future::pending().await,
                }
            };
            let happened = tokio::select! {
                biased;
                happened = happened => happened,
                () = &mut silent => return Err(ConnectionFault::Stopping),
            };
            match happened {
                Ok(()) => {}
                Err(fault) if sends => return Err(self.break_off(fault)),
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn finish(&mut self) -> Result<(), ConnectionFault> {
        self.send_leaving().await?;
        self.shared.borrow_mut().down.ended = true;
        self.bell.ring();
        Ok(())
    }
}

impl MemoryConnection {
    /// Waits until nothing is on its way out.
    pub(super) async fn send_leaving(&mut self) -> Result<(), ConnectionFault> {
        let leaving = std::mem::take(&mut self.leaving);
        self.restart_clock();
        match leaving.is_empty() {
            true => Ok(()),
            false => self.write(&leaving).await,
        }
    }

    /// Hands on what there is room for; `true`: nothing is left.
    fn put_leaving(&mut self) -> Result<bool, ConnectionFault> {
        let (put, over) = {
            let mut shared = self.shared.borrow_mut();
            let over = shared.reset || shared.down.unread;
            let put = if over {
                0
            } else {
                shared.down.put(&self.leaving)
            };
            (put, over)
        };
        if over {
            return Err(self.break_off(ConnectionFault::Closed));
        }
        if put > 0 {
            self.leaving.drain(..put);
            self.bell.ring();
        }
        let is_sent = self.leaving.is_empty();
        if is_sent {
            self.leaving = Vec::new();
            self.restart_clock();
        }
        Ok(is_sent)
    }

    /// What is there to read, or that nothing will be. `None`: neither.
    fn take_some(&mut self, into: &mut Vec<u8>) -> Result<Option<Moved>, ConnectionFault> {
        let (taken, reset, ended) = {
            let mut shared = self.shared.borrow_mut();
            let taken = match shared.reset {
                true => 0,
                false => shared.up.take(into, self.read_bytes_max),
            };
            (taken, shared.reset, shared.up.ended)
        };
        if reset {
            return Err(self.break_off(ConnectionFault::Closed));
        }
        if taken > 0 {
            self.bell.ring();
            self.restart_clock();
            return Ok(Some(Moved::Received(taken)));
        }
        Ok(ended.then_some(Moved::Ended))
    }
}
