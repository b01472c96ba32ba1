//! The simulator's own tests. They are a program beside the library, so that the optimised library is built once.

mod knobs;
mod mailbox_model;
mod planted;
mod run;
