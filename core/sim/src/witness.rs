//! The witness of a simulated box: memory that survives crashes, can be down, and checks what it is asked to record.

use std::cell::{Cell, RefCell};

use volume::{Position, VolumeId, Witness, WitnessFault, WitnessRecord};

#[derive(Default)]
pub struct SimWitness {
    record: RefCell<Option<WitnessRecord>>,
    position: Cell<Option<Position>>,
    down: Cell<bool>,
}

impl SimWitness {
    /// A witness that remembers what `other` remembers now: for worlds that fork.
    pub fn fork(other: &SimWitness) -> SimWitness {
        SimWitness {
            record: RefCell::new(other.record.borrow().clone()),
            position: other.position.clone(),
            down: Cell::new(false),
        }
    }

    pub fn set_down(&self, down: bool) {
        self.down.set(down);
    }

    /// How many legs the record names.
    pub fn in_sync_count(&self) -> usize {
        self.record
            .borrow()
            .as_ref()
            .map_or(0, |record| record.in_sync.len())
    }

    fn answer(&self) -> Result<(), WitnessFault> {
        if self.down.get() {
            return Err(WitnessFault::Unavailable(
                "the simulator took it away".to_owned(),
            ));
        }
        Ok(())
    }
}

impl Witness for SimWitness {
    fn read(&self, volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        self.answer()?;
        Ok(self
            .record
            .borrow()
            .clone()
            .filter(|record| record.volume == volume))
    }

    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        self.answer()?;
        let mut record = self.record.borrow_mut();
        if record.as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        if let Some(old) = &*record {
            // I2: neither ever decreases, and a new membership is a new epoch.
            assert!(
                new.term >= old.term && new.epoch >= old.epoch && new.opened >= old.opened,
                "{old:?} became {new:?}"
            );
            assert!(
                new.in_sync == old.in_sync || new.epoch > old.epoch,
                "{old:?} became {new:?}"
            );
        }
        assert!(
            new.opened <= new.term,
            "a term was opened before it began: {new:?}"
        );
        assert!(
            !new.in_sync.is_empty(),
            "a volume without legs was recorded"
        );
        *record = Some(new.clone());
        Ok(())
    }

    fn position(&self, _volume: VolumeId) -> Result<Option<Position>, WitnessFault> {
        self.answer()?;
        Ok(self.position.get())
    }

    fn note(&self, _volume: VolumeId, position: Position) {
        if self.down.get() {
            return;
        }
        let before = self.position.replace(Some(position)).unwrap_or_default();
        assert!(
            position.seq >= before.seq && position.acked >= before.acked,
            "{before:?} became {position:?}"
        );
    }
}
