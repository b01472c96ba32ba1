//! `ringpostctl log dump LEG`: what stands on a leg, batch by batch, readable.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;
use store::salvage::{Salvage, SalvagedBatch};
use uring::local::Local;

/// Prints to `out` until the leg's end; a reader that goes away ends it.
/// It opens the leg without a witness and without taking it over, so that it can be looked at while a daemon uses it, and where no daemon opens it
/// any more. What it prints is what the leg says, right or wrong.
pub fn run(leg: &Path, json: bool, out: &mut dyn Write) -> Result<(), String> {
    let local = Local::new().map_err(|misfit| misfit.to_string())?;
    let device = local.ring.open(leg).map_err(|misfit| misfit.to_string())?;
    let printed = local.run(async {
        let opened = Salvage::open(&local.io(), device).await;
        let mut salvage = opened.map_err(|refusal| format!("{}: {refusal}", leg.display()))?;
        let mut first = true;
        if json {
            // One document, however long: an array written as it grows.
            put(out, "[")?;
        } else {
            put(out, &format!("volume {}\n", salvage.volume()))?;
        }
        // bounded by the leg
        while let Some(next) = salvage.next_batch().await {
            let text = match (next, json) {
                (Ok(batch), false) => for_people(&batch),
                // Damage is a line among the others and not the end: what comes behind it is what one looks for.
                (Err(damage), false) => format!("{damage}\n"),
                (next, true) => {
                    let value = match next {
                        Ok(batch) => for_programs(&batch),
                        Err(damage) => json!({ "damage": damage }),
                    };
                    format!("{}\n{value}", if first { "" } else { "," })
                }
            };
            first = false;
            put(out, &text)?;
        }
        if json {
            put(out, "\n]\n")?;
        }
        Ok(())
    });
    match printed {
        Err(told) if told == GONE => Ok(()),
        printed => printed,
    }
}

/// One record in a line, by the tenant that it belongs to.
/// The owner of a record follows from its kind. What no tenant can describe falls to mailboxes, whose answer names the kind.
fn describe(record: &store::Record) -> String {
    if queue::share().owns(record)
        && let Some(line) = queue::salvage::describe(record)
    {
        return line;
    }
    if reports::share().owns(record)
        && let Some(line) = reports::describe(record)
    {
        return line;
    }
    if scripts::share().owns(record)
        && let Some(line) = scripts::describe(record)
    {
        return line;
    }
    if logins::share().owns(record)
        && let Some(line) = logins::describe(record)
    {
        return line;
    }
    if lessons::share().owns(record)
        && let Some(line) = lessons::describe(record)
    {
        return line;
    }
    mailbox::salvage::describe(record)
}

const GONE: &str = "the reader went away";

fn put(out: &mut dyn Write, text: &str) -> Result<(), String> {
    out.write_all(text.as_bytes())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => GONE.to_owned(),
            _ => error.to_string(),
        })
}

fn for_people(batch: &SalvagedBatch) -> String {
    let address = &batch.address;
    let mut text = format!(
        "batch {}  segment {} generation {} block {}  {} bytes\n",
        address.lsn, address.segment.0, address.generation.0, address.block, batch.payload_bytes
    );
    for group in &batch.groups {
        for body in &group.bodies {
            text.push_str(&format!(
                "  body {:?}  {} bytes  {:?}\n",
                body.name, body.raw_bytes, body.codec
            ));
        }
        for record in &group.records {
            text.push_str(&format!("  {}\n", describe(record)));
        }
    }
    if batch.own_frames > 0 {
        text.push_str(&format!(
            "  {} frames of the store's own\n",
            batch.own_frames
        ));
    }
    if let Some(why) = &batch.broken {
        text.push_str(&format!("  broken: {why}\n"));
    }
    text
}

fn for_programs(batch: &SalvagedBatch) -> serde_json::Value {
    let address = &batch.address;
    let groups: Vec<_> = batch
        .groups
        .iter()
        .map(|group| {
            let bodies: Vec<_> = group
                .bodies
                .iter()
                .map(|body| json!({ "name": format!("{:?}", body.name), "bytes": body.raw_bytes }))
                .collect();
            json!({ "bodies": bodies, "records": group.records.iter().map(describe).collect::<Vec<_>>() })
        })
        .collect();
    json!({
        "lsn": address.lsn.0,
        "segment": address.segment.0,
        "generation": address.generation.0,
        "block": address.block,
        "bytes": batch.payload_bytes,
        "groups": groups,
        "own_frames": batch.own_frames,
        "broken": batch.broken,
    })
}
