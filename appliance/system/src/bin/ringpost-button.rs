//! Waits for the power button, and switches the box off cleanly.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use system::button::{self, EVENT_BYTES};
use system::tool;

fn main() -> ExitCode {
    let devices = button::devices(Path::new("/"));
    if devices.is_empty() {
        println!("this machine does not have a power button");
        return ExitCode::SUCCESS;
    }
    let (tell, heard) = channel();
    for device in devices {
        let tell = tell.clone();
        std::thread::spawn(move || {
            let outcome = wait(&device).map_err(|error| format!("{}: {error}", device.display()));
            let _ = tell.send(outcome); // the first one ends the program
        });
    }
    drop(tell);
    let told = match heard.recv() {
        Ok(Ok(())) => {
            println!("the power button was pressed");
            tool::run("systemctl", &["--no-block", "poweroff"])
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err("no device is left".into()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringpost-button: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Until the key goes down.
fn wait(device: &Path) -> std::io::Result<()> {
    let mut file = File::open(device)?;
    let mut event = [0; EVENT_BYTES];
    loop {
        // until it is pressed
        file.read_exact(&mut event)?;
        if button::pressed(&event) {
            return Ok(());
        }
    }
}
