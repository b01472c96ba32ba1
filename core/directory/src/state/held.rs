//! Where the state holds the table of each noun of `whole.rs`, and what a record about such a noun does to it.

use super::State;
use crate::alias::Alias;
use crate::allowance::Allowance;
use crate::fetch::Fetch;
use crate::grant::Grant;
use crate::group::{Group, Member};
use crate::kept_policy::KeptPolicy;
use crate::key::Key;
use crate::mark::Mark;
use crate::route::Route;
use crate::whole::{Named, Noun, Whole};

/// A noun whose table is in the state.
pub(crate) trait Held: Noun {
    /// The noun's table.
    fn rows(state: &State) -> &Whole<Self>;
    fn rows_mut(state: &mut State) -> &mut Whole<Self>;

    /// What else goes with a name that is removed.
    fn removed(self, name: &str, state: &mut State) {
        let _ = (name, state);
    }
}

/// `Held` for nouns that nothing else goes with.
macro_rules! held {
    ($($noun:ident in $table:ident),+ $(,)?) => {$(
        impl Held for $noun {
            fn rows(state: &State) -> &Whole<$noun> {
                &state.$table
            }

            fn rows_mut(state: &mut State) -> &mut Whole<$noun> {
                &mut state.$table
            }
        }
    )+};
}

held! {
    Alias in aliases,
    Member in members,
    Route in routes,
    Grant in grants,
    Key in own_keys,
    Allowance in allowances,
    KeptPolicy in kept_policies,
    Mark in marks,
    Fetch in fetches,
}

impl Held for Group {
    fn rows(state: &State) -> &Whole<Group> {
        &state.groups
    }

    fn rows_mut(state: &mut State) -> &mut Whole<Group> {
        &mut state.groups
    }

    /// Its members go with it.
    fn removed(self, name: &str, state: &mut State) {
        let epoch = state.epoch();
        let members = state.members.starting(self.members_start(name));
        let members: Vec<String> = members.map(|(name, _)| name.clone()).collect();
        for member in members {
            state.members.remove(&member, epoch);
        }
    }
}

impl State {
    /// After a replay: drops members whose group is gone. Only a rebuild from a log of which reclaim took parts finds any.
    pub(crate) fn drop_orphans(&mut self) {
        let is_orphan = |name: &&String| {
            let mut parts = name.split('\0');
            let (group, serial) = (parts.next(), parts.next());
            let group = group.and_then(|name| self.groups.get(name));
            group.map(|group| group.serial.to_string()).as_deref() != serial
        };
        let members = self.members.after(None).map(|(name, _)| name);
        let orphans: Vec<String> = members.filter(is_orphan).cloned().collect();
        let epoch = self.epoch();
        for name in orphans {
            self.members.remove(&name, epoch);
        }
    }
}

impl<N: Held> Named<N> {
    /// What the name stands for now, as a record: it makes every earlier one about the name unnecessary.
    pub fn present(name: String, state: &State) -> Named<N> {
        match N::rows(state).get(&name).cloned() {
            Some(row) => Named::Put { name, row },
            None => Named::Remove { name },
        }
    }

    /// Makes it visible, live and in replay alike.
    pub fn apply(&self, state: &mut State) {
        let epoch = state.epoch();
        match self {
            Named::Put { name, row } => {
                N::rows_mut(state).put(name.clone(), row.clone(), epoch);
            }
            Named::Remove { name } => {
                if let Some(row) = N::rows_mut(state).remove(name, epoch) {
                    row.removed(name, state);
                }
            }
        }
    }
}
