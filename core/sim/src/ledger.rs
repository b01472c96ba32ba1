//! What the outside world knows of a volume: tokens it gave in, and which of them were acknowledged where.
//!
//! A token is a number; its bytes follow from it, so that a checker needs no copy. Tokens are given out in the order of the
//! calls to `commit`, which the volume promises to keep as the order of the log.

use std::collections::{BTreeMap, BTreeSet};

use base::hash::{seed, xxh3_64};
use volume::{
    Batch, BatchAddress, Generation, Lsn, RecordAddress, SegmentIndex, SegmentState, Volume,
};

/// Token and length before the bytes of each run.
const RUN_HEADER_BYTES: usize = 16;

#[derive(Clone, Default)]
pub struct Ledger {
    next_token: u64,
    /// Acknowledged, or found durable after a crash: must be there, once.
    acked: BTreeMap<u64, (Lsn, RecordAddress)>,
    /// Given to `commit` and not acknowledged: may be there.
    open: BTreeSet<u64>,
    /// In a segment that was being given back: may be gone.
    leaving: BTreeSet<u64>,
    /// Segments given back, or being so: a client may hear of its batch there only afterwards.
    left: BTreeSet<(SegmentIndex, Generation)>,
    /// The newest batch a client was told of, or found after a crash.
    acked_lsn: Lsn,
    /// An opening may have moved what is newer than the checkpoint, and the places have not been looked up since.
    may_have_moved: bool,
    pub acked_ever: u64,
}

/// Runs placed in one batch, to be noted when it is acknowledged.
pub struct Placed {
    runs: Vec<(u64, u32, u32, u64)>,
}

/// The bytes of `token`, at least eight and at most `bytes_max`.
pub fn payload(token: u64, bytes_max: usize) -> Vec<u8> {
    let dice = seed(&[token]);
    let bytes = match dice % 8 {
        0 => 8,
        1..=5 => 8 + (dice >> 8) as usize % 600,
        6 => 8 + (dice >> 8) as usize % 6_000,
        _ => 8 + (dice >> 8) as usize % 20_000,
    };
    let mut payload = vec![0; bytes.min(bytes_max)];
    fill(&mut fastrand::Rng::with_seed(dice), &mut payload);
    payload
}

/// As `Rng::fill`, which calls a copy for each eight bytes: it was a tenth of a seed's time.
pub fn fill(rng: &mut fastrand::Rng, bytes: &mut [u8]) {
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = rng.u64(..).to_ne_bytes();
    }
    if !rest.is_empty() {
        rest.copy_from_slice(&rng.u64(..).to_ne_bytes()[..rest.len()]);
    }
}

impl Ledger {
    /// Places one to three new tokens in `batch`.
    pub fn place(&mut self, batch: &mut Batch, check_seed: u64, dice: u64) -> Placed {
        let mut runs = Vec::new();
        for _ in 0..1 + dice % 3 {
            if batch.room_bytes() < RUN_HEADER_BYTES + 64 {
                break;
            }
            let token = self.next_token;
            let bytes = payload(token, batch.room_bytes() - RUN_HEADER_BYTES);
            self.next_token += 1;
            let mut run = Vec::with_capacity(RUN_HEADER_BYTES + bytes.len());
            run.extend_from_slice(&token.to_le_bytes());
            run.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            run.extend_from_slice(&bytes);
            let at = batch.place(&run);
            runs.push((token, at, run.len() as u32, xxh3_64(&run, check_seed)));
            self.open.insert(token);
        }
        Placed { runs }
    }

    /// Answers where each run lies.
    pub fn note_acked(&mut self, placed: &Placed, at: BatchAddress) -> Vec<(u64, RecordAddress)> {
        self.acked_lsn = self.acked_lsn.max(at.lsn);
        let mut runs = Vec::new();
        for (token, begin, bytes, check) in &placed.runs {
            self.open.remove(token);
            self.acked_ever += 1;
            runs.push((*token, address(at, *begin, *bytes, *check)));
        }
        if self.left.contains(&(at.segment, at.generation)) {
            self.leaving.extend(runs.iter().map(|(token, _)| token));
            return Vec::new();
        }
        self.acked
            .extend(runs.iter().map(|(token, run)| (*token, (at.lsn, *run))));
        runs
    }

    pub fn acked_lsn(&self) -> Lsn {
        self.acked_lsn
    }

    /// The batch was refused before it got a place: it must not be found either.
    pub fn note_refused(&mut self, placed: &Placed) {
        for (token, ..) in &placed.runs {
            self.open.remove(token);
        }
    }

    /// The volume is opened: until the next `check` the places of what was acknowledged before are not known for sure.
    pub fn note_opening(&mut self) {
        self.may_have_moved = !self.acked.is_empty();
    }

    pub fn may_have_moved(&self) -> bool {
        self.may_have_moved
    }

    pub fn addresses(&self) -> Vec<(u64, RecordAddress)> {
        self.acked
            .iter()
            .map(|(token, (_, address))| (*token, *address))
            .collect()
    }

    /// Every acknowledged token with the number of its batch.
    pub fn acked_runs(&self) -> Vec<(u64, Lsn, RecordAddress)> {
        let runs = self.acked.iter();
        runs.map(|(token, (lsn, address))| (*token, *lsn, *address))
            .collect()
    }

    /// A segment is about to be given back.
    pub fn note_leaving(&mut self, segment: SegmentIndex, generation: Generation) {
        self.left.insert((segment, generation));
        let tokens = self
            .acked
            .iter()
            .filter(|(_, (_, address))| address.segment == segment);
        let tokens: Vec<u64> = tokens.map(|(token, _)| *token).collect();
        for token in tokens {
            self.acked.remove(&token);
            self.leaving.insert(token);
        }
    }

    /// The segment is given back, durably: nothing of it may ever be seen again.
    pub fn note_left(&mut self) {
        self.leaving.clear();
    }

    /// Reads the whole volume and compares. What is found durable now counts as acknowledged from here on. Only opening (and
    /// then only what is newer than the checkpoint) may have moved a batch: `reopened`.
    pub async fn check(&mut self, volume: &Volume, reopened: bool) -> Result<(), String> {
        let mut batches: BTreeMap<Lsn, (BatchAddress, bytes::Bytes)> = BTreeMap::new();
        for report in volume.segments() {
            if !matches!(report.state, SegmentState::Open | SegmentState::Sealed) {
                continue;
            }
            let found = volume.walk_segment(report.index).await;
            let found = found
                .map_err(|fault| format!("segment {} cannot be walked: {fault}", report.index.0))?;
            for (at, bytes) in found {
                if let Some((other, _)) = batches.insert(at.lsn, (at, bytes)) {
                    return Err(format!(
                        "batch {} is in the log twice: {other:?} and {at:?}",
                        at.lsn
                    ));
                }
            }
        }
        self.compare_walk(volume, &batches).await?;
        self.compare_tokens(volume, reopened, &batches)?;
        self.compare_reads(volume).await
    }

    /// The walk from the checkpoint gives exactly the newer batches.
    async fn compare_walk(
        &self,
        volume: &Volume,
        batches: &BTreeMap<Lsn, (BatchAddress, bytes::Bytes)>,
    ) -> Result<(), String> {
        let after = volume.checkpoint().lsn;
        let mut walk = volume.walk(after);
        let mut walked = Vec::new();
        loop {
            // until the end of the log
            match walk.next().await {
                Ok(Some((at, _))) => walked.push(at.lsn),
                Ok(None) => break,
                Err(fault) => return Err(format!("the walk after {after} fails: {fault}")),
            }
        }
        let expected: Vec<Lsn> = batches.range(after.next()..).map(|(lsn, _)| *lsn).collect();
        if walked != expected {
            return Err(format!(
                "the walk after {after} gives {walked:?}, the segments hold {expected:?}"
            ));
        }
        Ok(())
    }

    fn compare_tokens(
        &mut self,
        volume: &Volume,
        reopened: bool,
        batches: &BTreeMap<Lsn, (BatchAddress, bytes::Bytes)>,
    ) -> Result<(), String> {
        let mut found = BTreeMap::new();
        let mut last = None;
        for (at, bytes) in batches.values() {
            for (token, begin, run) in
                runs(bytes).ok_or(format!("batch {} does not parse", at.lsn))?
            {
                if run[RUN_HEADER_BYTES..] != payload(token, run.len() - RUN_HEADER_BYTES) {
                    return Err(format!("token {token} in batch {} has other bytes", at.lsn));
                }
                if last.is_some_and(|last| last >= token) {
                    return Err(format!(
                        "token {token} in batch {} comes after {last:?}",
                        at.lsn
                    ));
                }
                last = Some(token);
                let begin = (volume::BATCH_HEADER_BYTES + begin) as u32;
                let check = xxh3_64(run, volume.check_seed());
                found.insert(
                    token,
                    (at.lsn, address(*at, begin, run.len() as u32, check)),
                );
            }
        }
        let fixed = volume.checkpoint().lsn;
        for (token, told) in &self.acked {
            match found.get(token) {
                None => {
                    return Err(format!(
                        "token {token} was acknowledged as {told:?} and is gone"
                    ));
                }
                Some(at) if at == told => {}
                Some(at) if at.0 == told.0 && reopened && at.0 > fixed => {}
                Some(at) => {
                    return Err(format!(
                        "token {token} was acknowledged as {told:?} and is {at:?}"
                    ));
                }
            }
        }
        for token in found.keys() {
            let known = self.acked.contains_key(token)
                || self.open.contains(token)
                || self.leaving.contains(token);
            if !known {
                return Err(format!("token {token} is in the log and should not be"));
            }
        }
        if volume.refuses().is_some() {
            // The end of its log is not known, and the legs were not made equal: what was found may still go, and what was not acknowledged
            // may still come to light.
            return Ok(());
        }
        let newest = batches.last_key_value().map_or(Lsn(0), |(lsn, _)| *lsn);
        self.acked_lsn = newest.max(volume.checkpoint().lsn);
        self.open.clear();
        self.acked = found;
        self.may_have_moved = false;
        self.leaving.clear();
        self.left.clear();
        Ok(())
    }

    /// Every acknowledged token can be read, and reads as it was given in.
    pub async fn compare_reads(&self, volume: &Volume) -> Result<(), String> {
        let (tokens, addresses): (Vec<u64>, Vec<RecordAddress>) =
            self.addresses().into_iter().unzip();
        let answers = volume.read_many(&addresses).await;
        for (token, answer) in tokens.into_iter().zip(answers) {
            match answer {
                Ok(run)
                    if run[RUN_HEADER_BYTES..] == payload(token, run.len() - RUN_HEADER_BYTES) => {}
                Ok(_) => return Err(format!("a read of token {token} gives other bytes")),
                Err(fault) => return Err(format!("token {token} cannot be read: {fault}")),
            }
        }
        Ok(())
    }
}

fn address(at: BatchAddress, begin: u32, bytes: u32, check: u64) -> RecordAddress {
    RecordAddress {
        segment: at.segment,
        generation: at.generation,
        batch_block: at.block,
        at: begin,
        bytes,
        check,
    }
}

/// Token, place in the payload, and bytes of each run. `None`: the payload is not one of ours.
fn runs(payload: &[u8]) -> Option<Vec<(u64, usize, &[u8])>> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let header = payload.get(at..at + RUN_HEADER_BYTES)?;
        let token = u64::from_le_bytes(header[..8].try_into().ok()?);
        let bytes = u64::from_le_bytes(header[8..].try_into().ok()?) as usize;
        let end = at.checked_add(RUN_HEADER_BYTES)?.checked_add(bytes)?;
        runs.push((token, at, payload.get(at..end)?));
        at = end.next_multiple_of(8);
    }
    Some(runs)
}
