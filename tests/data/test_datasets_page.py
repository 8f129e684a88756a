"""docs/datasets.md says what the declarations say."""

from pathlib import Path

import pytest

from segue.data import DATASETS

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_row_says_classes_and_splits(name):
    declaration = DATASETS[name]
    sizes = ", ".join(f"{split} {one.pictures}" for split, one in declaration.splits.items())
    assert f"| `{name}` | {declaration.labels.num_classes} | {sizes} | " in PAGE.read_text(encoding="utf-8")
