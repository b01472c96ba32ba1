//! `manifest.json`: what was built from what, with the hash of every file.

use std::path::Path;

use serde_json::{Value, json};

use crate::digest::sha256_of;
use crate::limits::IMAGE_BYTES_MAX;
use crate::os::OsLayer;
use crate::{Inputs, places};

pub fn write(
    inputs: &Inputs<'_>,
    os: &OsLayer,
    name: &str,
    addon: Option<&Path>,
) -> Result<Value, String> {
    let output = &inputs.places.output;
    let mut files = Vec::new();
    let addon = addon.and_then(Path::file_name);
    let addon = addon.map(|file| file.to_string_lossy().into_owned());
    let ours = ["efi", "raw", "spdx.json"].map(|end| format!("{name}.{end}"));
    for file in ours.into_iter().chain(addon) {
        let (sum, bytes) = sha256_of(&output.join(&file))?;
        files.push(json!({
            "name": file,
            "path": output.join(&file).to_string_lossy(),
            "bytes": bytes,
            "sha256": sum,
        }));
    }
    let uki_bytes = files[0]["bytes"].as_u64().unwrap_or(0);
    if uki_bytes > IMAGE_BYTES_MAX {
        inputs.progress.note(&format!(
            "the UKI has {} MB, above the {} MB that were promised: what came in with the last packages?",
            uki_bytes / 1_000_000,
            IMAGE_BYTES_MAX / 1_000_000
        ));
    }
    let manifest = json!({
        "image": "ringpost",
        "version": inputs.version,
        "variant": inputs.variant.name(),
        "brand": inputs.brand.name,
        "commit_time": inputs.epoch,
        "os_layer": os.key,
        "tools": inputs.tools.key,
        "signed": inputs.keys.is_some(),
        "files": files,
    });
    // In the file there is no path of the building machine.
    let mut told = manifest.clone();
    for file in told["files"].as_array_mut().into_iter().flatten() {
        file.as_object_mut().expect("made above").remove("path");
    }
    let path = output.join("manifest.json");
    let text = serde_json::to_string_pretty(&told).map_err(|error| error.to_string())?;
    places::write(&path, text + "\n")?;
    Ok(manifest)
}
