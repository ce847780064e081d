//! `probemesh bench-detector`: the streaming detector over files of samples, exactly as it runs in production.
//!
//! Every CSV below a folder is one series: one fresh detector, one pass, each row scored from the rows up to it alone. Only
//! the two columns `timestamp` and `value` are read; a file's name decides where its scores go and nothing else.

mod healthy;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, NaiveDateTime};
use clap::Args;

use crate::analysis::detector::{Detector, DetectorSettings};
use crate::clock::Clock;
use crate::model::time::Timestamp;

#[derive(Debug, Args)]
pub struct BenchDetectorArgs {
    /// Every CSV `timestamp,value` below this folder is scored
    #[arg(long, requires = "out", required_unless_present = "healthy")]
    data: Option<PathBuf>,
    /// Where `timestamp,value,anomaly_score` goes, under the same relative paths
    #[arg(long, requires = "data")]
    out: Option<PathBuf>,
    /// Instead: false alarms per service-week on so many weeks of synthetic healthy services, cost a sample, state bytes
    #[arg(long, value_name = "WEEKS", conflicts_with_all = ["data", "out"], value_parser = clap::value_parser!(u32).range(1..=520))]
    healthy: Option<u32>,
}

pub fn run(args: &BenchDetectorArgs) -> anyhow::Result<ExitCode> {
    if let Some(weeks) = args.healthy {
        print!("{}", healthy::report(weeks, &Clock::real()));
        return Ok(ExitCode::SUCCESS);
    }
    let (Some(data), Some(out)) = (&args.data, &args.out) else {
        bail!("give --data and --out, or --healthy");
    };
    let done = bench(data, out)?;
    println!("{} files, {} samples", done.files, done.samples);
    Ok(ExitCode::SUCCESS)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub files: usize,
    pub samples: usize,
}

/// Scores every CSV below `data` into `out`. All files are read first, so that a bad one leaves no half of an answer behind.
pub fn bench(data: &Path, out: &Path) -> anyhow::Result<Done> {
    let mut files = Vec::new();
    find(data, &mut files)?;
    if files.is_empty() {
        bail!("{}: no CSV file in it", data.display());
    }
    files.sort();
    let mut scored = Vec::new();
    let mut samples = 0;
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let (answer, rows) = score(file, &text)?;
        samples += rows;
        let below = file.strip_prefix(data).context("a file found below the folder is below it")?;
        scored.push((out.join(below), answer));
    }
    for (target, answer) in &scored {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(target, answer).with_context(|| format!("writing {}", target.display()))?;
    }
    Ok(Done { files: files.len(), samples })
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            files.push(path);
        }
    }
    Ok(())
}

/// The text with a score behind each row, and how many rows there are.
fn score(file: &Path, text: &str) -> anyhow::Result<(String, usize)> {
    let file = file.display();
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
    let column = |name: &str| header.iter().position(|column| *column == name);
    let (Some(at), Some(value)) = (column("timestamp"), column("value")) else {
        bail!("{file}:1: needs the columns timestamp and value, has {:?}", header.join(","));
    };
    let mut detector = Detector::new(&DetectorSettings::default());
    let mut answer = String::from("timestamp,value,anomaly_score\n");
    let mut rows = 0;
    for (index, line) in lines.enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 2;
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let (Some(&at), Some(&value)) = (cells.get(at), cells.get(value)) else {
            bail!("{file}:{number}: has {} columns, the header {}", cells.len(), header.len());
        };
        let instant = instant(at).with_context(|| format!("{file}:{number}: {at:?} is no time like 2026-03-01 12:00:00"))?;
        let sample: f64 = value.parse().ok().with_context(|| format!("{file}:{number}: {value:?} is no number"))?;
        let score = detector.observe(instant, sample).score;
        writeln!(answer, "{at},{value},{score}").context("writing to memory")?;
        rows += 1;
    }
    if rows == 0 {
        bail!("{file}: holds no rows");
    }
    Ok((answer, rows))
}

/// With an offset, or without one: then UTC.
fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(Timestamp(at.timestamp_micros()));
    }
    let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let at = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
    Some(Timestamp(at.and_utc().timestamp_micros()))
}
