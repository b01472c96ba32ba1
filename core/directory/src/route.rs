//! A route: which server takes the mail for a domain, for one address, or for everything that has no other route.
//!
//! Records 22 `Put` and 23 `Remove` as in `whole.rs`; the name is the scope: `*`, a domain, or an address. Row: way; for a host its name,
//! port and whether TLS is required.

use base::cursor::{Reader, Write};
use store::{RecordKind, Table};
use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::ROUTES_MAX;
use crate::whole::Noun;

/// Where mail of a scope goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// As if there were no wider route: a mailbox here, or the servers that the domain names.
    Here,
    /// To one server, whatever the domain names. For a domain of ours: what no account, alias or group takes.
    Host {
        host: String,
        port: u16,
        /// The message waits where the server offers no TLS.
        needs_tls: bool,
    },
}

impl Noun for Route {
    const NOUN: &'static str = "Route";
    const NOUNS: &'static str = "routes";
    const PUT: RecordKind = RecordKind(22);
    const REMOVE: RecordKind = RecordKind(23);
    const TABLE: Table = Table(19);
    const ROWS_MAX: usize = ROUTES_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Route::Here => out.put_u8(0),
            Route::Host {
                host,
                port,
                needs_tls,
            } => {
                out.put_u8(1);
                put_text(out, host);
                out.put_varint(u64::from(*port));
                out.put_u8(u8::from(*needs_tls));
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Route, Broken> {
        match reader.u8()? {
            0 => Ok(Route::Here),
            1 => Ok(Route::Host {
                host: read_text(reader)?,
                port: u16::try_from(read_u32(reader)?).map_err(|_| Broken)?,
                needs_tls: match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Broken),
                },
            }),
            _ => Err(Broken),
        }
    }

    fn describe(&self) -> String {
        match self {
            Route::Here => "here".to_owned(),
            Route::Host {
                host,
                port,
                needs_tls,
            } => {
                let tls = if *needs_tls { ", TLS required" } else { "" };
                format!("{host} port {port}{tls}")
            }
        }
    }
}
