//! `ringpost-console`: one terminal, physical or serial, on standard input and output.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use dashboard::draw::{Look, draw};
use dashboard::gather::{Brand, Gatherer, Known};
use dashboard::limits::{COLUMNS, DRAW_EVERY, REDRAW_EVERY, ROWS};
use dashboard::setup::{self, Lines};
use dashboard::view::{State, View};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent};
use ratatui::crossterm::terminal::{self, disable_raw_mode, enable_raw_mode};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

/// Shows the state of the appliance. Enter starts the set-up if there are no settings; Ctrl-L redraws the screen.
#[derive(Debug, Parser)]
#[command(name = "ringpost-console", version)]
struct Flags {
    /// Name the terminal behind standard input and output; a serial one (/dev/ttyS0) is drawn without colours
    #[arg(long, value_name = "PATH")]
    tty: Option<PathBuf>,
    /// Draw without colours
    #[arg(long)]
    plain: bool,
    /// Use another root directory, to show another appliance's files
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Draw once and exit
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    match live(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = disable_raw_mode();
            eprintln!("ringpost-console: {error}");
            ExitCode::FAILURE
        }
    }
}

fn live(flags: &Flags) -> io::Result<()> {
    let brand = Brand::load(&flags.root);
    let mut gatherer = Gatherer::new(&flags.root);
    let look = Look {
        colours: !(flags.plain || flags.tty.as_deref().is_some_and(is_serial)),
    };
    if flags.once {
        gatherer.look();
        // The answer comes from another thread.
        std::thread::sleep(DRAW_EVERY);
    }
    // Once, as a line of its own: a reader on the serial port reads lines.
    println!("RINGPOST DASHBOARD");
    let typed = io::stdin().is_terminal() && !flags.once;
    if typed {
        enable_raw_mode()?;
    }
    let mut screen = screen()?;
    let mut before: Option<Known> = None;
    let mut drawn = Instant::now();
    loop {
        // until the process is ended
        let view = View::new(&brand, gatherer.look(), before.as_ref());
        screen.draw(|frame| draw(frame, &view, look))?;
        if flags.once {
            println!();
            return Ok(());
        }
        match wait(typed)? {
            Some(key) if key.code == KeyCode::Enter && view.state == State::SetUp => {
                disable_raw_mode()?;
                screen.backend_mut().clear()?;
                screen.show_cursor()?;
                set_up(&flags.root, &view.known)?;
                enable_raw_mode()?;
                screen = self::screen()?;
            }
            // Any other key: the screen may have been written on.
            Some(_) => screen = self::screen()?,
            None => {}
        }
        if drawn.elapsed() > REDRAW_EVERY {
            screen = self::screen()?;
            drawn = Instant::now();
        }
        before = Some(view.known);
    }
}

/// `/dev/ttyS0`, `/dev/ttyAMA0`, `/dev/ttyUSB0`; a screen is `/dev/tty1`.
fn is_serial(tty: &Path) -> bool {
    let name = tty.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix("tty")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// A cleared terminal, and nothing remembered of it. `Terminal::clear` would ask the terminal where its cursor is; the reader of a serial port may not answer. A serial port does not know its size either.
fn screen() -> io::Result<Terminal<CrosstermBackend<io::Stdout>>> {
    let (columns, rows) = match terminal::size() {
        Ok((columns, rows)) if columns >= COLUMNS && rows >= ROWS => (columns, rows),
        _ => (COLUMNS, ROWS),
    };
    let options = TerminalOptions {
        viewport: Viewport::Fixed(Rect::new(0, 0, columns, rows)),
    };
    let mut screen = Terminal::with_options(CrosstermBackend::new(io::stdout()), options)?;
    screen.backend_mut().clear()?;
    screen.hide_cursor()?;
    Ok(screen)
}

/// A key, or the time for the next look.
fn wait(typed: bool) -> io::Result<Option<KeyEvent>> {
    if !typed {
        std::thread::sleep(DRAW_EVERY);
        return Ok(None);
    }
    if event::poll(DRAW_EVERY)?
        && let Event::Key(key) = event::read()?
    {
        return Ok(Some(key));
    }
    Ok(None)
}

/// Switches on and off what is typed. Not by `stty`: the image has none, and the password stood on the serial line.
fn echo(on: bool) {
    let stdin = io::stdin();
    // What is not a terminal shows nothing that is typed.
    if let Ok(mut settings) = tcgetattr(&stdin) {
        settings.local_flags.set(LocalFlags::ECHO, on);
        let _ = tcsetattr(&stdin, SetArg::TCSADRAIN, &settings);
    }
}

fn set_up(root: &Path, known: &Known) -> io::Result<()> {
    let mut talk = Lines {
        read: io::stdin().lock(),
        write: io::stdout(),
        echo,
        hidden: false,
    };
    let settings = match setup::ask(&mut talk, &known.shape, &|name| {
        hardware::content::look(&root.join("dev").join(name))
    }) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error),
        Err(error) => {
            println!("{error}");
            return Ok(());
        }
    };
    match setup::keep(root, &settings) {
        Ok(()) => println!("Saved. Starting…"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            println!("Another session has completed the set-up.");
        }
        Err(error) => println!("The settings cannot be saved: {error}"),
    }
    let _ = io::stdout().flush();
    for arguments in [
        &["restart", "ringpost-boot.service"][..],
        // They have read what a box without settings gets.
        &["restart", "systemd-networkd.service"],
        &["--no-block", "try-restart", "systemd-timesyncd.service"],
        &["--no-block", "restart", "ringpostd.service"],
    ] {
        match Command::new("systemctl").args(arguments).status() {
            Ok(status) if status.success() => {}
            other => println!("systemctl {}: {other:?}", arguments.join(" ")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_terminals_are_told_from_screens() {
        for (tty, serial) in [
            ("/dev/ttyS0", true),
            ("/dev/ttyAMA0", true),
            ("/dev/tty1", false),
            ("/dev/console", false),
        ] {
            assert_eq!(is_serial(Path::new(tty)), serial, "{tty}");
        }
    }
}
