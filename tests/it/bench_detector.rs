//! The detector over files: mirrored paths, one row for each row, mistakes with file and line.

use std::fs;
use std::path::Path;

use probemesh::cli::bench_detector::bench;

fn rows(count: usize, odd: Option<usize>) -> String {
    let mut text = String::from("timestamp,value\n");
    for row in 0..count {
        let value = if Some(row) == odd { 900 } else { 100 + (row * 37) % 11 };
        text += &format!("2026-03-{:02} {:02}:{:02}:00,{value}\n", 1 + row / 288, row % 288 / 12, row % 12 * 5);
    }
    text
}

fn scores(file: &Path) -> Vec<f64> {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().next(), Some("timestamp,value,anomaly_score"));
    text.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn every_file_is_answered_row_by_row_under_its_own_path() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    fs::create_dir_all(data.join("deep/er")).unwrap();
    fs::write(data.join("calm.csv"), rows(1000, None)).unwrap();
    fs::write(data.join("deep/er/spike.csv"), rows(1000, Some(800))).unwrap();
    fs::write(data.join("notes.txt"), "not a series").unwrap();
    let done = bench(&data, &out).unwrap();
    assert_eq!((done.files, done.samples), (2, 2000));
    let (calm, spike) = (scores(&out.join("calm.csv")), scores(&out.join("deep/er/spike.csv")));
    assert_eq!((calm.len(), spike.len()), (1000, 1000));
    assert!(spike[800] > 0.9 && calm[800] < 0.5, "{} {}", spike[800], calm[800]);
    // What came before the spike is scored as if there were none to come.
    assert_eq!(calm[..800], spike[..800]);
    assert!(!out.join("notes.txt").exists());
}

#[test]
fn a_bad_row_is_named_with_file_and_line_and_nothing_is_written() {
    let bad = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("data"), folder.path().join("out"));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("a.csv"), rows(10, None)).unwrap();
        fs::write(data.join("b.csv"), text).unwrap();
        let message = format!("{:#}", bench(&data, &out).unwrap_err());
        assert!(!out.exists(), "half an answer was written");
        message.split_once("b.csv").unwrap().1.to_owned()
    };
    assert_eq!(bad("time,value\n"), ":1: needs the columns timestamp and value, has \"time,value\"");
    assert_eq!(bad("timestamp,value\n2026-03-01 00:00:00,1\nnoon,2\n"), ":3: \"noon\" is no time like 2026-03-01 12:00:00");
    assert_eq!(bad("timestamp,value\n2026-03-01 00:00:00,much\n"), ":2: \"much\" is no number");
    assert_eq!(bad("timestamp,value\n2026-03-01 00:00:00\n"), ":2: has 1 columns, the header 2");
    assert_eq!(bad("timestamp,value\n"), ": holds no rows");
}
