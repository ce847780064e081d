//! The isolation forest, held against scikit-learn's on the same tables and over as many seeds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use linfa::dataset::DatasetBase;
use linfa::traits::{Fit, Predict};
use ndarray::{Array1, Array2};
use probemesh::analysis::forest::IsolationForest;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SEEDS: u64 = 30;
const TREES: usize = 100;
const SAMPLE_SIZE: usize = 256;
/// Where Debian's packages are installed for; another Python before it in the path knows nothing of them.
const PYTHON: &str = "/usr/bin/python3";

struct Table {
    name: &'static str,
    rows: Array2<f64>,
    truth: Vec<bool>,
}

fn normal(rng: &mut StdRng) -> f64 {
    let (one, other): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}

fn table(name: &'static str, columns: usize, healthy: usize, odd: usize, mut row: impl FnMut(bool) -> Vec<f64>) -> Table {
    let truth: Vec<bool> = (0..healthy + odd).map(|index| index % (healthy / odd + 1) == 0).collect();
    let values: Vec<f64> = truth.iter().flat_map(|odd| row(*odd)).collect();
    Table { name, rows: Array2::from_shape_vec((truth.len(), columns), values).unwrap(), truth }
}

fn tables() -> Vec<Table> {
    let mut rng = StdRng::seed_from_u64(20_081_215);
    let rng = &mut rng;
    let blobs = table("blobs", 4, 900, 60, |odd| match odd {
        true => (0..4).map(|_| rng.random_range(-8.0..8.0)).collect(),
        false => {
            let centre = if rng.random_bool(0.6) { -2.5 } else { 2.5 };
            (0..4).map(|_| centre + normal(rng)).collect()
        }
    });
    let ring = table("ring", 2, 950, 50, |odd| {
        let turn = rng.random_range(0.0..std::f64::consts::TAU);
        // What is odd lies inside the ring and outside it.
        let radius = match odd {
            true if rng.random_bool(0.5) => rng.random_range(0.0..1.5),
            true => rng.random_range(4.2..6.5),
            false => 3.0 + 0.25 * normal(rng),
        };
        vec![radius * turn.cos(), radius * turn.sin()]
    });
    let tails = table("heavy tails", 5, 980, 20, |odd| {
        let shift = if odd { 2.5 } else { 0.0 };
        // Student's t with three degrees of freedom.
        let value = |rng: &mut StdRng| normal(rng) / ((0..3).map(|_| normal(rng).powi(2)).sum::<f64>() / 3.0).sqrt();
        (0..5).map(|column| value(rng) + if column % 2 == 0 { shift } else { -shift }).collect()
    });
    let off_axis = table("off axis", 6, 960, 40, |odd| {
        let level = 1.5 * normal(rng);
        // Healthy columns move together; odd ones are as far out, but against each other.
        (0..6).map(|column| if odd && column % 2 == 1 { -level } else { level } + 0.5 * normal(rng)).collect()
    });
    let wide =
        table("two of twelve", 12, 970, 30, |odd| (0..12).map(|column| normal(rng) + if odd && column < 2 { 5.0 } else { 0.0 }).collect());
    vec![blobs, ring, tails, off_axis, wide]
}

/// The chance that an odd row scores higher than a healthy one, ties counted half.
fn auc(scores: &Array1<f64>, truth: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..truth.len()).collect();
    order.sort_by(|one, other| scores[*one].total_cmp(&scores[*other]));
    let (mut ranks, mut from) = (0.0, 0);
    while from < order.len() {
        let same = order[from..].iter().take_while(|row| scores[**row] == scores[order[from]]).count();
        let odd = order[from..from + same].iter().filter(|row| truth[**row]).count();
        ranks += odd as f64 * (from as f64 + (same as f64 + 1.0) / 2.0);
        from += same;
    }
    let odd = truth.iter().filter(|odd| **odd).count() as f64;
    (ranks - odd * (odd + 1.0) / 2.0) / (odd * (truth.len() as f64 - odd))
}

fn ours(table: &Table) -> f64 {
    let dataset = DatasetBase::from(table.rows.clone());
    let by_seed = (0..SEEDS).map(|seed| {
        let params = IsolationForest::params().trees(TREES).sample_size(SAMPLE_SIZE).seed(seed);
        let scores: Array1<f64> = params.fit(&dataset).unwrap().predict(&table.rows);
        auc(&scores, &table.truth)
    });
    by_seed.sum::<f64>() / SEEDS as f64
}

/// The mean over seeds by table, as scikit-learn has it.
fn theirs(tables: &[Table]) -> BTreeMap<String, f64> {
    let folder = tempfile::tempdir().unwrap();
    for table in tables {
        let line = |(row, odd): (ndarray::ArrayView1<'_, f64>, &bool)| {
            let values: Vec<String> = row.iter().map(f64::to_string).chain([u8::from(*odd).to_string()]).collect();
            values.join(",") + "\n"
        };
        let text: String = table.rows.rows().into_iter().zip(&table.truth).map(line).collect();
        std::fs::write(folder.path().join(format!("{}.csv", table.name.replace(' ', "_"))), text).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forest/sklearn_auc.py");
    let numbers = [SEEDS.to_string(), TREES.to_string(), SAMPLE_SIZE.to_string()];
    let run = Command::new(PYTHON).arg(script).arg(folder.path()).args(numbers).output();
    let run = run.unwrap_or_else(|error| panic!("{PYTHON} cannot be run, install python3-sklearn: {error}"));
    assert!(run.status.success(), "scikit-learn did not score, install python3-sklearn: {}", String::from_utf8_lossy(&run.stderr));
    let mut means: BTreeMap<String, f64> = BTreeMap::new();
    for line in String::from_utf8(run.stdout).unwrap().lines() {
        let [name, _, auc] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        *means.entry(name.replace('_', " ")).or_default() += auc.parse::<f64>().unwrap() / SEEDS as f64;
    }
    means
}

#[test]
fn the_forest_finds_as_much_as_scikit_learns() {
    let tables = tables();
    let theirs = theirs(&tables);
    println!("| set | rows × columns | ours | scikit-learn's | difference |\n|---|---|---|---|---|");
    let mut far = Vec::new();
    for table in &tables {
        let (ours, theirs) = (ours(table), theirs[table.name]);
        let (rows, columns) = table.rows.dim();
        println!("| {} | {rows} × {columns} | {ours:.4} | {theirs:.4} | {:+.4} |", table.name, ours - theirs);
        if (ours - theirs).abs() > 0.01 || ours.is_nan() {
            far.push(table.name);
        }
    }
    assert!(far.is_empty(), "more than 0.01 apart: {far:?}");
}
