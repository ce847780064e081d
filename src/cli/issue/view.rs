//! Issues and figures as text for the terminal.

use std::fmt::Write as _;

use serde_json::Value;

pub fn table(found: &Value) -> String {
    let issues = list(&found["results"]);
    if issues.is_empty() {
        return "no issues\n".to_owned();
    }
    let mut out = format!("{:>5}  {:<11} {:<8} {:<8} {:<16} TITLE\n", "ID", "STATUS", "PRIORITY", "TYPE", "ASSIGNEE");
    for issue in issues {
        let assignee = issue["assignee"].as_str().unwrap_or("-");
        let _ = writeln!(
            out,
            "{:>5}  {:<11} {:<8} {:<8} {assignee:<16} {}",
            issue["id"].to_string(),
            text(&issue["status"]),
            text(&issue["priority"]),
            text(&issue["issue_type"]),
            text(&issue["title"])
        );
    }
    let count = found["count"].as_u64().unwrap_or(0);
    if count > issues.len() as u64 {
        let _ = writeln!(out, "{} of {count}; --limit shows more", issues.len());
    }
    out
}

pub fn detail(issue: &Value) -> String {
    let mut out = format!("{}  {}\n\n", issue["id"], text(&issue["title"]));
    let named = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
    let service = issue["service"].as_u64().map(|id| format!("{} ({id})", text(&issue["service_name"])));
    let fields = [
        ("status", format!("{}; next: {}", text(&issue["status"]), words(&issue["allowed"]))),
        ("type", named(&issue["issue_type"])),
        ("priority", named(&issue["priority"])),
        ("assignee", named(&issue["assignee"])),
        ("reporter", named(&issue["reporter"])),
        ("labels", words(&issue["labels"])),
        ("service", service.unwrap_or_else(|| "-".to_owned())),
        ("incident", named(&issue["incident"])),
        ("finding", named(&issue["finding"])),
        ("created", named(&issue["created_at"])),
        ("updated", named(&issue["updated_at"])),
        ("triaged", named(&issue["triaged_at"])),
        ("resolved", named(&issue["resolved_at"])),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty() && value != "-") {
        let _ = writeln!(out, "{name:<9} {value}");
    }
    let description = text(&issue["description"]);
    if !description.trim().is_empty() {
        let _ = write!(out, "\n{}\n", description.trim_end());
    }
    for comment in list(&issue["comments"]) {
        let edited = comment["edited_at"].as_str().map_or_else(String::new, |at| format!(", edited {at}"));
        let _ = write!(
            out,
            "\n── {} {}{edited}\n{}\n",
            text(&comment["author"]),
            text(&comment["created_at"]),
            text(&comment["body"]).trim_end()
        );
    }
    out.push_str("\n── history\n");
    for change in list(&issue["history"]) {
        let fields: Vec<String> = list(&change["changes"])
            .iter()
            .map(|field| match text(&field["field"]) {
                "description" => "description".to_owned(),
                name => format!("{name} {} → {}", named(&field["from"]), named(&field["to"])),
            })
            .collect();
        let _ = writeln!(out, "{} {}: {} ({})", text(&change["at"]), text(&change["who"]), fields.join(", "), text(&change["why"]));
    }
    out
}

pub fn statistics(figures: &Value) -> String {
    let hours = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{:.1} h", seconds / 3_600.0));
    let mut out = String::new();
    let now = ["open", "in_progress", "resolved", "wont_do"].map(|name| format!("{} {}", figures[name], name.replace('_', " ")));
    let _ = writeln!(out, "now             {}", now.join(", "));
    for (title, field) in [("by type", "by_type"), ("by priority", "by_priority")] {
        let open: Vec<String> =
            figures[field].as_object().into_iter().flatten().map(|(name, tally)| format!("{name} {}", tally["open"])).collect();
        let _ = writeln!(out, "open {title:<10} {}", open.join(", "));
    }
    let whose: Vec<String> = list(&figures["by_assignee"])
        .iter()
        .filter(|one| one["open"].as_u64() > Some(0))
        .map(|one| format!("{} {}", one["assignee"].as_str().unwrap_or("nobody"), one["open"]))
        .collect();
    let _ = writeln!(out, "open by user    {}", whose.join(", "));
    for (title, field) in [("age of the open", "age_of_open"), ("time to triage", "time_to_triage"), ("time to resolve", "time_to_resolve")]
    {
        let spans = &figures[field];
        let _ = writeln!(out, "{title:<15} median {}, p95 {} (of {})", hours(&spans["median_s"]), hours(&spans["p95_s"]), spans["count"]);
    }
    let share = figures["resolved_under_48h_share"].as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let _ = writeln!(
        out,
        "under 48 h      {share} of those resolved in {} days; {} were reported",
        figures["days"], figures["created_in_period"]
    );
    out
}

pub fn imported(done: &Value) -> String {
    let mut out = format!("{} issues taken in, {} were here already\n", done["created"], done["unchanged"]);
    let moved = done["ids"].as_object().into_iter().flatten().filter(|(from, to)| **from != to.to_string());
    for (from, to) in moved {
        let _ = writeln!(out, "  {from} is {to} here");
    }
    let unlinked = list(&done["unlinked"]);
    if !unlinked.is_empty() {
        let _ = writeln!(out, "  linked to no service any more: {}", unlinked.iter().map(Value::to_string).collect::<Vec<_>>().join(", "));
    }
    out
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

pub fn words(value: &Value) -> String {
    list(value).iter().map(text).collect::<Vec<_>>().join(", ")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
