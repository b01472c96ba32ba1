//! The proof that a build can be repeated: the engine layer and the unsigned UKI a second time, every byte compared.

use std::path::Path;

use crate::digest::sha256;
use crate::os::OsLayer;
use crate::{Inputs, engine, places, uki};

pub fn check(
    inputs: &Inputs<'_>,
    os: &OsLayer,
    programs: &Path,
    layer: &Path,
) -> Result<(), String> {
    let work = &inputs.places.work;
    let first_layer = sha256(&places::read(layer)?);
    let first = work.join("first.efi");
    uki::unsigned(inputs, os, layer, &first)?;
    let again = engine::layer(inputs, programs)?;
    same(
        "engine layer",
        &first_layer,
        &sha256(&places::read(&again)?),
    )?;
    let second = work.join("second.efi");
    uki::unsigned(inputs, os, &again, &second)?;
    let sums = [&first, &second].map(|path| places::read(path).map(|bytes| sha256(&bytes)));
    let [one, two] = sums;
    let (one, two) = (one?, two?);
    same("UKI", &one, &two)?;
    for path in [first, second] {
        std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    inputs.progress.note(&format!(
        "engine layer {first_layer}, unsigned UKI {one}: the same twice"
    ));
    Ok(())
}

fn same(what: &str, one: &str, two: &str) -> Result<(), String> {
    if one == two {
        Ok(())
    } else {
        Err(format!(
            "the {what} came out differently the second time ({one}, {two}): a time or an order has crept in; compare with `cmp -l`"
        ))
    }
}
