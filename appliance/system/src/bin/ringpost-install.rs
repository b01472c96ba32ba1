//! Carries out an install order and turns the box off. On failure it says why and waits for a person: a half-installed box
//! must not begin to serve.
#![forbid(unsafe_code)]

use std::time::Duration;

use system::{install, tool};

fn main() -> ! {
    match install::run_order() {
        Ok(disks) => {
            println!(
                "RINGPOST INSTALLED on {} disk(s): remove the USB stick and switch on again",
                disks.len()
            );
            if let Err(reason) = tool::run("systemctl", &["--no-block", "poweroff"]) {
                println!("the appliance cannot power itself off: {reason}");
            }
        }
        Err(reason) => println!("RINGPOST INSTALL FAILED: {reason}"),
    }
    loop {
        // until the box is turned off
        std::thread::sleep(Duration::from_secs(60));
    }
}
