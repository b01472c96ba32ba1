//! The loop: look at the paths, connect what is not there, tell the engine when to start, and give it legs that came back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use hardware::san::{self, ABSENT, PathLine};
use plan::san::Target;
use plan::shape::San;

use crate::legs::{self, Engine};
use crate::limits::*;
use crate::pace::Pace;

/// Opens a path. Runs in a thread of its own: a target that does not answer holds up no other.
pub type Connect = dyn Fn(&Target, SocketAddr) -> Result<(), String> + Send + Sync;

/// Target and address, by their place in the settings.
type Place = (usize, usize);

pub struct Watch {
    targets: Vec<Target>,
    connect: Arc<Connect>,
    began: Instant,
    within: Duration,
    is_ready: bool,
    paths: BTreeMap<Place, Attempt>,
    legs: BTreeMap<String, Pace>,
    done: (Sender<Done>, Receiver<Done>),
}

type Done = (Place, Result<(), String>);

struct Attempt {
    pace: Pace,
    under_way: bool,
    /// Why the last one failed.
    why: Option<String>,
}

/// What one turn found, for the caller of the loop.
#[derive(Debug, Default)]
pub struct Turn {
    /// The engine need wait no longer; reported once.
    pub ready: bool,
    /// New sentences for the log.
    pub said: Vec<String>,
    /// `(target, address)` → why it is not connected, as of now.
    pub why: BTreeMap<String, String>,
    /// Until the next turn.
    pub wait: Duration,
}

impl Watch {
    /// `within`: how long the engine waits at most.
    pub fn new(
        targets: Vec<Target>,
        within: Duration,
        connect: Arc<Connect>,
        now: Instant,
    ) -> Watch {
        Watch {
            targets,
            connect,
            began: now,
            within,
            is_ready: false,
            paths: BTreeMap::new(),
            legs: BTreeMap::new(),
            done: channel(),
        }
    }

    /// Everything is looked at again in each turn, and nothing is remembered about the state of a path: what the kernel did meanwhile is seen, also
    /// what another program asked of it.
    pub fn turn(&mut self, root: &Path, engine: &dyn Engine, now: Instant) -> Turn {
        let mut turn = Turn::default();
        self.note(&mut turn);
        let paths = san::look(root, &self.targets);
        self.connect_absent(&paths, now);
        self.give_back(root, &paths, engine, now, &mut turn);
        if !self.is_ready {
            let mut legs = self.targets.iter().flat_map(|target| &target.legs);
            let all = legs.all(|leg| legs::is_here(root, &paths, leg));
            // With all legs the start need not wait any longer; without them it must not wait for ever, because the mirror works with one.
            if all || now.duration_since(self.began) >= self.within {
                self.is_ready = true;
                turn.ready = true;
                if !all {
                    turn.said.push(format!(
                        "not every leg was found within {} s: the engine starts without the missing ones",
                        self.within.as_secs()
                    ));
                }
            }
        }
        for ((target, address), attempt) in &self.paths {
            let target = &self.targets[*target];
            if let Some(why) = &attempt.why {
                let key = san::key(&target.target, &target.address[*address].to_string());
                turn.why.insert(key, why.clone());
            }
        }
        turn.wait = if self.is_ready {
            WATCH_EVERY
        } else {
            LOOK_EVERY
        };
        turn
    }

    /// Attempts that came to their end.
    fn note(&mut self, turn: &mut Turn) {
        while let Ok((place, result)) = self.done.1.try_recv() {
            let target = &self.targets[place.0];
            let path = format!("{} by {}", target.target, target.address[place.1]);
            let attempt = self.paths.get_mut(&place).expect("it was begun");
            attempt.under_way = false;
            match result {
                Ok(()) => {
                    attempt.why = None;
                    attempt.pace.reset();
                    turn.said.push(format!("{path} is connected"));
                }
                Err(why) => {
                    // Only what is new is said: a target that is away for a week must not fill the log with one sentence.
                    if attempt.why.as_ref() != Some(&why) {
                        turn.said.push(format!("{path} cannot be reached: {why}"));
                    }
                    attempt.why = Some(why);
                }
            }
        }
    }

    /// The kernel reconnects a path that it knows by itself; this program opens the others.
    fn connect_absent(&mut self, paths: &[PathLine], now: Instant) {
        for (index, target) in self.targets.iter().enumerate() {
            if target.kind == San::Fc {
                continue;
            }
            for (at, address) in target.address.iter().enumerate() {
                let absent = paths.iter().any(|path| {
                    path.target == target.target
                        && path.address == address.to_string()
                        && path.state == ABSENT
                });
                let attempt = self.paths.entry((index, at)).or_insert_with(|| Attempt {
                    pace: Pace::new(TRY_AGAIN_FIRST, TRY_AGAIN_MOST),
                    under_way: false,
                    why: None,
                });
                if !absent {
                    attempt.why = None;
                    continue;
                }
                if attempt.under_way || !attempt.pace.is_due(now) {
                    continue;
                }
                attempt.pace.begin(now);
                attempt.under_way = true;
                let (connect, done) = (self.connect.clone(), self.done.0.clone());
                let (target, address) = (target.clone(), *address);
                std::thread::spawn(move || {
                    let _ = done.send(((index, at), connect(&target, address))); // the loop ends with the process
                });
            }
        }
    }

    /// Legs that are here and that the engine has not got.
    fn give_back(
        &mut self,
        root: &Path,
        paths: &[PathLine],
        engine: &dyn Engine,
        now: Instant,
        turn: &mut Turn,
    ) {
        if !self.is_ready {
            return; // it opens what is here by itself when it starts
        }
        let here = self.targets.iter().flat_map(|target| &target.legs);
        let here: Vec<&String> = here.filter(|leg| legs::is_here(root, paths, leg)).collect();
        if here.is_empty() {
            return;
        }
        let Some(lines) = engine.legs() else {
            return;
        };
        for leg in here {
            let new = || Pace::new(ATTACH_AGAIN_FIRST, ATTACH_AGAIN_MOST);
            let pace = self.legs.entry(leg.clone()).or_insert_with(new);
            // An operator may have taken it out. What left by itself is brought back, what was retired is not.
            if !legs::is_wanted(&lines, leg) {
                let settled = |line: &&admin::reply::LegLine| {
                    line.path.as_ref() == Some(leg) && line.state == "in_sync"
                };
                if lines.iter().find(settled).is_some() {
                    pace.reset();
                }
                continue;
            }
            if !pace.is_due(now) {
                continue;
            }
            pace.begin(now);
            turn.said.push(match engine.attach(leg) {
                Ok(()) => format!("{leg} is back and is being brought up to date"),
                Err(why) => format!("{leg} is connected, but the engine refuses it: {why}"),
            });
        }
    }
}

#[cfg(test)]
mod tests;
