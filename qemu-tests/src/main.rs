//! Tells stories: `cargo xtask qemu NAME…`. Exit status 0: all that were told are true.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use qemu_tests::accel;
use qemu_tests::failure::Told;
use qemu_tests::image::Image;
use qemu_tests::keep::Keep;
use qemu_tests::shape::Boot;
use qemu_tests::stories::{self, STORIES, Story};
use qemu_tests::uki;
use qemu_tests::world::{Source, World};

#[derive(Parser)]
#[command(
    name = "cargo xtask qemu",
    bin_name = "cargo xtask qemu",
    about = "Boots the image in QEMU and runs the stories"
)]
struct Arguments {
    /// Stories by name; without a name, those of `cargo xtask test`
    names: Vec<String>,
    /// Every story with its claim; nothing is booted
    #[arg(long)]
    list: bool,
    /// The long ones too
    #[arg(long)]
    long: bool,
    /// Where `cargo xtask image` put the image [default: image/ in the build directory]
    #[arg(long, value_name = "DIR")]
    image: Option<PathBuf>,
    /// Where runs live and failed ones are kept [default: qemu/ in the build directory]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Boot this kernel, with `--initrd`, in place of the image
    #[arg(long, requires = "initrd", value_name = "FILE")]
    kernel: Option<PathBuf>,
    #[arg(long, requires = "kernel", value_name = "FILE")]
    initrd: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for story in STORIES {
            let long = if story.long { " (long)" } else { "" };
            println!("{}{long}\n    {}", story.name, story.claim);
        }
        return ExitCode::SUCCESS;
    }
    match tell(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("qemu: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// How many stories failed.
fn tell(arguments: &Arguments) -> Told<usize> {
    let chosen = choose(arguments)?;
    let build = build_directory();
    let runs = absolute(arguments.runs.as_deref(), || build.join("qemu"));
    // Held until the end: a build of the image meanwhile changes no running story.
    let held = Keep::new(&runs, "image")?;
    let source = match (&arguments.kernel, &arguments.initrd) {
        (Some(kernel), Some(initrd)) => Source::Kernel {
            kernel: absolute(Some(kernel), PathBuf::new),
            initrd: absolute(Some(initrd), PathBuf::new),
        },
        _ => {
            let directory = absolute(arguments.image.as_deref(), || build.join("image"));
            let image = Image::get(&directory, &root())?;
            eprintln!("image: {} ({})", image.uki.display(), image.version);
            Source::Image(image.hold(held.path())?)
        }
    };
    let accel = accel::best(&kernel_of(&source, held.path())?);
    let mut world = World::new(source, accel, &runs, &root());
    let mut failed = 0;
    let begin = Instant::now();
    for story in &chosen {
        eprintln!("--- {}: {}", story.name, story.claim);
        let began = Instant::now();
        world.begin(story.name);
        match (story.tell)(&mut world) {
            Ok(()) => println!("ok      {} ({} s)", story.name, began.elapsed().as_secs()),
            Err(failure) => {
                failed += 1;
                println!(
                    "FAILED  {} ({} s): {failure}",
                    story.name,
                    began.elapsed().as_secs()
                );
            }
        }
    }
    // The form that `cargo xtask test` counts.
    println!(
        "test result: {}. {} passed; {failed} failed; {} s",
        if failed == 0 { "ok" } else { "FAILED" },
        chosen.len() - failed,
        begin.elapsed().as_secs()
    );
    Ok(failed)
}

/// A kernel to try KVM with.
fn kernel_of(source: &Source, directory: &Path) -> Told<PathBuf> {
    match source {
        Source::Kernel { kernel, .. } => Ok(kernel.clone()),
        Source::Image(image) => match uki::unpack(&image.uki, directory)? {
            Boot::Kernel { kernel, .. } => Ok(kernel),
            other => unreachable!("a UKI unpacks to {other:?}"),
        },
    }
}

fn choose(arguments: &Arguments) -> Told<Vec<&'static Story>> {
    if arguments.names.is_empty() {
        return Ok(STORIES
            .iter()
            .filter(|story| arguments.long || !story.long)
            .collect());
    }
    arguments
        .names
        .iter()
        .map(|name| {
            stories::find(name).ok_or_else(|| {
                qemu_tests::failure::Failure::new(format!(
                    "no story is called {name}; `cargo xtask qemu --list` shows them"
                ))
            })
        })
        .collect()
}

/// Cargo's target directory: this program lies in `PROFILE/` below it.
fn build_directory() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.ancestors().nth(2)?.to_owned()))
        .unwrap_or_else(|| root().join("target"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is one level below the root")
        .to_owned()
}

fn absolute(given: Option<&Path>, otherwise: impl FnOnce() -> PathBuf) -> PathBuf {
    let path = given.map_or_else(otherwise, Path::to_owned);
    std::path::absolute(&path).unwrap_or(path)
}
