//! What stories share: the image, and one guest that stays up from story to story as long as it is well.
//!
//! A boot under TCG takes most of a story's time, so stories that need nothing special ask for `running` and leave a
//! guest behind that serves mail with both legs in sync; whoever cannot leaves none. After a failure the next story
//! begins with a new machine.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::connect;
use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::{Guest, HTTP, IMAPS, Site};
use crate::http;
use crate::image::Image;
use crate::keep::{self, Keep};
use crate::ledger::{ALICE, Ledger, PASSWORD, reply_within};
use crate::pace;
use crate::releases::Releases;
use crate::settings;
use crate::shape::{Accel, Boot, Bus, By, Disk, Shape};

/// What is booted.
#[derive(Debug, Clone)]
pub enum Source {
    /// The image under test.
    Image(Image),
    /// Any kernel and initrd that reads the settings' credential by fw_cfg: for work on the harness itself.
    Kernel { kernel: PathBuf, initrd: PathBuf },
}

/// A machine with the mail that it acknowledged.
pub struct Machine {
    /// The folder of the run, with its disks.
    pub site: Site,
    /// Of the shape that every story can go on with.
    plain: bool,
    /// The mail that the machine has acknowledged.
    pub ledger: Ledger,
    /// `None`: it is off.
    guest: Option<Guest>,
    /// The disk image that it was made from.
    system: Option<PathBuf>,
}

impl Machine {
    /// The guest, which must be on.
    pub fn guest(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("the machine is on")
    }

    /// The guest and the ledger, for those who need both at once.
    pub fn both(&mut self) -> (&mut Guest, &Ledger) {
        (
            self.guest.as_mut().expect("the machine is on"),
            &self.ledger,
        )
    }

    /// Hands the guest out, to be killed for example.
    pub fn take(&mut self) -> Guest {
        self.guest.take().expect("the machine is on")
    }

    /// The guest comes back from a story that moved it.
    pub fn give_back(&mut self, guest: Guest) {
        assert!(self.guest.is_none(), "one guest at a time");
        self.guest = Some(guest);
    }

    pub fn is_on(&self) -> bool {
        self.guest.is_some()
    }

    /// Switches on and waits for READY.
    pub fn boot(&mut self) -> Told<()> {
        assert!(self.guest.is_none(), "the machine is off");
        self.guest = Some(Guest::boot(&self.site)?);
        self.wait_for_account()
    }

    /// Switches two machines on at once, which takes less time than one after the other, and waits for READY of both.
    pub fn boot_together(machines: [&mut Machine; 2]) -> Told<()> {
        let [one, other] = machines;
        let guests = [Guest::start(&one.site)?, Guest::start(&other.site)?];
        for (machine, guest) in [one, other].into_iter().zip(guests) {
            assert!(machine.guest.is_none(), "the machine is off");
            machine.guest = Some(guest.booted(&machine.site)?);
            machine.wait_for_account()?;
        }
        Ok(())
    }

    /// The reset button, and READY again.
    pub fn reset(&mut self) -> Told<()> {
        self.guest().reset()?;
        self.ready()
    }

    /// READY after a boot that began by itself.
    pub fn ready(&mut self) -> Told<()> {
        self.guest().ready()?;
        self.wait_for_account()
    }

    /// What the state partition held is gone: the system disk is as the image has it, or the state's own disk is blank.
    pub fn forget_state(&mut self, source: &Source) -> Told<()> {
        assert!(self.guest.is_none(), "the machine is off");
        match source {
            Source::Image(image) => {
                self.site.forget_firmware_variables()?;
                self.site.write_system(image.raw.as_deref())
            }
            Source::Kernel { .. } => keep::blank(&self.site.disk(STATE_DISK), STATE_BYTES),
        }
    }

    /// The power fails. The machine is off.
    pub fn cut_power(&mut self) {
        self.take().cut_power();
    }

    /// Settings from outside are applied by and by after READY; the ledger's account is the last of them.
    pub fn wait_for_account(&mut self) -> Told<()> {
        let address = self.guest().at(IMAPS);
        let mut last = String::new();
        until(ACCOUNT_WITHIN, || {
            match connect::imap(address, ALICE, PASSWORD, LOGIN_PATIENCE) {
                Ok(_) => true,
                Err(error) => {
                    last = error.to_string();
                    false
                }
            }
        })
        .map_err(|failure| failure.during(format!("logging in as {ALICE} ({last})")))
    }

    /// A page of the guest's plain HTTP service.
    pub fn page(&mut self, path: &str) -> Told<http::Page> {
        http::get(self.guest().at(HTTP), path, reply_within()).doing(format!("GET {path}"))
    }

    /// One sample of `/metrics`.
    pub fn metric(&mut self, name: &str) -> Told<f64> {
        let page = self.page("/metrics")?;
        http::sample(&page.body, name)
            .ok_or_else(|| Failure::new(format!("/metrics has no {name}")))
    }

    /// The names of the states that the legs are in, by leg index, as `/metrics` tells.
    pub fn legs(&mut self) -> Told<Vec<String>> {
        Ok(leg_states(&self.page("/metrics")?.body))
    }

    /// Waits until as many legs are in sync as the shape has.
    pub fn wait_until_in_sync(&mut self) -> Told<()> {
        let shape = &self.site.shape;
        let planned = settings::legs(shape).count() + shape.away.len();
        self.wait_for_legs("in_sync", planned)
    }

    /// Waits until `count` legs are in `state`.
    pub fn wait_for_legs(&mut self, state: &str, count: usize) -> Told<()> {
        let mut last = Vec::new();
        until(IN_SYNC_WITHIN, || {
            last = self.legs().unwrap_or_default();
            last.iter().filter(|leg| *leg == state).count() == count
        })
        .map_err(|failure| failure.during(format!("{count} legs {state} (they are {last:?})")))
    }
}

/// The state of each leg: the one whose sample is 1.
fn leg_states(metrics: &str) -> Vec<String> {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("ringpost_leg{")?.strip_suffix("} 1")?;
            let (_, state) = rest.split_once("ringpost_leg=\"")?;
            Some(state.trim_end_matches('"').to_owned())
        })
        .collect()
}

/// Asks again and again. The deadline is for an unshared machine and is stretched.
pub fn until(within: Duration, mut holds: impl FnMut() -> bool) -> Told<()> {
    let within = pace::stretched(within);
    let end = Instant::now() + within;
    loop {
        // until it holds or `end`
        if holds() {
            return Ok(());
        }
        ensure(Instant::now() < end, || {
            format!("not within {} s", within.as_secs())
        })?;
        std::thread::sleep(ASK_EVERY);
    }
}

/// The name of the disk for the state partition, where a machine has one.
const STATE_DISK: &str = "state";
const STATE_BYTES: u64 = 64 << 20;
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// A guest whose network is not up yet swallows the first packets; ask again rather than wait.
const LOGIN_PATIENCE: Duration = Duration::from_secs(5);
/// From READY to the account of the settings.
const ACCOUNT_WITHIN: Duration = Duration::from_secs(30);
/// A few MiB to copy; the emulated disks do tens of MiB a second.
const IN_SYNC_WITHIN: Duration = Duration::from_secs(60);

/// What the stories are told in.
pub struct World {
    pub source: Source,
    /// Runs live below it.
    pub directory: PathBuf,
    /// The source tree, for stories that have images made.
    root: PathBuf,
    pub accel: Accel,
    /// The machine that the last story left.
    machine: Option<Machine>,
    /// Made by the first story about updates.
    releases: Option<Rc<Releases>>,
    /// The story that is being told.
    story: String,
}

impl World {
    /// A world without a machine.
    pub fn new(source: Source, accel: Accel, directory: &Path, root: &Path) -> World {
        World {
            source,
            directory: directory.to_owned(),
            root: root.to_owned(),
            accel,
            machine: None,
            releases: None,
            story: String::new(),
        }
    }

    /// The source tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a story.
    pub fn begin(&mut self, story: &str) {
        self.story = story.to_owned();
    }

    /// The machine that the last story left, when it is an ordinary one, on and well; else a new one, booted.
    pub fn running(&mut self) -> Told<Machine> {
        if let Some(mut machine) = self.machine.take()
            && machine.plain
            && machine.is_on()
            && machine.wait_until_in_sync().is_ok()
        {
            return Ok(machine);
        }
        self.boot(Shape::default())
    }

    /// The machine that the last story left is of no use to another.
    pub fn forget(&mut self) {
        self.machine = None;
    }

    /// The machine that the last story left, when it is an ordinary one and on, in whatever state its legs are; else a new one, booted.
    pub fn on(&mut self) -> Told<Machine> {
        match self.machine.take() {
            Some(machine) if machine.plain && machine.is_on() => Ok(machine),
            _ => self.boot(Shape::default()),
        }
    }

    /// A new machine of this shape, provisioned and booted. When it fails, its directory is kept.
    pub fn boot(&mut self, shape: Shape) -> Told<Machine> {
        let plain = shape == Shape::default();
        let mut machine = self.machine(settings::provisioned(shape, self.by()))?;
        machine.plain = plain;
        match machine.boot() {
            Ok(()) => Ok(machine),
            Err(failure) => Err(self.failed(machine, failure)),
        }
    }

    /// A new machine of this shape on another image than the one under test, with the credentials that it has; booted.
    pub fn boot_image(&mut self, image: &Image, shape: Shape) -> Told<Machine> {
        let mut machine = self.machine_with(image, shape)?;
        match machine.boot() {
            Ok(()) => Ok(machine),
            Err(failure) => Err(self.failed(machine, failure)),
        }
    }

    /// A new machine of this shape on another image than the one under test, switched off.
    pub fn machine_with(&mut self, image: &Image, shape: Shape) -> Told<Machine> {
        let own = std::mem::replace(&mut self.source, Source::Image(image.clone()));
        let machine = self.machine(shape);
        self.source = own;
        machine
    }

    /// A machine of the default shape that runs another image than the one under test, with `more` settings: the one that the
    /// last story left when it is such a one and on, else a new one, booted.
    pub fn on_image(&mut self, image: &Image, more: &str) -> Told<Machine> {
        match self.machine.take() {
            Some(machine) if machine.is_on() && machine.system == image.raw => return Ok(machine),
            _ => {}
        }
        let shape = settings::provisioned_with(Shape::default(), By::Smbios, more);
        self.boot_image(image, shape)
    }

    /// A new machine, switched off.
    pub fn machine(&mut self, mut shape: Shape) -> Told<Machine> {
        self.machine = None;
        if matches!(self.source, Source::Kernel { .. }) {
            // Without a system disk the state needs a place of its own.
            shape
                .disks
                .push(Disk::new(STATE_DISK, Bus::Virtio, STATE_BYTES));
        }
        let keep = Keep::new(&self.directory, &self.story)?;
        let (boot, system) = match &self.source {
            Source::Image(image) => match &image.raw {
                Some(raw) => (Boot::Disk { secure: false }, Some(raw.as_path())),
                None => (Boot::Uki(image.uki.clone()), None),
            },
            Source::Kernel { kernel, initrd } => (
                Boot::Kernel {
                    kernel: kernel.clone(),
                    initrd: initrd.clone(),
                    command_line: "console=ttyS0 quiet panic=10".into(),
                },
                None,
            ),
        };
        Ok(Machine {
            site: Site::new(keep, shape, boot, self.accel, system)?,
            plain: false,
            ledger: Ledger::default(),
            guest: None,
            system: system.map(Path::to_owned),
        })
    }

    /// Signed images, made from the image under test when they are first asked for.
    pub fn releases(&mut self) -> Told<Rc<Releases>> {
        if let Some(releases) = &self.releases {
            return Ok(releases.clone());
        }
        let Source::Image(image) = &self.source else {
            return Err(Failure::new(
                "a kernel alone has no slots: run this story with an image",
            ));
        };
        let broken = settings::without_smtp(&Shape::default());
        let made = Rc::new(Releases::make(image, &self.root, &self.directory, &broken)?);
        self.releases = Some(made.clone());
        Ok(made)
    }

    /// SMBIOS needs systemd to be read; a bare kernel has fw_cfg.
    pub fn by(&self) -> By {
        match self.source {
            Source::Image(_) => By::Smbios,
            Source::Kernel { .. } => By::FwCfg,
        }
    }

    /// Tells a story about a machine: afterwards it is kept as evidence, or left for the next story.
    pub fn told(
        &mut self,
        mut machine: Machine,
        story: impl FnOnce(&mut Machine) -> Told<()>,
    ) -> Told<()> {
        match story(&mut machine) {
            Ok(()) => {
                self.machine = Some(machine);
                Ok(())
            }
            Err(failure) => Err(self.failed(machine, failure)),
        }
    }

    /// Tells a story about two machines, which are off afterwards; both are kept as evidence when it fails.
    pub fn told_of_two(
        &mut self,
        machines: [Machine; 2],
        story: impl FnOnce(&mut [Machine; 2]) -> Told<()>,
    ) -> Told<()> {
        let mut machines = machines;
        let told = story(&mut machines);
        let [one, other] = machines;
        told.map_err(|failure| {
            let failure = self.failed(one, failure);
            self.failed(other, failure)
        })
    }

    /// The machine of a story that failed is kept, and the failure names its folder.
    fn failed(&mut self, mut machine: Machine, failure: Failure) -> Failure {
        machine.guest = None;
        machine.site.keep.keep();
        let kept = machine.site.keep.path().display();
        Failure::new(format!(
            "{failure}\n  kept: {kept} (serial.log, disks, command)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_of_two_that_fails_keeps_both_machines_and_one_that_succeeds_neither() {
        let runs = tempfile::tempdir().expect("a directory");
        let source = Source::Kernel {
            kernel: "k".into(),
            initrd: "i".into(),
        };
        let accel = Accel::Tcg { single: false };
        let mut world = World::new(source, accel, runs.path(), Path::new("."));
        world.begin("two");
        let mut told = |outcome: Told<()>| {
            let machines = [0, 1].map(|_| world.machine(Shape::default()).expect("made"));
            let places = machines
                .each_ref()
                .map(|one| one.site.keep.path().to_owned());
            let told = world.told_of_two(machines, |_| outcome);
            (told, places.map(|place| place.exists()))
        };
        let (told_well, are_kept) = told(Ok(()));
        assert_eq!((told_well, are_kept), (Ok(()), [false, false]));
        let (failed, are_kept) = told(Err(Failure::new("it rains")));
        let failed = failed.expect_err("as the story").to_string();
        assert!(failed.starts_with("it rains\n  kept: "), "{failed}");
        assert_eq!(
            (failed.matches("kept: ").count(), are_kept),
            (2, [true, true])
        );
    }

    #[test]
    fn leg_states_are_read_from_the_metrics() {
        let page = "ringpost_leg{leg=\"0\",ringpost_leg=\"in_sync\"} 1\n\
            ringpost_leg{leg=\"0\",ringpost_leg=\"failed\"} 0\n\
            ringpost_leg{leg=\"1\",ringpost_leg=\"in_sync\"} 0\n\
            ringpost_leg{leg=\"1\",ringpost_leg=\"failed\"} 1\n";
        assert_eq!(leg_states(page), ["in_sync", "failed"]);
    }
}
