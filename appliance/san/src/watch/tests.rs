use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use admin::reply::LegLine;

use super::*;

const LEG: &str = "/dev/disk/by-id/scsi-36";

fn target(kind: &str, address: &[&str]) -> Target {
    toml::from_str(&format!(
        "kind = \"{kind}\"\ntarget = \"iqn.x:mail\"\nhost = \"h\"\naddress = {address:?}\nlegs = [\"{LEG}\"]\n"
    ))
    .expect("right")
}

/// An engine with one SAN leg in some state.
struct Mail {
    line: RefCell<Option<LegLine>>,
    attached: RefCell<usize>,
}

impl Mail {
    fn with(state: &str) -> Mail {
        let line = LegLine {
            index: 1,
            id: "x".into(),
            state: state.into(),
            path: Some(LEG.into()),
            progress: None,
            repairs: 0,
            read_faults: 0,
            write_faults: 0,
            stale_since: None,
            why: None,
        };
        Mail {
            line: RefCell::new(Some(line)),
            attached: RefCell::new(0),
        }
    }
}

impl Engine for Mail {
    fn legs(&self) -> Option<Vec<LegLine>> {
        self.line.borrow().clone().map(|line| vec![line])
    }

    fn attach(&self, path: &str) -> Result<(), String> {
        assert_eq!(path, LEG);
        *self.attached.borrow_mut() += 1;
        Err("it is full of another volume's mail".into())
    }
}

/// A kernel: a session comes up when it is asked for, if the target is there.
struct Kernel {
    directory: tempfile::TempDir,
    asked: Mutex<usize>,
}

impl Kernel {
    fn new() -> Arc<Kernel> {
        Arc::new(Kernel {
            directory: tempfile::tempdir().expect("a directory"),
            asked: Mutex::new(0),
        })
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn put(&self, path: &str, text: &str) {
        let path: PathBuf = self.root().join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("our own");
        fs::write(path, text).expect("our own");
    }

    fn session(&self, state: &str) {
        self.put("sys/class/iscsi_session/session1/targetname", "iqn.x:mail");
        self.put("sys/class/iscsi_session/session1/state", state);
        let end = "sys/class/iscsi_connection/connection1:0";
        self.put(&format!("{end}/persistent_address"), "192.0.2.20");
        self.put(&format!("{end}/persistent_port"), "3260");
        self.put(&LEG[1..], "");
    }

    fn asked(&self) -> usize {
        *self.asked.lock().expect("no holder panics")
    }
}

fn watch(kernel: &Arc<Kernel>, answers: bool, now: Instant) -> Watch {
    let of = kernel.clone();
    let connect = move |_: &Target, _: SocketAddr| {
        *of.asked.lock().expect("no holder panics") += 1;
        if answers {
            of.session("LOGGED_IN");
            return Ok(());
        }
        Err("connection refused".to_owned())
    };
    let targets = vec![target("iscsi", &["192.0.2.20:3260"])];
    Watch::new(targets, LEGS_WITHIN, Arc::new(connect), now)
}

/// Turns until the attempt that is under way has ended.
fn until_said(watch: &mut Watch, kernel: &Kernel, engine: &Mail, now: Instant) -> Turn {
    let mut ready = false;
    loop {
        // until the thread has answered
        let mut turn = watch.turn(kernel.root(), engine, now);
        // The disk may be seen before the thread has reported it.
        ready |= turn.ready;
        if !turn.said.is_empty() {
            turn.ready = ready;
            return turn;
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_engine_starts_as_soon_as_every_leg_is_there() {
    let (kernel, engine, now) = (Kernel::new(), Mail::with("in_sync"), Instant::now());
    let mut watch = watch(&kernel, true, now);
    let turn = until_said(&mut watch, &kernel, &engine, now);
    assert!(turn.said[0].contains("is connected"), "{turn:?}");
    assert!(turn.ready, "{turn:?}");
    assert!(turn.why.is_empty());
    assert_eq!(kernel.asked(), 1);
    let turn = watch.turn(kernel.root(), &engine, now + WATCH_EVERY);
    assert!(!turn.ready && turn.wait == WATCH_EVERY, "said once");
    assert_eq!((kernel.asked(), *engine.attached.borrow()), (1, 0));
}

#[test]
fn a_target_that_does_not_answer_holds_the_engine_up_for_a_bounded_time() {
    let (kernel, engine, now) = (Kernel::new(), Mail::with("failed"), Instant::now());
    let mut watch = watch(&kernel, false, now);
    let turn = until_said(&mut watch, &kernel, &engine, now);
    assert!(!turn.ready);
    let why: Vec<&String> = turn.why.values().collect();
    assert_eq!(why, ["connection refused"]);
    let turn = watch.turn(kernel.root(), &engine, now + LEGS_WITHIN);
    assert!(turn.ready && turn.said[0].contains("15 s"), "{turn:?}");
    assert_eq!(*engine.attached.borrow(), 0, "nothing to give back");
}

#[test]
fn a_leg_that_came_back_is_offered_and_not_too_often() {
    let (kernel, engine) = (Kernel::new(), Mail::with("failed"));
    let now = Instant::now();
    kernel.session("FAILED");
    let mut watch = watch(&kernel, true, now);
    // Known to the kernel: it logs in again by itself, no program is asked.
    assert!(watch.turn(kernel.root(), &engine, now + LEGS_WITHIN).ready);
    let mut now = now + LEGS_WITHIN + WATCH_EVERY;
    watch.turn(kernel.root(), &engine, now);
    assert_eq!((kernel.asked(), *engine.attached.borrow()), (0, 0));
    kernel.session("LOGGED_IN");
    for _ in 0..24 {
        watch.turn(kernel.root(), &engine, now);
        now += WATCH_EVERY;
    }
    // In two minutes: at 0, 5, 15, 35 and 75 seconds.
    assert_eq!(*engine.attached.borrow(), 5);
    *engine.line.borrow_mut() = None; // it does not answer
    let mut line = Mail::with("in_sync").line.into_inner();
    watch.turn(kernel.root(), &engine, now);
    std::mem::swap(&mut *engine.line.borrow_mut(), &mut line);
    watch.turn(kernel.root(), &engine, now);
    assert_eq!(*engine.attached.borrow(), 5);
}
