//! `[spool]`: where mail waits that storage does not take at once; the settings, and what is planned for it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::*;
use crate::load::Misfit;
use crate::plan::parts::{StoragePlan, segment_bytes};
use crate::units::{Size, Span};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Block devices or preallocated files, others than the volume's. None: there is no spool.
    pub legs: Vec<PathBuf>,
    /// Size of a file leg that is made at first start.
    pub leg_size: Size,
    /// Make the spool's volume on blank legs at first start.
    pub create: bool,
    /// How long a message stays after its hand-over to storage.
    pub keep: Span,
    /// A machine that is too small for it does without, as the plan says. For trial mode, in which no operator asked for it.
    #[serde(skip)]
    pub may_be_left_out: bool,
}

impl Default for Spool {
    fn default() -> Spool {
        Spool {
            legs: Vec::new(),
            leg_size: Size(SPOOL_LEG_BYTES_DEFAULT),
            create: false,
            keep: Span(SPOOL_KEEP_DEFAULT),
            may_be_left_out: false,
        }
    }
}

/// What the spool's thread gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolPlan {
    /// Its volume.
    pub storage: StoragePlan,
    pub keep_s: u64,
    pub messages_max: usize,
    pub addressees_max: usize,
    /// Of messages on their way to storage or to the spool.
    pub credit_bytes: u64,
}

impl Spool {
    /// Trial mode: two small file legs in `state`.
    pub(crate) fn trial(state: &std::path::Path) -> Spool {
        Spool {
            legs: vec![state.join("spool-a"), state.join("spool-b")],
            leg_size: Size(SPOOL_LEG_BYTES_TRIAL),
            create: true,
            may_be_left_out: true,
            ..Spool::default()
        }
    }

    /// Another size for trial mode's legs; 0: there is no spool.
    pub fn size_trial(&mut self, size: Size) -> Result<(), Misfit> {
        self.leg_size = size;
        if size.0 == 0 {
            *self = Spool::default();
        }
        self.check(&[]).map_err(Misfit::new)
    }

    pub(crate) fn check(&self, volume: &[PathBuf]) -> Result<(), String> {
        if self.legs.len() > LEGS_MAX {
            return Err(format!(
                "spool.legs: a spool has at most {LEGS_MAX} legs: name two devices"
            ));
        }
        for (index, leg) in self.legs.iter().enumerate() {
            let leg_name = leg.display();
            if self.legs[..index].contains(leg) {
                return Err(format!(
                    "spool.legs: {leg_name} is named twice: a mirror needs two devices; name another"
                ));
            }
            if volume.contains(leg) {
                return Err(format!(
                    "spool.legs: {leg_name} is a leg of the volume: name a device of its own"
                ));
            }
        }
        let size = self.leg_size.0;
        if size < LEG_BYTES_MIN || !size.is_multiple_of(4096) {
            return Err(format!(
                "spool.leg_size: a leg of {} does not work: write at least {}, a multiple of 4KiB",
                Size(size),
                Size(LEG_BYTES_MIN),
            ));
        }
        if self.keep.0 > SPOOL_KEEP_MAX {
            let days = SPOOL_KEEP_MAX.as_secs() / 86_400;
            return Err(format!(
                "spool.keep: write at most {}h ({days} days); \"0s\" keeps nothing",
                24 * days
            ));
        }
        Ok(())
    }
}

/// The memory of a spool beside the credits: its engine, what it lists, ids of deliveries, and what is being handed over.
pub(crate) fn memory(message_bytes_max: u64) -> u64 {
    let lists = SPOOL_ENTRIES_BYTES + SPOOL_IDS_BYTES;
    SPOOL_ENGINE_BYTES + lists + SPOOL_HANDED_BYTES.max(message_bytes_max)
}

/// The least that the plan must have to hand out for a box with a spool.
pub(crate) fn memory_min(message_bytes_max: u64) -> u64 {
    MEMORY_BYTES_MIN + memory(message_bytes_max) + message_bytes_max
}

/// Whether there is a spool, with `total` bytes and so many open files to hand out; `Err` within: why not, in words for the plan.
pub(crate) fn fits(
    spool: &Spool,
    message_bytes_max: u64,
    (total, open_files): (u64, u64),
) -> Result<Result<(), String>, Misfit> {
    let least = memory_min(message_bytes_max);
    if spool.legs.is_empty() {
        let why = "the settings name no spool.legs, so mail that storage does not take is deferred";
        return Ok(Err(why.to_owned()));
    }
    let needs = if total < least {
        format!(
            "a spool needs {} of memory, and {} can be planned",
            Size(least),
            Size(total)
        )
    } else if spool.may_be_left_out && open_files < SPOOL_OPEN_FILES_MIN {
        // Where an operator asked for it, the sum of the open files says which limit to lower.
        format!("this process may have {open_files} open files, too few for a spool")
    } else {
        return Ok(Ok(()));
    };
    match spool.may_be_left_out {
        true => Ok(Err(needs)),
        false => Err(Misfit::new(format!(
            "{needs}: give the machine (or its control group) more, or remove spool.legs"
        ))),
    }
}

/// `volume`: what is planned for the mail's volume, whose times and ring the spool's has too.
pub(crate) fn plan(spool: &Spool, volume: &StoragePlan, credit_bytes: u64) -> SpoolPlan {
    let leg_bytes = spool.leg_size.0;
    let storage = StoragePlan {
        legs: spool.legs.clone(),
        leg_bytes,
        create: spool.create,
        segment_bytes: segment_bytes(leg_bytes),
        batches_in_flight: SPOOL_BATCHES_IN_FLIGHT,
        batch_buffers: SPOOL_BATCH_BUFFERS,
        projection_cache_bytes: SPOOL_PROJECTION_CACHE_BYTES,
        mailbox_cache_bytes: 0,
        ..volume.clone()
    };
    SpoolPlan {
        storage,
        keep_s: spool.keep.0.as_secs(),
        messages_max: SPOOL_MESSAGES_MAX,
        addressees_max: SPOOL_ADDRESSEES_MAX,
        credit_bytes,
    }
}
