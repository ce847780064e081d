//! A message as the JSON of chat services: Slack's blocks, Discord's embeds, the adaptive card of Microsoft Teams.
//!
//! Texts of others stand where the service shows them as they are, wherever it has such a place; elsewhere they are escaped.

use serde_json::{Value, json};

use crate::alert::message::text::{cut, discord, fitted, slack};
use crate::alert::message::{Mood, Part, Parts};
use crate::model::time::Timestamp;

/// For an incoming webhook of Slack. Limits: 150 characters in a header, 3000 in a section, 2000 in a field
/// (<https://docs.slack.dev/reference/block-kit/blocks>).
pub fn slack_message(parts: &Parts) -> Value {
    let mut blocks = vec![];
    for part in &parts.parts {
        blocks.push(match part {
            Part::Fact { label, text } => section(&format!("*{label}*  {}", fitted(text, 2_800, slack))),
            Part::Regions { lines, more } => {
                let mut text: Vec<String> = lines.iter().map(|line| format!("{}  {}  {}", line.region, line.status, line.text)).collect();
                if *more > 0 {
                    text.push(format!("and {more} more regions"));
                }
                // In a block of code nothing has a meaning but its end.
                section(&format!("```{}```", fitted(&text.join("\n").replace('`', "'"), 2_900, slack)))
            }
            Part::Link { url } if url.starts_with("http") => section(&format!("<{}|Look at it>", slack(&url.replace('|', "%7C")))),
            Part::Link { .. } => continue,
        });
    }
    blocks
        .push(json!({"type": "context", "elements": [{"type": "plain_text", "text": fitted(&parts.footer, 300, slack), "emoji": false}]}));
    json!({
        "text": fitted(&parts.first_line, 1_000, slack),
        "mrkdwn": false,
        "unfurl_links": false,
        "attachments": [{"color": format!("#{:06x}", parts.mood.colour()), "fallback": fitted(&parts.first_line, 1_000, slack), "blocks": blocks}],
    })
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// For a webhook of Discord. Limits: 2000 characters of content, 256 in a title and a field's name, 1024 in its value, 25
/// fields, 6000 in all (<https://discord.com/developers/docs/resources/message#embed-object-embed-limits>).
pub fn discord_message(parts: &Parts, since: Timestamp) -> Value {
    let (mut fields, mut url, mut room) = (Vec::new(), None, 4_800_usize);
    for part in &parts.parts {
        let (name, value) = match part {
            Part::Fact { label, text } => (*label, fitted(text, 1_024, discord)),
            Part::Regions { lines, more } => {
                let mut text: Vec<String> = lines.iter().map(|line| format!("{} {}: {}", line.region, line.status, line.text)).collect();
                if *more > 0 {
                    text.push(format!("and {more} more regions"));
                }
                ("Seen from", format!("```\n{}\n```", cut(&text.join("\n").replace('`', "'"), 1_000)))
            }
            Part::Link { url: link } => {
                url = Some(link.clone());
                continue;
            }
        };
        let size = name.len() + value.encode_utf16().count();
        if size <= room {
            room -= size;
            fields.push(json!({"name": name, "value": value, "inline": false}));
        }
    }
    let mut embed = json!({
        "title": fitted(&parts.first_line, 256, discord),
        "color": parts.mood.colour(),
        "timestamp": since.rfc3339(),
        "fields": fields,
        "footer": {"text": cut(&parts.footer, 300)},
    });
    if let Some(url) = url.filter(|url| url.starts_with("http")) {
        embed["url"] = json!(url);
    }
    // The content is what a telephone shows; nobody is mentioned, whatever a text says.
    json!({"content": fitted(&parts.first_line, 400, discord), "embeds": [embed], "allowed_mentions": {"parse": []}})
}

/// For a workflow of Microsoft Teams that takes webhook requests: an adaptive card in a message
/// (<https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook>). Text runs know no Markdown; 28 KB in all.
pub fn teams_message(parts: &Parts) -> Value {
    let colour = match parts.mood {
        Mood::Bad => "attention",
        Mood::Warning => "warning",
        Mood::Good => "good",
        Mood::Neutral => "default",
    };
    let runs = |runs: Value| json!({"type": "RichTextBlock", "inlines": runs, "spacing": "small"});
    let run = |text: &str| json!({"type": "TextRun", "text": text});
    let mut body = vec![json!({
        "type": "RichTextBlock",
        "inlines": [{"type": "TextRun", "text": cut(&parts.first_line, 600), "weight": "bolder", "size": "medium", "color": colour}],
    })];
    let mut actions = vec![];
    for part in &parts.parts {
        match part {
            Part::Fact { label, text } => {
                body.push(runs(json!([{"type": "TextRun", "text": format!("{label}: "), "weight": "bolder"}, run(text)])));
            }
            Part::Regions { lines, more } => {
                for line in lines {
                    let name = format!("{} {}: ", line.region, line.status);
                    body.push(runs(json!([{"type": "TextRun", "text": name, "weight": "bolder"}, run(&line.text)])));
                }
                if *more > 0 {
                    body.push(runs(json!([run(&format!("and {more} more regions"))])));
                }
            }
            Part::Link { url } if url.starts_with("http") => {
                actions.push(json!({"type": "Action.OpenUrl", "title": "Look at it", "url": url}));
            }
            Part::Link { .. } => {}
        }
    }
    body.push(json!({"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": parts.footer, "size": "small", "isSubtle": true}]}));
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": parts.first_line,
        "msteams": {"width": "Full"},
        "body": body,
        "actions": actions,
    });
    json!({
        "type": "message",
        "summary": cut(&parts.first_line, 200),
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card}],
    })
}
