"""What is written about anomalies: tables, curves, maps, and a page with all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from segue import report
from segue.apply import to_csv
from segue.assessment.looking import Tally
from segue.files import make_folder, write_json, write_text
from segue.metrics import Detection, detection_curves, summarise, summarise_components

SCORES = (
    "All pixels in one ranking. ± is what counting scores in bins may have changed. sIoU, PPV and F1* are of "
    "components, at the threshold of the best F1 of pixels."
)


def score_row(name: str, one: Detection, tally: Tally) -> dict[str, object]:
    """A score's line of the table."""
    row: dict[str, object] = {"score": name}
    for key in report.BOUNDED:
        measure = getattr(one, key)
        row |= {key: measure.value, f"{key}_low": measure.low, f"{key}_high": measure.high}
    alone = torch.tensor([tally.pictures[picture][1][name] for picture in sorted(tally.pictures)], dtype=torch.float64)
    means = alone.nanmean(dim=0).tolist()
    row |= dict(zip(report.ALONE, means, strict=True))
    row |= {"threshold": one.threshold, "best_f1": one.best_f1}
    overlaps = tally.components.get(name)
    if overlaps is not None:
        summary = summarise_components([overlaps[picture] for picture in sorted(overlaps)])
        row |= {"siou": summary.siou, "ppv": summary.ppv, "f1_star": summary.f1}
    return row


def facts_of(found: Mapping[str, Detection], tally: Tally) -> dict[str, object]:
    """What to know beside the scores: how many pictures and pixels, and how well the known classes are told apart."""
    one = next(iter(found.values()))
    known = summarise(tally.known).miou
    return {
        "pictures": f"{len(tally.pictures)}, of which {sum(1 for n, _ in tally.pictures.values() if n)} hold anomalies",
        "anomalous pixels": f"{one.positives:,} of {one.positives + one.negatives:,}, "
        f"{100 * one.positives / (one.positives + one.negatives):.3f} %, which is AP by chance",
        "mean IoU of the known classes": "not known: the data have others"
        if math.isnan(known)
        else f"{100 * known:.2f} %",
    }


def write_anomalies(
    rows: Sequence[Mapping[str, object]],
    facts: Mapping[str, object],
    tally: Tally,
    samples: Sequence[report.ScoreMap],
    name: str,
    folder: Path,
) -> None:
    """Write everything into the folder, each file in one stroke. name: of the run."""
    make_folder(folder)
    tables = report.anomaly_table(rows), report.anomaly_table(rows, report.ALONE)
    write_text(folder / "scores.csv", to_csv(rows))
    write_text(folder / "scores.md", "\n".join(report.markdown_lines(cells) for cells in tables))
    write_json(folder / "scores.json", {**facts, "scores": list(rows)})
    write_text(folder / "pictures.csv", to_csv(_picture_rows(tally)))
    curves = {name: detection_curves(counts) for name, counts in tally.counts.items()}
    counts = next(iter(tally.counts.values())).sum(dim=1)
    report.detection_picture(
        {name: (roc.numpy(), precision.numpy()) for name, (roc, precision) in curves.items()},
        float(counts[1]) / float(counts.sum()),
        folder / "curves.png",
    )
    report.score_maps_picture(samples, folder / "maps.png")
    report.write_page(
        folder / "anomalies.html",
        f"{name}: anomalies on {folder.name}",
        [
            report.section("", report.facts(facts)),
            report.section("Scores, %", f'<p class="hint">{SCORES}</p>{report.html_lines(tables[0])}'),
            report.section("Each picture alone, the mean, %", report.html_lines(tables[1])),
            report.section("Curves", report.figure("Curves", folder / "curves.png")),
            report.section("Where", report.figure("Scores of the pictures with most anomalies", folder / "maps.png")),
        ],
    )


def _picture_rows(tally: Tally) -> list[dict[str, object]]:
    """A row per picture: its anomalous pixels, and the measures of each score in it alone."""
    rows = []
    for name in sorted(tally.pictures):
        pixels, alone = tally.pictures[name]
        row: dict[str, object] = {"name": name, "anomalous_pixels": pixels}
        for score, values in alone.items():
            row |= {f"{key} {score}": value for key, value in zip(report.BOUNDED, values, strict=True)}
        rows.append(row)
    return rows
