//! The bill of materials: every Debian package and every crate in the image, as SPDX 2.3 in JSON.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::digest::sha256;
use crate::os::OsLayer;
use crate::{Inputs, places};

pub fn write(inputs: &Inputs<'_>, os: &OsLayer, name: &str) -> Result<(), String> {
    let told = places::read(&os.file("packages.json"))?;
    let told: Value =
        serde_json::from_slice(&told).map_err(|error| format!("packages.json: {error}"))?;
    // The image itself is the first package: everything else is related to it.
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-image",
        "name": "ringpost",
        "versionInfo": inputs.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "MIT OR Apache-2.0",
        "copyrightText": "NOASSERTION",
    })];
    // What mkosi installed, by its own manifest: the files of the image are not searched for packages.
    for package in told["packages"].as_array().into_iter().flatten() {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_string();
        let (name, version) = (text("name"), text("version"));
        packages.push(entry(
            "deb",
            &name,
            &version,
            "NOASSERTION",
            format!(
                "pkg:deb/debian/{name}@{version}?arch={}&distro=trixie",
                text("architecture")
            ),
        ));
    }
    for (name, version, licence) in crates(inputs)? {
        let link = format!("pkg:cargo/{name}@{version}");
        packages.push(entry("crate", &name, &version, &licence, link));
    }
    let related: Vec<Value> = packages[1..]
        .iter()
        .map(|package| {
            json!({
                "spdxElementId": "SPDXRef-image",
                "relationshipType": "CONTAINS",
                "relatedSpdxElement": package["SPDXID"],
            })
        })
        .chain([json!({
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relationshipType": "DESCRIBES",
            "relatedSpdxElement": "SPDXRef-image",
        })])
        .collect();
    // The namespace has to be unlike that of every other document and the same for the same image: a hash of what it lists is both.
    let inner = serde_json::to_vec(&packages).map_err(|error| error.to_string())?;
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("urn:ringpost:sbom:{name}:{}", &sha256(&inner)[..16]),
        "creationInfo": {
            "created": utc(inputs.epoch),
            "creators": ["Tool: ringpost-xtask"],
        },
        "packages": packages,
        "relationships": related,
    });
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    let path = inputs.places.output.join(format!("{name}.spdx.json"));
    places::write(&path, text + "\n")?;
    let licences = inputs
        .places
        .output
        .join(format!("{name}.licences.tar.zst"));
    places::copy(&os.file("licences.tar.zst"), &licences)
}

fn entry(kind: &str, name: &str, version: &str, licence: &str, link: String) -> Value {
    // SPDX identifiers have letters, digits, dots and hyphens only.
    let plain: String = format!("{name}-{version}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    json!({
        "SPDXID": format!("SPDXRef-{kind}-{plain}"),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": link,
        }],
    })
}

/// Name, version and licence of every crate that is linked into the engine.
fn crates(inputs: &Inputs<'_>) -> Result<BTreeSet<(String, String, String)>, String> {
    let output = Command::new(crate::cargo_path())
        .current_dir(inputs.root)
        .args(["tree", "--locked", "--workspace", "--exclude", "xtask"])
        .args([
            // Without dev and build dependencies, which are not in the image. The whole workspace is a little more than what is linked; none is
            // missing.
            "--edges", "normal", "--prefix", "none", "--format", "{p}\t{l}",
        ])
        .output()
        .map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo tree: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(crate_of).collect())
}

/// `name v1.2.3 (path) (*)<TAB>MIT OR Apache-2.0`.
fn crate_of(line: &str) -> Option<(String, String, String)> {
    let (package, licence) = line.split_once('\t')?;
    let mut words = package.split_whitespace();
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    let licence = licence.trim().trim_end_matches("(*)").trim();
    // The slash is how licences were joined before SPDX expressions.
    let licence = match licence {
        "" => "NOASSERTION".to_string(),
        other => other.replace('/', " OR "),
    };
    Some((name.to_string(), version.to_string(), licence))
}

/// `2026-11-22T02:58:25Z`.
fn utc(epoch: u64) -> String {
    let seconds = i64::try_from(epoch).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cargo_tree_is_a_crate() {
        let found = crate_of("serde v1.0.2 (proc-macro) (*)\tMIT/Apache-2.0").expect("a crate");
        assert_eq!(
            found,
            ("serde".into(), "1.0.2".into(), "MIT OR Apache-2.0".into())
        );
        assert_eq!(crate_of(""), None);
    }

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_313_724), "2026-11-22T02:15:24Z");
    }
}
