"""What several real processes are fed with, as `torchrun` starts them."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from segue.data.folder import open_folder
from segue.data.sharding import write_shards
from segue.labels import Labels
from tests.toy import toy

THREE = Labels(classes=("ground", "box", "disc"))

FED = """
import json, sys
from pathlib import Path
from accelerate import Accelerator
from segue.data import open_split
from segue.data.loading import TrainingSamples, training_loader, training_positions
from segue.data.transforms import Augmentation
from segue.feed import keep_pictures
from segue.options import DataOptions

class Noted:
    def __init__(self, data, path):
        self.data, self.path, self.labels, self.anomalies = data, path, data.labels, None
    def __len__(self): return len(self.data)
    def name(self, index): return self.data.name(index)
    def order(self, seed, epoch): return self.data.order(seed, epoch)
    def target(self, index): return self.data.target(index)
    def image(self, index):
        with self.path.open("a") as file:
            file.write(self.data.name(index) + " ")
        return self.data.image(index)

name, out, first, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
accelerator = Accelerator(cpu=True)
rank = accelerator.process_index
data = Noted(open_split(name, "", "train"), out / f"read-{rank}")
validation = open_split(name, "", "val")
data, _ = keep_pictures(data, validation, DataOptions(cache="ram"), accelerator, lambda text: None)
samples = TrainingSamples(data, Augmentation((24, 24)), seed=4)
positions = training_positions(first, last, 6, 1, rank, accelerator.num_processes)
shown = [name for _, _, names in training_loader(samples, positions, workers=1) for name in names]
(out / f"shown-{rank}-{first}.json").write_text(json.dumps(shown))
accelerator.wait_for_everyone()
accelerator.end_training()
"""


def fed(name: Path, out: Path, first: int, last: int) -> list[list[str]]:
    """The names that each of two processes was fed with in these steps of 6 pictures."""
    script = out / "fed.py"
    script.write_text(FED)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29633"]
    subprocess.run(
        [*command, str(script), str(name), str(out), str(first), str(last)],
        check=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return [json.loads((out / f"shown-{rank}-{first}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_two_processes_share_shards_memory_and_pictures_exactly(tmp_path):
    root = toy(tmp_path / "toy")
    for split in ("train", "val"):
        write_shards(open_folder(root, split, THREE), split, tmp_path / "shards", most_bytes=40_000)
    # 15 pictures do not come out even in steps of 6: two epochs are five steps.
    shown = fed(tmp_path / "shards", tmp_path, 0, 5)
    assert [len(names) for names in shown] == [15, 15]
    assert set(Counter(shown[0] + shown[1]).values()) == {2}
    in_order = [name for step in range(5) for rank in range(2) for name in shown[rank][3 * step : 3 * step + 3]]
    assert len(set(in_order[:15])) == 15  # each epoch shows each picture once, over both processes
    read = Counter(" ".join((tmp_path / f"read-{rank}").read_text() for rank in range(2)).split())
    first = open_folder(root, "train", THREE)
    assert set(read) == {first.name(index) for index in range(15)}
    assert sum(read.values()) <= 15 + 3  # the plan's first picture, and those that two epochs ask for at once
    # From the middle, the pictures are those of the whole run.
    later = fed(tmp_path / "shards", tmp_path, 3, 5)
    assert later == [names[9:] for names in shown]
