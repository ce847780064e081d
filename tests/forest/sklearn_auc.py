"""Scores the tables of a folder with scikit-learn's isolation forest and prints, for each, the area under the ROC curve by seed.

Each `NAME.csv` holds rows of figures with the truth (1: anomaly) behind them. Prints lines of `NAME SEED AUC`.
Usage: sklearn_auc.py FOLDER SEEDS TREES SAMPLE_SIZE
"""

import pathlib
import sys

import numpy
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

folder, (seeds, trees, sample_size) = pathlib.Path(sys.argv[1]), map(int, sys.argv[2:5])
for path in sorted(folder.glob("*.csv")):
    table = numpy.loadtxt(path, delimiter=",")
    rows, truth = table[:, :-1], table[:, -1]
    for seed in range(seeds):
        forest = IsolationForest(n_estimators=trees, max_samples=min(sample_size, len(rows)), random_state=seed).fit(rows)
        print(path.stem, seed, repr(float(roc_auc_score(truth, -forest.score_samples(rows)))))
