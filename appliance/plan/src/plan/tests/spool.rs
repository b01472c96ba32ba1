//! What is planned for a spool.

use super::machine;
use crate::spool::{memory, memory_min};
use crate::{Misfit, Plan, Profile, Settings, Size};

fn settings(spool: &str) -> Result<Settings, Misfit> {
    let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n{spool}");
    Settings::parse("ringpost.toml", &text)
}

const LEGS: &str = "[spool]\nlegs = [\"/dev/c\", \"/dev/d\"]\n";

#[test]
fn a_spool_is_planned_where_legs_are_named_and_its_memory_is_in_the_sum() {
    let without = settings("").expect("right");
    let with = settings(LEGS).expect("right");
    let profile = Profile::generic();
    let bare = Plan::make(&without, &profile, &machine(2, 8 << 30)).expect("it fits");
    assert!(bare.spool.is_none());
    assert!(bare.spool_left_out.expect("said").contains("spool.legs"));
    let plan = Plan::make(&with, &profile, &machine(2, 8 << 30)).expect("it fits");
    let spool = plan.spool.as_ref().expect("planned");
    assert_eq!(spool.keep_s, 48 * 3_600);
    assert_eq!(spool.storage.legs.len(), 2);
    let line = |what: &str| plan.memory.iter().find(|line| line.what == what);
    assert_eq!(
        line("mail in the spool").map(|line| line.bytes),
        Some(memory(with.limits.message.get_ref().0))
    );
    let under_way = line("messages on their way to storage").expect("a line");
    assert_eq!(under_way.bytes, spool.credit_bytes);
    assert_eq!(spool.credit_bytes, plan.receive_bytes);
    let sum: u64 = plan.memory.iter().map(|line| line.bytes).sum();
    assert!(sum <= plan.memory_bytes);
    assert!(plan.to_string().contains("/dev/c"), "{plan}");
}

#[test]
fn a_machine_too_small_for_a_spool_is_refused_and_trial_mode_does_without() {
    let with = settings(LEGS).expect("right");
    let profile = Profile::generic();
    let small = machine(2, 712 << 20);
    let refused = Plan::make(&with, &profile, &small).expect_err("too small");
    assert!(
        refused.to_string().contains("remove spool.legs"),
        "{refused}"
    );
    let trial = Settings::trial(std::path::Path::new("var"), Size(1 << 30), 3000);
    let plan = Plan::make(&trial.expect("right"), &profile, &small).expect("it fits");
    assert!(plan.spool.is_none());
    assert!(plan.spool_left_out.expect("said").contains("memory"));
    // The least that fits does.
    let least = memory_min(with.limits.message.get_ref().0).div_ceil(75) * 100 + 100;
    assert!(Plan::make(&with, &profile, &machine(2, least)).is_ok());
}

#[test]
fn legs_of_the_volume_and_odd_sizes_are_refused() {
    for (text, why) in [
        ("legs = [\"/dev/a\", \"/dev/d\"]", "leg of the volume"),
        ("legs = [\"/dev/c\", \"/dev/c\"]", "named twice"),
        ("leg_size = \"1MiB\"", "at least 64MiB"),
        ("keep = \"1000h\"", "at most 744h"),
    ] {
        let refused = settings(&format!("[spool]\n{text}\n")).expect_err("wrong");
        assert!(refused.to_string().contains(why), "{refused}");
    }
}
