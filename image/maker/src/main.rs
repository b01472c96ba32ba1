//! `image-maker image|boot|keys`: what `cargo xtask` calls for the verbs of these names, once the Debian packages are there.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use image_maker::{Wishes, boot, keys};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Ringpost's image and the keys that sign it"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the bootable image: UKI, disk image, SBOM, manifest (image/README.md)
    Image(Wishes),
    /// Build the image and boot it in QEMU, its serial console on this terminal
    Boot(boot::BootWishes),
    /// Make the OEM's keys: Secure Boot and the signature of updates
    Keys(keys::KeyWishes),
}

fn main() -> ExitCode {
    let root = image_maker::root();
    let outcome = match Arguments::parse().verb {
        Verb::Image(wishes) => image_maker::run(&root, &wishes),
        Verb::Boot(wishes) => boot::run(&root, &wishes),
        Verb::Keys(wishes) => keys::run(&root, &wishes),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("image-maker: {reason}");
            ExitCode::FAILURE
        }
    }
}
