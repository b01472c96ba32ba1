//! The other side, without I/O: writes commands, reads responses. For tests and the load program; it trusts nothing but the
//! grammar and holds to `RESPONSE_BYTES_MAX`.

mod encode;
mod response;
pub mod strict;

pub use encode::put_command;
pub use response::{Response, ResponseFault, Responses, Value};
