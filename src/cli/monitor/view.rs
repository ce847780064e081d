//! The monitor's own health as a person at a terminal reads it: one page of at most 80 columns, but for sentences. Pure.

use serde_json::Value;

use crate::cli::check_view::{Paint, clean};
use crate::system::threshold::{size, span};

/// Cells of a trend.
const CELLS: usize = 24;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The figures whose course is drawn, and what they are called.
const DRAWN: [(&str, &str); 8] = [
    ("store.write_ms", "store write"),
    ("store.bytes", "store size"),
    ("disk.free_percent", "disk free"),
    ("actors.lag_p99_ms", "lag p99"),
    ("cluster.outbox_results", "in outboxes"),
    ("process.cpu_percent", "CPU"),
    ("process.rss_bytes", "memory"),
    ("api.p95_ms", "API p95"),
];

pub fn render(health: &Value, paint: Paint) -> String {
    let mut page = Page { text: String::new(), paint };
    page.head(health);
    page.parts(health);
    page.dependencies(health);
    page.trend(&health["trend"]);
    page.text
}

struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn head(&mut self, health: &Value) {
        let word = word(&health["status"]);
        let painted = match word {
            "healthy" => self.paint.green(word),
            "degraded" => self.paint.yellow(word),
            _ => self.paint.red(word),
        };
        let at = word_of_time(&health["collected_at"]);
        let gap = 78usize.saturating_sub("probemesh  ".len() + word.len() + at.len());
        let line = format!("{}  {painted}{:gap$}{}", self.paint.bold("probemesh"), "", self.paint.dim(&at));
        self.line(&line);
        self.line("");
        for reason in list(&health["reasons"]) {
            let mark = if reason["severity"] == "critical" { self.paint.red("✗") } else { self.paint.yellow("!") };
            let line = format!("  {mark} {}", clean(word_or(&reason["text"], "")));
            self.line(&line);
            let since = format!("since {}", word_of_time(&reason["since"]));
            let next = reason["next_step"].as_str().map_or_else(|| since.clone(), |next| format!("{since}; {next}"));
            let line = format!("    {}", self.paint.dim(&clean(&next)));
            self.line(&line);
        }
        if !list(&health["reasons"]).is_empty() {
            self.line("");
        }
    }

    fn part(&mut self, name: &str, facts: &[Option<String>]) {
        let facts: Vec<&str> = facts.iter().flatten().map(String::as_str).collect();
        let name = self.paint.dim(&format!("{name:<13}"));
        self.line(&format!("  {name}{}", facts.join("   ")));
    }

    fn parts(&mut self, health: &Value) {
        let (store, disk, cluster, actors) = (&health["store"], &health["disk"], &health["cluster"], &health["actors"]);
        let (process, api) = (&health["process"], &health["api"]);
        let figure = |part: &Value, name: &str, show: &dyn Fn(f64) -> String| part[name].as_f64().map(show);
        if store["connected"] == true {
            self.part(
                "store",
                &[
                    figure(store, "write_ms", &|ms| format!("write {}", milliseconds(ms))),
                    figure(store, "read_ms", &|ms| format!("read {}", milliseconds(ms))),
                    figure(store, "bytes", &size),
                    figure(store, "growth_bytes_per_day", &|bytes| format!("{}{} a day", if bytes >= 0.0 { "+" } else { "" }, size(bytes))),
                ],
            );
        } else {
            let error = self.paint.red(&clean(word_or(&store["error"], "away")));
            self.part("store", &[Some(error)]);
        }
        self.part(
            "disk",
            &[
                figure(disk, "free_percent", &|percent| format!("{percent:.1} % free")),
                figure(disk, "free_bytes", &size),
                figure(disk, "full_in_days", &|days| format!("full in {days:.0} days")),
            ],
        );
        self.part(
            "cluster",
            &[
                figure(cluster, "nodes_connected", &|count| format!("{count} {} connected", plural(count, "node"))),
                cluster["nodes_lost"].as_f64().filter(|count| *count > 0.0).map(|count| format!("{count} lost")),
                cluster["nodes_blind"].as_f64().filter(|count| *count > 0.0).map(|count| format!("{count} blind")),
                figure(cluster, "outbox_results", &|count| format!("{count} {} in outboxes", plural(count, "result"))),
                cluster["outbox_oldest_s"].as_f64().filter(|age| *age >= 1.0).map(|age| format!("{} old", span(age))),
                figure(cluster, "clock_offset_ms", &|ms| format!("clocks within {}", milliseconds(ms))),
            ],
        );
        self.part(
            "actors",
            &[
                figure(actors, "restarts", &|count| format!("{count} {}", plural(count, "restart"))),
                figure(actors, "quarantined", &|count| format!("{count} quarantined")),
                figure(actors, "lag_p50_ms", &|ms| format!("lag p50 {}", milliseconds(ms))),
                figure(actors, "lag_p99_ms", &|ms| format!("p99 {}", milliseconds(ms))),
                figure(actors, "checks_per_s", &|rate| format!("{rate:.1} checks/s")),
            ],
        );
        self.part(
            "process",
            &[
                figure(process, "cpu_percent", &|percent| format!("CPU {percent:.1} %")),
                figure(process, "rss_bytes", &|bytes| format!("memory {}", size(bytes))),
                figure(process, "descriptors", &|count| {
                    let share = process["descriptors_percent"].as_f64().map_or_else(String::new, |percent| format!(" ({percent:.1} %)"));
                    format!("{count} files open{share}")
                }),
                figure(process, "threads", &|count| format!("{count} threads")),
            ],
        );
        self.part(
            "API",
            &[
                figure(api, "requests_per_s", &|rate| format!("{rate:.2} requests/s")),
                figure(api, "p95_ms", &|ms| format!("p95 {}", milliseconds(ms))),
                figure(api, "error_percent", &|percent| format!("{percent:.1} % failed")),
            ],
        );
        self.part("logs", &[figure(&health["logs"], "bytes", &size)]);
        let mut ends: Vec<(f64, &str)> =
            list(&health["certificates"]["list"]).iter().filter_map(|one| Some((one["days"].as_f64()?, one["of"].as_str()?))).collect();
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        if !ends.is_empty() {
            let facts: Vec<Option<String>> =
                ends.iter().take(3).map(|(days, of)| Some(format!("{} ends in {days:.0} days", clean(of)))).collect();
            self.part("certificates", &facts);
        }
    }

    fn dependencies(&mut self, health: &Value) {
        let dependencies = list(&health["dependencies"]);
        if dependencies.is_empty() {
            return;
        }
        self.line("");
        let widest = |of: &dyn Fn(&Value) -> usize| dependencies.iter().map(of).max().unwrap_or(0);
        let name = widest(&|one| word(&one["name"]).chars().count());
        for one in dependencies {
            let state = word(&one["state"]);
            let mark = match state {
                "up" => self.paint.green("●"),
                "slow" | "failing" => self.paint.yellow("●"),
                "down" => self.paint.red("✗"),
                _ => self.paint.dim("○"),
            };
            let latency = one["latency_ms"].as_f64().map_or_else(String::new, milliseconds);
            let said = match one["error"]["message"].as_str() {
                Some(message) => format!("{}: {}", word(&one["error"]["phase"]), clean(message)),
                None => clean(word_or(&one["version"], "")),
            };
            let line = format!("  {mark} {:<name$}  {:<10}  {state:<7}  {latency:>8}  {said}", word(&one["name"]), word(&one["kind"]));
            self.line(&line);
        }
    }

    fn trend(&mut self, trend: &Value) {
        let courses = list(&trend["figures"]);
        if courses.is_empty() {
            return;
        }
        self.line("");
        let hours = trend["hours"].as_u64().unwrap_or(0);
        let head = format!("  {:<13}{:<CELLS$}  {:>9} {:>9} {:>9}", format!("last {hours} h"), "", "least", "mean", "most");
        let head = self.paint.dim(&head);
        self.line(&head);
        let named = |path: &str| courses.iter().find(|course| course["name"] == path);
        let fixed = DRAWN.iter().filter_map(|(path, name)| Some(((*name).to_owned(), named(path)?)));
        let dependencies = courses.iter().filter_map(|course| {
            let name = course["name"].as_str()?.strip_prefix("dependencies.")?.strip_suffix(".latency_ms")?;
            Some((name.chars().take(12).collect(), course))
        });
        let all: Vec<(String, &Value)> = fixed.chain(dependencies).collect();
        for (name, course) in all {
            self.course(&name, course);
        }
    }

    fn course(&mut self, name: &str, course: &Value) {
        let means: Vec<f64> = list(&course["points"]).iter().filter_map(|point| point["mean"].as_f64()).collect();
        let unit = word(&course["unit"]);
        let show = |value: &Value| value.as_f64().map_or_else(String::new, |value| quantity(value, unit));
        let direction = match word(&course["direction"]) {
            "rising" => "↗",
            "falling" => "↘",
            "steady" => "→",
            _ => "",
        };
        let line = format!(
            "  {}{:<CELLS$}  {:>9} {:>9} {:>9} {direction}",
            self.paint.dim(&format!("{name:<13}")),
            sparkline(&means),
            show(&course["min"]),
            show(&course["mean"]),
            show(&course["max"]),
        );
        self.line(&line);
    }
}

/// Values as bars, the newest at the right; from nought, unless all of it lies close together.
fn sparkline(values: &[f64]) -> String {
    let values: Vec<f64> = match values.len() {
        0 => return String::new(),
        count if count <= CELLS => values.to_vec(),
        count => (0..CELLS)
            .map(|cell| {
                let part = &values[cell * count / CELLS..((cell + 1) * count / CELLS).max(cell * count / CELLS + 1)];
                part.iter().sum::<f64>() / part.len() as f64
            })
            .collect(),
    };
    let (least, most) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(*value), most.max(*value)));
    let bar = |value: &f64| match most > least {
        true => BARS[(((value - least) / (most - least)) * 7.0).round() as usize],
        false => BARS[0],
    };
    values.iter().map(bar).collect()
}

fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "ms" => milliseconds(value),
        "bytes" | "bytes/day" => size(value),
        "percent" => format!("{value:.1} %"),
        "s" => span(value),
        _ => format!("{}", (value * 10.0).round() / 10.0),
    }
}

fn milliseconds(ms: f64) -> String {
    match ms {
        ..1.0 => format!("{ms:.2} ms"),
        ..10.0 => format!("{ms:.1} ms"),
        ..10_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.0} s", ms / 1e3),
    }
}

fn plural(count: f64, one: &str) -> String {
    if count == 1.0 { one.to_owned() } else { format!("{one}s") }
}

/// `2026-11-22T10:15:02.123Z` as `2026-11-22 10:15:02 UTC`.
fn word_of_time(value: &Value) -> String {
    let text = word(value);
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => clean(text),
    }
}

fn word(value: &Value) -> &str {
    word_or(value, "unknown")
}

fn word_or<'a>(value: &'a Value, otherwise: &'a str) -> &'a str {
    value.as_str().unwrap_or(otherwise)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page() -> Value {
        let course = |name: &str, unit: &str, points: &[f64], direction: &str| {
            let all: Vec<Value> = points.iter().map(|mean| json!({"at": "", "min": mean, "mean": mean, "max": mean})).collect();
            json!({"name": name, "unit": unit, "points": all, "direction": direction, "min": points[0], "mean": points[1], "max": points[2]})
        };
        json!({
            "status": "degraded",
            "collected_at": "2026-11-22T10:15:02.123Z",
            "reasons": [{"severity": "warning", "text": "dependency cache (redis) is down: connect: connection refused by 127.0.0.1:6379",
                "since": "2026-11-22T10:02:00.000Z", "next_step": "see whether the server runs"}],
            "store": {"connected": true, "write_ms": 0.42, "read_ms": 0.11, "bytes": 12_345_678, "growth_bytes_per_day": 1.2e6},
            "disk": {"free_percent": 45.23, "free_bytes": 12e9, "full_in_days": null},
            "cluster": {"nodes_connected": 1.0, "nodes_lost": 0.0, "nodes_blind": 0.0, "outbox_results": 0.0, "outbox_oldest_s": 0.0},
            "actors": {"restarts": 1.0, "quarantined": 0.0, "lag_p50_ms": 0.5, "lag_p99_ms": 2.0},
            "process": {"cpu_percent": 2.13, "rss_bytes": 81e6, "descriptors": 57.0, "descriptors_percent": 5.6, "threads": 24.0},
            "api": {"requests_per_s": 0.25, "p95_ms": null},
            "logs": {"bytes": 1500.0},
            "certificates": {"list": [{"of": "authority", "days": 3649.2}, {"of": "node eu-1", "days": 29.5}]},
            "dependencies": [
                {"name": "cache", "kind": "redis", "state": "down", "latency_ms": 0.2,
                 "error": {"phase": "connect", "message": "connection refused by 127.0.0.1:6379"}},
                {"name": "orders", "kind": "postgresql", "state": "up", "latency_ms": 4.0, "version": "15.14\u{1b}[2J"}],
            "trend": {"hours": 24, "figures": [course("store.write_ms", "ms", &[0.2, 0.4, 3.1, 0.3], "steady"),
                course("dependencies.orders.latency_ms", "ms", &[1.0, 2.0, 9.0, 8.0], "rising")]},
        })
    }

    #[test]
    fn the_page_says_what_is_wrong_first_and_draws_the_rest() {
        insta::assert_snapshot!(render(&page(), Paint(false)), @r"
        probemesh  degraded                                    2026-11-22 10:15:02 UTC

          ! dependency cache (redis) is down: connect: connection refused by 127.0.0.1:6379
            since 2026-11-22 10:02:00 UTC; see whether the server runs

          store        write 0.42 ms   read 0.11 ms   12.3 MB   +1.2 MB a day
          disk         45.2 % free   12.0 GB
          cluster      1 node connected   0 results in outboxes
          actors       1 restart   0 quarantined   lag p50 0.50 ms   p99 2.0 ms
          process      CPU 2.1 %   memory 81.0 MB   57 files open (5.6 %)   24 threads
          API          0.25 requests/s
          logs         1.5 kB
          certificates node eu-1 ends in 30 days   authority ends in 3649 days

          ✗ cache   redis       down      0.20 ms  connect: connection refused by 127.0.0.1:6379
          ● orders  postgresql  up         4.0 ms  15.14 [2J

          last 24 h                                  least      mean      most
          store write  ▁▁█▁                        0.20 ms   0.40 ms    3.1 ms →
          orders       ▁▂█▇                         1.0 ms    2.0 ms    9.0 ms ↗
        ");
    }

    #[test]
    fn without_colour_there_is_no_escape_and_with_it_the_same_words() {
        let (plain, coloured) = (render(&page(), Paint(false)), render(&page(), Paint(true)));
        assert!(!plain.contains('\x1b') && coloured.contains("\x1b[33mdegraded\x1b[0m"));
        let mut bare = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            bare.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        bare.push_str(rest);
        assert_eq!(bare.split_whitespace().collect::<Vec<_>>(), plain.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn a_sparkline_has_no_more_cells_than_there_is_room_for() {
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(sparkline(&many).chars().count(), CELLS);
        assert!(sparkline(&many).starts_with('▁') && sparkline(&many).ends_with('█'));
        assert_eq!((sparkline(&[]).as_str(), sparkline(&[5.0, 5.0]).as_str()), ("", "▁▁"));
    }
}
