//! The connection as an IMAP session sees it: plain, or compressed once COMPRESS has begun (RFC 4978).
//!
//! What must hold: `receive` stays cancel-safe, gives out whatever can be expanded before it waits, and never expands more than
//! `EXPANDED_BYTES_MAX` at a time. A stream that cannot be read ends the connection with BYE: `trouble` has its words.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use imap::deflate::{Credit, Deflater, Inflater, Unreadable};
use imap::limits::{EXPANDED_BYTES_MAX, PACKED_BYTES_MAX};
use runtime::{Accepted, Charge, Connection, ConnectionFault, TlsFacts};
use storage::holder;
use storage::owner::Ask;

use super::limits::{DEFLATER_BYTES, INFLATER_BYTES};
use super::{Client, End, Imap, flush};

/// Packs for all connections of a core, one piece after another.
pub(super) type Packer = Rc<RefCell<Deflater>>;

/// See the head of the file.
pub(super) struct Wire<C> {
    connection: C,
    /// Since COMPRESS.
    layer: Option<Box<Layer>>,
}

/// What compression adds to a connection.
struct Layer {
    packer: Packer,
    inflater: Inflater,
    /// What arrived and is not expanded yet; empty while the connection waits.
    packed: Vec<u8>,
    credit: Credit,
    /// Bytes of a literal that are still to come: they cost no credit.
    literal_bytes: usize,
    trouble: Option<Unreadable>,
    /// For the inflater.
    _charge: Charge,
}

impl<C: Accepted> Wire<C> {
    /// Not compressed yet.
    pub fn new(connection: C) -> Wire<C> {
        Wire {
            connection,
            layer: None,
        }
    }

    /// From now on both directions are compressed. `behind` came after the command, and is compressed already.
    pub fn compress(&mut self, packer: Packer, behind: Vec<u8>, charge: Charge) {
        assert!(self.layer.is_none(), "the session allows it once");
        self.layer = Some(Box::new(Layer {
            packer,
            inflater: Inflater::default(),
            packed: behind,
            credit: Credit::default(),
            literal_bytes: 0,
            trouble: None,
            _charge: charge,
        }));
    }

    /// So many of the next bytes belong to a literal whose size is known.
    pub fn expect_literal(&mut self, bytes: usize) {
        if let Some(layer) = &mut self.layer {
            layer.literal_bytes = bytes;
        }
    }

    /// Why nothing more can be read, although the connection is whole.
    pub fn trouble(&self) -> Option<Unreadable> {
        self.layer.as_ref().and_then(|layer| layer.trouble)
    }
}

impl<K: Ask> Imap<K> {
    /// RFC 4978 §3: the answer goes out as it is, what follows does not.
    pub(super) async fn on_compress(
        &self,
        client: &mut Client,
        connection: &mut Wire<impl Accepted>,
        tag: &str,
    ) -> Result<(), End> {
        let compressing = &self.memory.compressing;
        let account = client.account.expect("the session admits it after login");
        let charge = compressing.take_for(holder::of_account(account), INFLATER_BYTES);
        let (Some(packer), Some(charge)) = (self.packer(), charge) else {
            client.session.compression_refused(tag, &mut client.out);
            return Ok(());
        };
        let behind = client.session.compressed(tag, &mut client.out);
        flush(&mut client.out, connection).await?;
        connection.compress(packer, behind, charge);
        Ok(())
    }

    /// The packer of this core; `None`: there is no memory for one.
    fn packer(&self) -> Option<Packer> {
        let mut packer = self.packer.borrow_mut();
        if packer.is_none() {
            let charge = self.memory.compressing.take(DEFLATER_BYTES)?;
            *packer = Some((Packer::default(), charge));
        }
        packer.as_ref().map(|(packer, _)| packer.clone())
    }
}

impl Layer {
    /// Expands what is here; 0: nothing comes out of it without more.
    fn expand(&mut self, into: &mut Vec<u8>) -> Result<usize, Unreadable> {
        if let Some(trouble) = self.trouble {
            return Err(trouble);
        }
        if self.packed.is_empty() && !self.inflater.is_full() {
            return Ok(0);
        }
        let begin = into.len();
        let room = EXPANDED_BYTES_MAX;
        let expanded = self.inflater.expand(&self.packed, room, into);
        let made = into.len() - begin;
        let literal = made.min(self.literal_bytes);
        self.literal_bytes -= literal;
        let done = expanded.and_then(|used| {
            self.packed.drain(..used);
            self.credit.spend(used, made - literal)
        });
        if let Err(trouble) = done {
            self.trouble = Some(trouble);
            into.truncate(begin);
            return Err(trouble);
        }
        Ok(made)
    }
}

impl<C: Accepted> Connection for Wire<C> {
    fn peer(&self) -> SocketAddr {
        self.connection.peer()
    }

    fn local(&self) -> SocketAddr {
        self.connection.local()
    }

    fn tls(&self) -> Option<&TlsFacts> {
        self.connection.tls()
    }

    fn deadline(&mut self, span: Duration) {
        self.connection.deadline(span);
    }

    async fn receive(&mut self, into: &mut Vec<u8>) -> Result<usize, ConnectionFault> {
        let Some(layer) = &mut self.layer else {
            return self.connection.receive(into).await;
        };
        loop {
            // until something comes out; the caller bounds how long that may take
            if layer.inflater.is_full() {
                // A kilobyte may expand to a megabyte of a message: others are served between two steps.
                tokio::task::yield_now().await;
            }
            match layer.expand(into) {
                Ok(0) => {}
                Ok(count) => return Ok(count),
                Err(_) => return Err(ConnectionFault::Closed),
            }
            self.connection.receive(&mut layer.packed).await?;
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault> {
        let Some(layer) = &self.layer else {
            return self.connection.send(bytes).await;
        };
        for piece in bytes.chunks(PACKED_BYTES_MAX) {
            let packed = layer.packer.borrow_mut().pack(piece);
            self.connection.send(&packed).await?;
        }
        Ok(())
    }

    async fn close(self) {
        self.connection.close().await;
    }
}

impl<C: Accepted> Accepted for Wire<C> {
    fn speaks_for(&mut self, client: SocketAddr) {
        self.connection.speaks_for(client);
    }

    async fn start_tls(
        &mut self,
        config: &Arc<rustls::ServerConfig>,
    ) -> Result<(), ConnectionFault> {
        self.connection.start_tls(config).await
    }
}
