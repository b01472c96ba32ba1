//! The session from outside: transcripts, and what holds for any bytes.

mod properties;
mod routes;
mod transcripts;
mod world;
