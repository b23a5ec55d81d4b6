//! Messages for chats: Telegram, Discord, Microsoft Teams. Nothing of a text is markup there, and nobody is mentioned.

use crate::message::one_line;
use crate::payload::{Event, EventKind, Payload, first_bytes};
use serde_json::json;

/// A Telegram message at most, in bytes; Telegram refuses more than 4,096 characters ("sendMessage").
const TELEGRAM_BYTES: usize = 4_000;
/// A Discord message at most, in bytes; Discord refuses more than 2,000 characters ("Execute Webhook").
const DISCORD_BYTES: usize = 1_900;
/// The text of a card at most, in bytes; Teams refuses cards of more than 28 KB, and each line has its own frame.
const TEAMS_BYTES: usize = 8_000;
/// Lines of a card at most.
const TEAMS_LINES: usize = 60;

/// For the method `sendMessage` of a bot; the secret is the chat. Without a `parse_mode`, text is only text.
pub(crate) fn telegram(event: &Event, chat: Option<&str>) -> Payload {
    let text = format!("{} {}\n{}", sign(event), one_line(&event.title), event.text);
    Payload::json(&json!({
        "chat_id": chat.unwrap_or_default(),
        "text": first_bytes(&text, TELEGRAM_BYTES),
        "link_preview_options": { "is_disabled": true },
    }))
}

/// For the webhook of a channel.
pub(crate) fn discord(event: &Event) -> Payload {
    let text = format!(
        "{} **{}**\n{}",
        sign(event),
        unmarked(&one_line(&event.title)),
        unmarked(&event.text)
    );
    Payload::json(&json!({
        "content": first_bytes(&text, DISCORD_BYTES),
        "allowed_mentions": { "parse": [] },
        // SUPPRESS_EMBEDS: no preview of a link is fetched.
        "flags": 4,
    }))
}

/// What Discord would read as markup.
fn unmarked(text: &str) -> String {
    let is_markup = |c| "\\*_~`|>#[]<-".contains(c);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_markup(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// For a workflow "When a Teams webhook request is received": a message with an Adaptive Card. Its runs of text know no
/// markup, unlike its text blocks.
pub(crate) fn teams(event: &Event) -> Payload {
    let colour = match event.kind {
        EventKind::Failure | EventKind::Alert => "Attention",
        EventKind::Success if event.has_warnings() => "Warning",
        EventKind::Success | EventKind::Recovered => "Good",
        EventKind::Start => "Default",
    };
    let run = |text: &str| json!({ "type": "TextRun", "text": text });
    let mut title = run(&one_line(&event.title));
    title["weight"] = "Bolder".into();
    title["color"] = colour.into();
    let text = first_bytes(&event.text, TEAMS_BYTES);
    let lines = text.lines().take(TEAMS_LINES).map(run);
    let blocks = std::iter::once(title).chain(lines);
    let body: Vec<_> = blocks
        .map(|run| json!({ "type": "RichTextBlock", "spacing": "Small", "inlines": [run] }))
        .collect();
    Payload::json(&json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    }))
}

/// What is seen before anything is read.
fn sign(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Failure => "\u{1f6a8}",
        EventKind::Alert => "\u{26a0}\u{fe0f}",
        EventKind::Success if event.has_warnings() => "\u{26a0}\u{fe0f}",
        EventKind::Success | EventKind::Recovered => "\u{2705}",
        EventKind::Start => "\u{23f3}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup_for_discord() {
        assert_eq!(
            unmarked("a_b **c** @x <#1>"),
            "a\\_b \\*\\*c\\*\\* @x \\<\\#1\\>"
        );
    }
}
