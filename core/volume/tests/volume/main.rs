//! Stories of a whole volume on simulated disks: the ordinary day, the accidents, and every crash point.
#![forbid(unsafe_code)]

mod accidents;
mod adopt;
mod arena;
mod basics;
mod common;
mod cut_short;
mod damage;
mod full;
mod outage;
mod refused;
mod rot;
mod scrub;
mod silent;
mod torture;
mod trust;
mod unfit;
