//! The patches of planted faults.

use sim::planted::{all, fault, root};

#[test]
fn every_planted_fault_still_applies() {
    let faults = all().unwrap();
    assert!(faults.len() >= 28);
    let bad: Vec<String> = faults
        .iter()
        .filter_map(|fault| fault.fits(&root()).err())
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_patch_that_has_lost_its_place_is_named() {
    let folder = std::env::temp_dir().join(format!("ringpost-planted-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let patch = folder.join("lost.patch");
    let text = "# breaks: nothing\n# invariant: I1\n# finder: seeds\n\n\
                diff --git a/core/sim/Cargo.toml b/core/sim/Cargo.toml\n--- a/core/sim/Cargo.toml\n+++ b/core/sim/Cargo.toml\n\
                @@ -1,2 +1,2 @@\n [parcel]\n-name = \"rain\"\n+name = \"snow\"\n";
    std::fs::write(&patch, text).unwrap();
    let told = fault(patch).unwrap().fits(&root()).unwrap_err();
    assert!(told.contains("planted/lost.patch does not apply"), "{told}");
    std::fs::write(folder.join("bare.patch"), "diff").unwrap();
    assert!(fault(folder.join("bare.patch")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}
