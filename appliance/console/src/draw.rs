//! A view on 80 by 24 characters, or more. Plain where the terminal is a serial port.

use plan::Size;
use plan::machine::show_cpus;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use crate::view::{State, View, short};

/// How a screen may look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// `false` on a serial port, where escape sequences would be shown as text.
    pub colours: bool,
}

impl Look {
    /// All is well.
    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// The operator has to act.
    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A colour, where there are colours.
    fn colour(self, colour: Color) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// One screen: name and state above, mail and volume in the middle, alarms below. The alarms get as many lines as they
/// need, five at most.
pub fn draw(frame: &mut Frame<'_>, view: &View, look: Look) {
    // At least one line, so that "no alarms" can be read: an empty box could also be a screen that hangs.
    let alarms = (view.alarms.len() as u16).clamp(1, 5) + 2;
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(5),
        Constraint::Min(8),
        Constraint::Length(alarms),
    ])
    .areas(frame.area());
    draw_head(frame, head, view, look);
    match view.daemon() {
        Some(_) => draw_body(frame, body, view),
        None => draw_waiting(frame, body, view),
    }
    draw_alarms(frame, foot, view, look);
}

/// Name, version, state and addresses.
fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View, look: Look) {
    let known = &view.known;
    let (word, style) = match &view.state {
        State::Booting => ("STARTING: looking for settings", Style::new()),
        State::SetUp => ("NOT SET UP: this appliance has no settings", look.bad()),
        State::Failed(_) => ("FAILED", look.bad()),
        State::Starting { late: false } => ("STARTING: the mail engine", Style::new()),
        State::Starting { late: true } => ("LATE: the mail engine does not answer", look.bad()),
        State::Serving => ("SERVING: accepts mail", look.good()),
        State::Refusing(_) => ("ACCEPTS NO MAIL", look.bad()),
    };
    let boot = known.boot.as_ref();
    let name = boot.and_then(|boot| boot.server_name.clone());
    let version = boot.map_or("", |boot| boot.version.as_str());
    let addresses = match known.addresses.is_empty() {
        true => "no address yet".to_owned(),
        false => known.addresses.join("  "),
    };
    let mut lines = vec![
        Line::from(vec![
            Span::styled(
                view.brand.name.clone(),
                Style::new().add_modifier(Modifier::BOLD),
            ),
            Span::raw(format!(" {version}  {}", name.unwrap_or_default())),
        ]),
        Line::styled(word.to_owned(), style),
        Line::raw(addresses),
        Line::raw(known.clock.clone()),
    ];
    if let Some(profile) = boot.and_then(|boot| boot.profile.as_ref()) {
        let pinned = if profile.pinned { " (pinned)" } else { "" };
        lines[3].push_span(format!("   profile {}{pinned}", profile.name));
    }
    let widest = view.brand.logo.iter().map(|line| line.chars().count());
    let width = widest.max().unwrap_or(0) as u16;
    let [text, logo] = Layout::horizontal([
        Constraint::Min(42),
        // The logo goes first when the terminal is narrow.
        Constraint::Length(if area.width >= width + 44 { width } else { 0 }),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(lines), text);
    let logo_lines: Vec<Line<'_>> = view
        .brand
        .logo
        .iter()
        .map(|line| Line::raw(line.clone()))
        .collect();
    frame.render_widget(Paragraph::new(logo_lines), logo);
}

/// What is shown while no daemon answers.
fn draw_waiting(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let mut lines = Vec::new();
    match &view.state {
        State::Failed(why) => {
            lines.push("It does not start, because:".to_owned());
            lines.push(String::new());
            lines.push(why.clone());
            lines.push(String::new());
            lines.push(
                "Mail on the legs is unchanged. Correct the settings and restart.".to_owned(),
            );
        }
        State::SetUp => lines.push("Press Enter to set it up here.".to_owned()),
        State::Starting { late: true } => {
            lines.push("It was started and does not answer. The reason is in the log.".to_owned())
        }
        _ => lines.push("Please wait.".to_owned()),
    }
    if let Some(boot) = &view.known.boot {
        lines.push(String::new());
        if let Some(settings) = &boot.settings {
            lines.push(format!("settings from {settings}"));
        }
        for leg in &boot.legs {
            lines.push(format!("leg {leg}"));
        }
        if let Some(profile) = &boot.profile {
            lines.push(format!("profile {}: {}", profile.name, profile.why));
        }
    }
    let text: Vec<Line<'_>> = lines.into_iter().map(Line::raw).collect();
    let block = Block::new().borders(Borders::TOP);
    frame.render_widget(
        Paragraph::new(text).wrap(Wrap { trim: true }).block(block),
        area,
    );
}

/// Two columns, while a daemon answers.
fn draw_body(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(area);
    frame.render_widget(
        Paragraph::new(left_lines(view)).block(Block::new().borders(Borders::TOP).title(" mail ")),
        left,
    );
    frame.render_widget(
        Paragraph::new(right_lines(view)).block(
            Block::new()
                .borders(Borders::TOP)
                .title(" volume and zones "),
        ),
        right,
    );
}

/// Mail: totals, rates, services.
fn left_lines(view: &View) -> Vec<Line<'static>> {
    let Some(daemon) = view.daemon() else {
        return Vec::new();
    };
    let status = &daemon.status;
    let mut lines = vec![
        format!(
            "accepted {} messages, {}",
            status.messages_accepted,
            Size(status.bytes_accepted)
        ),
        format!(
            "{:.1}/s messages  {}/s  {:.1}/s conn",
            view.rates.messages,
            Size(view.rates.bytes as u64),
            view.rates.connections
        ),
        format!(
            "storage queue {} waiting, {} under way",
            status.owner_waiting, status.owner_under_way
        ),
        format!("being received {}", Size(status.receive_memory_bytes)),
        String::new(),
        format!("{:<7}{:>6}{:>9}  {}", "SERVICE", "OPEN", "SINCE UP", "ON"),
    ];
    for service in &status.services {
        lines.push(format!(
            "{:<7}{:>6}{:>9}  {}",
            service.service,
            service.open,
            service.accepted,
            service.addresses.first().map_or("", |on| on.as_str())
        ));
    }
    lines.into_iter().map(Line::raw).collect()
}

/// Volume: legs, paths, zones.
fn right_lines(view: &View) -> Vec<Line<'static>> {
    let Some(daemon) = view.daemon() else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for volume in &daemon.volumes {
        lines.push(format!(
            "volume {} {}  {}/{} free",
            short(&volume.id),
            volume.state,
            volume.segments_free,
            volume.segments
        ));
    }
    for leg in &daemon.status.legs {
        let progress = match leg.progress {
            Some((done, all)) if all > 0 => format!(" {} %", done.min(all) * 100 / all),
            _ => String::new(),
        };
        let path = leg.path.as_deref().unwrap_or("absent");
        // A path by id is longer than half a screen, and its last part is what is printed on the drive.
        let name = path.rsplit('/').next().unwrap_or(path);
        lines.push(format!("leg {} {}{progress}  {name}", leg.index, leg.state));
    }
    for node in &daemon.status.storage_nodes {
        let works = if node.up { "works" } else { "failed" };
        lines.push(format!("{} {works}  {}", node.name, node.address));
    }
    for node in &daemon.status.front {
        let works = if node.up { "works" } else { "failed" };
        lines.push(format!("{} {works}  {}", node.name, node.address));
    }
    for target in san_targets(&view.known.san) {
        lines.push(target);
    }
    lines.push(String::new());
    for zone in plan::Zone::ALL {
        if !daemon.plan.runs(zone) {
            continue;
        }
        let cpus: Vec<usize> = daemon
            .plan
            .cores_of(zone)
            .filter_map(|core| core.cpu)
            .collect();
        let where_ = match cpus.is_empty() {
            true => "not pinned".to_owned(),
            false => format!("CPU {}", show_cpus(&cpus)),
        };
        let threads = daemon.plan.cores_of(zone).count();
        let threads_word = if threads == 1 { "thread" } else { "threads" };
        lines.push(format!(
            "{:<8} {threads} {threads_word}  {where_}",
            zone.name()
        ));
    }
    let nics = &view.known.shape.nics;
    for nic in nics {
        let link = if nic.up { "up" } else { "no link" };
        lines.push(format!(
            "{:<8} {} {} queues  {link}",
            nic.name, nic.driver, nic.queues
        ));
    }
    lines.into_iter().map(Line::raw).collect()
}

/// How many paths lead to each target.
fn san_targets(paths: &[hardware::san::PathLine]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let same = |other: &&hardware::san::PathLine| other.target == path.target;
        if paths[..index].iter().any(|other| same(&other)) {
            continue;
        }
        let all = paths.iter().filter(same).count();
        let usable = paths.iter().filter(same).filter(|path| path.usable).count();
        lines.push(format!(
            "{} {usable} of {all} paths  {}",
            path.kind, path.target
        ));
    }
    lines
}

/// The alarms, the worst first. What does not fit is counted out by a last line that names the command that shows it.
fn draw_alarms(frame: &mut Frame<'_>, area: Rect, view: &View, look: Look) {
    let title = match view.alarms.len() {
        0 => " no alarms ".to_owned(),
        1 => " 1 alarm ".to_owned(),
        count => format!(" {count} alarms "),
    };
    let mut lines: Vec<Line<'_>> = Vec::new();
    if let State::Refusing(why) = &view.state {
        lines.push(Line::styled(
            format!("no mail is accepted: {why}"),
            look.bad(),
        ));
    }
    lines.extend(
        view.alarms
            .iter()
            .map(|alarm| Line::styled(alarm.clone(), look.bad())),
    );
    let room = usize::from(area.height.saturating_sub(1));
    if lines.len() > room {
        lines.truncate(room.saturating_sub(1));
        lines.push(Line::raw("… and more: ringpostctl status"));
    }
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
pub(crate) mod tests;
