//! Stories of a whole volume on simulated disks: the ordinary day, the accidents, and every crash point.
#![forbid(unsafe_code)]

mod accidents;
mod adopt;
mod basics;
mod common;
mod cut_short;
mod full;
mod rot;
mod torture;
mod trust;
mod unfit;
