//! The witness of a simulated box: memory that survives crashes, can be down, and checks what it is asked to record.

use std::cell::{Cell, RefCell};

use volume::{LegId, Position, VolumeId, Witness, WitnessFault, WitnessRecord};

/// Looks at every record the moment it is made.
type OnChange = Box<dyn Fn(&WitnessRecord)>;

#[derive(Default)]
pub struct SimWitness {
    record: RefCell<Option<WitnessRecord>>,
    position: Cell<Option<Position>>,
    down: Cell<bool>,
    on_change: RefCell<Option<OnChange>>,
}

impl SimWitness {
    /// A witness that remembers what `other` remembers now: for worlds that fork.
    // It is up, and no check is attached: a fork is another possible future, and what is recorded there must not reach the story's own books.
    pub fn fork(other: &SimWitness) -> SimWitness {
        SimWitness {
            record: RefCell::new(other.record.borrow().clone()),
            position: other.position.clone(),
            down: Cell::new(false),
            on_change: RefCell::default(),
        }
    }

    pub fn on_change(&self, look: impl Fn(&WitnessRecord) + 'static) {
        *self.on_change.borrow_mut() = Some(Box::new(look));
    }

    pub fn set_down(&self, down: bool) {
        self.down.set(down);
    }

    /// The legs that the record counts.
    pub fn in_sync(&self) -> Vec<LegId> {
        let record = self.record.borrow();
        record
            .as_ref()
            .map_or(Vec::new(), |record| record.in_sync.clone())
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
        // Somebody else was faster. With one box that must not happen, and the engine finds out that it is not alone.
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
        drop(record);
        if let Some(look) = &*self.on_change.borrow() {
            look(new);
        }
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
