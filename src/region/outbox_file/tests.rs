use super::*;

fn add(file: &OutboxFile, number: u64, at: i64, size: usize) -> u64 {
    let batch = Some((number, Timestamp(at), 10, vec![7; size]));
    file.commit(Commit { batch, acknowledged: None, refused: None, max_bytes: 10_000, keep_since: Timestamp(at - 1000) }).unwrap()
}

#[test]
fn batches_come_back_in_order_and_go_when_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let first = OutboxFile::open(&path, Timestamp(5_000_000)).unwrap();
    assert_eq!(first.boot(), Boot(5000));
    assert_eq!((add(&first, 1, 10, 100), add(&first, 2, 20, 100)), (0, 0));
    drop(first);
    // The clock went back: the boot rises all the same.
    let second = OutboxFile::open(&path, Timestamp(0)).unwrap();
    assert_eq!(second.boot(), Boot(5001));
    assert_eq!(add(&second, 1, 30, 100), 0);
    let read = |position, most, bytes| -> Vec<(u64, u64)> {
        let batches = second.next_batches_after(position, most, bytes).unwrap();
        batches.into_iter().map(|batch| (batch.boot.0, batch.number)).collect()
    };
    assert_eq!(read((Boot(0), 0), 9, 1000), [(5000, 1), (5000, 2), (5001, 1)]);
    assert_eq!(read((Boot(5000), 1), 9, 1000), [(5000, 2), (5001, 1)]);
    assert_eq!(read((Boot(0), 0), 2, 1000), [(5000, 1), (5000, 2)]);
    assert_eq!(read((Boot(0), 0), 9, 299), [(5000, 1), (5000, 2)]);
    assert_eq!(read((Boot(0), 0), 9, 1), [(5000, 1)], "one in any case");
    second
        .commit(Commit { batch: None, acknowledged: Some((Boot(5000), 2)), refused: None, max_bytes: 10_000, keep_since: Timestamp(0) })
        .unwrap();
    let left = second.next_batches_after((Boot(0), 0), 9, 1000).unwrap();
    assert_eq!(left.iter().map(|batch| batch.boot).collect::<Vec<_>>(), [Boot(5001)]);
    assert_eq!(second.depth(), Depth { batches: 1, results: 10, bytes: 100, oldest: Some(Timestamp(30)) });
}

#[test]
fn beyond_its_bounds_the_oldest_go_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = OutboxFile::open(&folder.path().join("outbox.redb"), Timestamp(1_000_000)).unwrap();
    let dropped: u64 = (1..=10).map(|number| add(&file, number, 100 + number as i64, 2000)).sum();
    let depth = file.depth();
    assert!(depth.bytes <= 10_000 && depth.bytes >= 6_000, "{depth:?}");
    assert_eq!(dropped, (10 - depth.batches) * 10);
    // By age: everything older than a thousand microseconds.
    assert_eq!(add(&file, 11, 5_000, 10), depth.results);
    assert_eq!(file.depth().batches, 1);
}

#[test]
fn a_second_process_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let _first = OutboxFile::open(&path, Timestamp(0)).unwrap();
    assert!(matches!(OutboxFile::open(&path, Timestamp(0)), Err(OutboxError::InUse { .. })));
}

fn kept_aside(file: &OutboxFile) -> Vec<(u64, u64)> {
    let engine = file.engine.lock().unwrap();
    let read = engine.as_ref().unwrap().database.begin_read().unwrap();
    read.open_table(ASIDE).unwrap().iter().unwrap().map(|row| row.unwrap().0.value()).collect()
}

#[test]
fn a_refused_batch_is_kept_aside_though_later_ones_are_acknowledged_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = OutboxFile::open(&folder.path().join("outbox.redb"), Timestamp(1_000)).unwrap();
    (1..=3).for_each(|number| assert_eq!(add(&file, number, 10, 50), 0));
    let commit = Commit {
        batch: None,
        acknowledged: Some((file.boot(), 3)),
        refused: Some((file.boot(), 1)),
        max_bytes: 10_000,
        keep_since: Timestamp(0),
    };
    assert_eq!(file.commit(commit).unwrap(), 0);
    assert_eq!(file.next_batches_after((Boot(0), 0), 9, 1000).unwrap(), []);
    assert_eq!(file.depth(), Depth::default());
    assert_eq!(kept_aside(&file), [(1, 1)]);
}

#[test]
fn refused_batches_beyond_their_bound_go_oldest_first_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.redb");
    let mut file = OutboxFile::open(&path, Timestamp(1_000)).unwrap();
    let mut dropped = 0;
    for number in 1..=5 {
        let batch = Some((number, Timestamp(10), 10, vec![7; 20 << 20]));
        let whole = Commit { batch, acknowledged: None, refused: None, max_bytes: 1 << 30, keep_since: Timestamp(0) };
        dropped += file.commit(whole).unwrap();
        let refusal =
            Commit { batch: None, acknowledged: None, refused: Some((file.boot(), number)), max_bytes: 1 << 30, keep_since: Timestamp(0) };
        dropped += file.commit(refusal).unwrap();
        if number == 3 {
            // What is kept aside is known again after a start.
            drop(file);
            file = OutboxFile::open(&path, Timestamp(0)).unwrap();
        }
    }
    assert_eq!((dropped, kept_aside(&file)), (20, vec![(1, 3), (2, 4), (2, 5)]));
}
