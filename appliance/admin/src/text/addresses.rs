//! Aliases, groups and routes, for people.

use serde_json::Value;

use crate::addresses::{AliasDetail, AliasLine, Ask, GroupDetail, GroupLine, RouteLine};
use crate::table::table;
use crate::text::typed;

/// The text for the answer to `ask`.
pub fn show(ask: &Ask, value: &Value) -> Result<String, String> {
    Ok(match ask {
        Ask::AliasList => aliases(&typed::<Vec<AliasLine>>(value)?),
        Ask::AliasShow { .. } => alias(&typed(value)?),
        Ask::GroupList => groups(&typed::<Vec<GroupLine>>(value)?),
        Ask::GroupShow { .. } => group(&typed(value)?),
        Ask::RouteList => routes(&typed::<Vec<RouteLine>>(value)?),
        Ask::GroupAdd { .. } => format!("{} added", typed::<usize>(value)?),
        Ask::GroupDrop { .. } => format!("{} dropped", typed::<usize>(value)?),
        _ => "done".to_owned(),
    })
}

fn aliases(lines: &[AliasLine]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| vec![line.name.clone(), line.targets.join(" ")])
        .collect();
    table(&["ALIAS", "TARGETS"], &rows)
}

fn list(word: &str, items: &[String]) -> String {
    match items {
        [] => String::new(),
        items => format!("{word:<11}{}\n", items.join(&format!("\n{:<11}", ""))),
    }
}

/// What was written (`targets`) and what comes of it now (`here`, `elsewhere`) are apart, since an alias may lead through others.
fn alias(detail: &AliasDetail) -> String {
    let mut text = format!("alias      {}\n", detail.alias.name);
    text += &list("targets", &detail.alias.targets);
    text += &list("here", &detail.here);
    text += &list("elsewhere", &detail.elsewhere);
    text += &list("send as", &detail.granted);
    if let Some(why) = &detail.refused {
        text += &format!("Mail for it is refused: {why}.");
    }
    text.trim_end().to_owned()
}

fn groups(lines: &[GroupLine]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.name.clone(),
                line.members.to_string(),
                line.posters.word().to_owned(),
                line.owner.clone(),
                line.title.clone(),
            ]
        })
        .collect();
    table(&["GROUP", "MEMBERS", "POSTERS", "OWNER", "TITLE"], &rows)
}

fn group(detail: &GroupDetail) -> String {
    let line = &detail.group;
    let mut text = format!(
        "group      {}\ntitle      {}\nowner      {}\nposters    {}\n",
        line.name,
        line.title,
        line.owner,
        line.posters.word()
    );
    text += &list("members", &detail.members);
    text += &list("send as", &detail.granted);
    text.trim_end().to_owned()
}

fn routes(lines: &[RouteLine]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.scope.clone(),
                line.host.clone().unwrap_or_else(|| "here".to_owned()),
                if line.needs_tls { "required" } else { "-" }.to_owned(),
            ]
        })
        .collect();
    table(&["FOR", "TO", "TLS"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_shown_with_what_it_leads_to() {
        let detail = AliasDetail {
            alias: AliasLine {
                name: "sales@example.org".into(),
                targets: vec!["alice@example.org".into(), "x@example.net".into()],
            },
            here: vec!["alice@example.org".into()],
            elsewhere: vec!["x@example.net".into()],
            refused: None,
            granted: vec![],
        };
        let wanted = "alias      sales@example.org\n\
            targets    alice@example.org\n           x@example.net\n\
            here       alice@example.org\n\
            elsewhere  x@example.net";
        assert_eq!(alias(&detail), wanted);
    }
}
