//! Kinds of accidents that one seed may have, and those that the engine does not survive yet.
//!
//! Every seed draws every knob, so that switching one on does not reshuffle the others.

use fastrand::Rng;

/// Declares the knobs: name, and one in how many seeds has it.
macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident 1 in $share:literal,)*) => {
        /// Which kinds of accidents a story has.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Knobs {
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Knobs {
            /// The name of every knob.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            pub fn draw(rng: &mut Rng) -> Knobs {
                let mut knobs = Knobs::default();
                $(knobs.$name = rng.u8(..$share) == 0 && is_survived(stringify!($name));)*
                knobs
            }
        }
    };
}

knobs! {
    /// One or two of the four copies of the newest superblock are damaged on one leg.
    superblocks 1 in 2,
    /// Also three of four.
    last_superblock 1 in 3,
    /// The weak leg comes back with what it held some time ago, between two runs or while the volume runs.
    older_leg 1 in 3,
    /// What a leg held some time ago is all there is: the volume opens complete, or refuses.
    older_leg_alone 1 in 4,
    /// A leg comes back with less capacity than the volume needs.
    short_leg 1 in 4,
    /// All legs refuse every write for a while; reads go on, and writes do afterwards, without a restart.
    all_refuse 1 in 4,
    /// Many letters are larger than a batch, and come in chunks: reclaim meets chunks that nothing names yet.
    large_bodies 1 in 3,
    /// Mailboxes fill the volume to the last segment, restart on it and empty it.
    full_volume 1 in 4,
}

/// Knobs that today's engine does not survive, with the finding that the mend will close. Merging the mend takes the line out.
pub const NOT_YET_SURVIVED: &[(&str, &str)] = &[];

/// Set by `--knob`: names that count as survived all the same, for whoever mends them.
static ASKED_FOR: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();

/// Switches knobs on that are not yet survived. `Err`: there is no such knob.
pub fn ask_for(names: Vec<String>) -> Result<(), String> {
    if let Some(name) = names
        .iter()
        .find(|name| !Knobs::NAMES.contains(&name.as_str()))
    {
        let all = Knobs::NAMES.join(", ");
        return Err(format!("there is no knob {name}; there are {all}"));
    }
    ASKED_FOR
        .set(names)
        .map_err(|_| "the knobs are set once".to_owned())
}

/// What `ask_for` switched on, for the command that replays a seed.
pub fn asked_for() -> &'static [String] {
    ASKED_FOR.get().map_or(&[], Vec::as_slice)
}

pub fn is_survived(name: &str) -> bool {
    let asked = asked_for().iter().any(|asked| asked == name);
    asked || !NOT_YET_SURVIVED.iter().any(|(knob, _)| *knob == name)
}
