//! Once at every start: the ESP at `/efi`, the state partition at `/var/lib/ringpost`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use system::state::{self, Place};

fn main() -> ExitCode {
    match state::ready() {
        Ok(Place::Disk { sealed, made }) => {
            let how = if sealed {
                "sealed to the TPM"
            } else {
                "not sealed"
            };
            let made = if made {
                "made at this start"
            } else {
                "unchanged"
            };
            println!("state partition: {how}, {made}");
            ExitCode::SUCCESS
        }
        Ok(Place::Memory { why }) => {
            println!("ALARM: the state is in memory only and is lost at the next start: {why}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("ringpost-state: {reason}");
            ExitCode::FAILURE
        }
    }
}
