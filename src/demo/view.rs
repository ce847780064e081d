//! The report of the demo, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::demo::plan::Plan;
use crate::demo::score::{Judged, Outcome, Score};
use crate::demo::steadiness::BUSY;
use crate::demo::{Report, list};

pub fn to_json(report: &Report) -> Value {
    let Report { plan, began, score, findings, digest, recommendations, checks, late } = report;
    json!({
        "seed": plan.seed,
        "began": began.rfc3339(),
        "duration_s": plan.whole().as_secs_f64(),
        "calm_s": plan.calm.as_secs_f64(),
        "troubled_s": plan.troubled.as_secs_f64(),
        "recovery_s": plan.recovery.as_secs_f64(),
        "services": plan.services.iter().map(|service| service.name).collect::<Vec<_>>(),
        "checks": checks,
        "late_p99_ms": late.as_secs_f64() * 1e3,
        "busy": *late > BUSY,
        "precision": score.precision,
        "recall": score.recall,
        "median_delay_s": score.median_delay_s,
        "troubles": score.troubles,
        "judged": score.findings,
        "findings": findings,
        "digest": digest,
        "recommendations": recommendations,
    })
}

pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let Report { plan, score, findings, digest, recommendations, checks, .. } = report;
    head(&mut out, plan, *checks);
    title(&mut out, "Findings");
    for finding in findings {
        let _ = writeln!(out, "  {}: {}", finding["service_name"].as_str().unwrap_or(""), finding["summary"].as_str().unwrap_or(""));
    }
    if findings.is_empty() {
        let _ = writeln!(out, "  none");
    }
    write_digest(&mut out, digest);
    write_recommendations(&mut out, recommendations);
    title(&mut out, "What was done, and what was told of it");
    table(&mut out, score);
    let late = report.late.as_secs_f64() * 1e3;
    let _ = writeln!(out, "this computer served its services up to {late:.0} ms late (99 % of the time)");
    if report.late > BUSY {
        let _ = writeln!(
            out,
            "it was busy otherwise: all of them were slow at times in truth, and what was found of that counts as false here"
        );
    }
    out
}

fn head(out: &mut String, plan: &Plan, checks: u64) {
    let troubled = plan.services.iter().filter(|service| service.trouble.is_some()).count();
    let seconds = plan.whole().as_secs();
    let _ = writeln!(
        out,
        "{} services in 3 regions, {troubled} of them with a trouble made on purpose; {checks} checks in {}:{:02} min (seed {})",
        plan.services.len(),
        seconds / 60,
        seconds % 60,
        plan.seed
    );
}

fn title(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

fn write_digest(out: &mut String, digest: &Value) {
    let Some(headline) = digest["headline"].as_str() else { return };
    title(out, &format!("Digest, written by {}", digest["writer"].as_str().unwrap_or("")));
    let _ = writeln!(out, "  {headline}");
    for paragraph in list(&digest["paragraphs"]).iter().filter_map(Value::as_str) {
        wrapped(out, "  ", paragraph);
    }
    for suggestion in list(&digest["suggestions"]).iter().filter_map(Value::as_str) {
        wrapped(out, "  - ", suggestion);
    }
}

fn write_recommendations(out: &mut String, recommendations: &Value) {
    let Some(all) = recommendations["results"].as_array() else { return };
    title(out, "Recommendations");
    for one in all {
        let text = |field: &str| one[field].as_str().unwrap_or("").to_owned();
        let sure = one["sure"].as_f64().unwrap_or(0.0) * 100.0;
        wrapped(out, "  - ", &format!("{} {} ({sure:.0} % sure)", text("what"), text("advice")));
    }
    if all.is_empty() {
        let _ = writeln!(out, "  none{}", recommendations["missing"].as_str().map(|why| format!(": {why}")).unwrap_or_default());
    }
}

fn table(out: &mut String, score: &Score) {
    let width = |of: &dyn Fn(&Outcome) -> usize| score.troubles.iter().map(of).max().unwrap_or(0);
    let (service, what) = (width(&|outcome| outcome.service.chars().count()), width(&|outcome| outcome.what.chars().count()));
    let _ = writeln!(
        out,
        "  {:<service$}  {:<what$}  {:<6}  {:>7}  {:<6}  {:<9}",
        "service", "trouble", "found", "after", "digest", "recommended"
    );
    for outcome in &score.troubles {
        let found = match (outcome.signal, &outcome.finding) {
            (None, _) => "—".to_owned(),
            (Some(_), None) => "MISSED".to_owned(),
            (Some(_), Some(_)) if outcome.repeats > 0 => format!("{} ×", outcome.repeats + 1),
            (Some(_), Some(_)) => "yes".to_owned(),
        };
        let after = outcome.delay_s.map_or_else(String::new, |delay| format!("{delay:.1} s"));
        let (digest, recommended) = (word(outcome.in_digest), word(outcome.in_recommendations));
        let _ =
            writeln!(out, "  {:<service$}  {:<what$}  {found:<6}  {after:>7}  {digest:<6}  {recommended}", outcome.service, outcome.what);
    }
    for Judged { service, summary, why_false, .. } in &score.findings {
        if let Some(why) = why_false {
            let _ = writeln!(out, "  FALSE  {service}: {summary} — {why}");
        }
    }
    let figure = |figure: Option<f64>| figure.map_or_else(|| "—".to_owned(), |figure| format!("{figure:.2}"));
    let delay = score.median_delay_s.map_or_else(|| "—".to_owned(), |delay| format!("{delay:.1} s"));
    let _ = writeln!(out, "\nprecision {}   recall {}   median delay {delay}", figure(score.precision), figure(score.recall));
}

fn word(told: Option<bool>) -> &'static str {
    match told {
        None => "—",
        Some(true) => "yes",
        Some(false) => "NO",
    }
}

/// Lines of a width that can be read, the first behind `bullet`.
fn wrapped(out: &mut String, bullet: &str, text: &str) {
    let mut line = bullet.to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() > 118 {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(bullet.chars().count());
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(out, "{}", line.trim_end());
}
