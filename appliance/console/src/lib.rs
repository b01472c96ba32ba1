//! `ringpost-console`: what is shown on the screen of the box and at its serial port.
//!
//! `gather.rs` asks the daemon and reads the boot's report; `view.rs` decides what that means (looking for settings, failed
//! because, starting, serving, and which alarms); `draw.rs` puts it on 80 by 24 characters; `setup.rs` asks the questions of
//! a box without settings.
//!
//! What must hold: no secret is shown; nothing is changed but by the set-up's last question, which wants a whole word; a
//! daemon that does not answer is shown as such and is never waited for longer than a moment; 80 by 24 plain characters are
//! enough.
//!
//! Start reading at `view.rs`.
#![forbid(unsafe_code)]

pub mod draw;
pub mod gather;
pub mod limits;
pub mod setup;
pub mod view;
