//! The lintel: what a zone does, one file per job. (API agreed on 2026-11-21; the story belongs here once the code does.)
#![forbid(unsafe_code)]

pub mod owner;
pub mod receive;
