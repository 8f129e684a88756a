import csv
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from segue import recipe as recipes
from segue import run, training
from segue.data.loading import training_positions
from segue.errors import NonFiniteLoss, SaveError
from segue.models import create
from segue.options import OptimOptions, TrainingOptions
from segue.training import MovingAverage, ResumeError, build_optimizer, freeze, passes, read_checkpoint, train_mode
from tests.toy import RECIPE, toy

TIMINGS = ("images_per_s", "waiting", "seconds")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return toy(tmp_path / "toy")


def recipe(data: Path, /, **changes: object):
    base = recipes.override(recipes.from_dict(RECIPE, "test"), {"data": {"name": str(data)}}, "test")
    return recipes.override(base, changes, "test")


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in TIMINGS} for row in csv.DictReader(file)]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = read_checkpoint(folder / "checkpoints" / "last")
    return {**checkpoint["network"], **{f"average.{k}": v for k, v in checkpoint["average"].items()}}


def assert_same_run(one: Path, other: Path) -> None:
    assert log_of(one) == log_of(other)
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_a_run_writes_its_folder(data, tmp_path):
    finished = run.begin(recipe(data), out=str(tmp_path / "run"))
    names = {path.relative_to(finished.folder).as_posix() for path in finished.folder.rglob("*") if path.is_file()}
    assert names >= {
        "recipe.toml",
        "environment.json",
        "log.csv",
        "curves.png",
        "predictions.png",
        "confusion.png",
        "labels.png",
        "report.html",
        "model/model.safetensors",
        "model/card.json",
        "checkpoints/last",
        "checkpoints/best",
    }
    rows = log_of(finished.folder)
    assert [row["step"] for row in rows] == ["6", "12"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert json.loads((finished.folder / "environment.json").read_text())["torch"] == torch.__version__
    assert recipes.read(finished.folder / "recipe.toml").training.steps == 12


def test_a_taken_folder_is_numbered_and_never_overwritten(data, tmp_path):
    first = run.begin(recipe(data, training={"steps": 1}), out=str(tmp_path / "run"))
    before = (first.folder / "log.csv").read_text()
    second = run.begin(recipe(data, training={"steps": 2}), out=str(tmp_path / "run"))
    assert second.folder == tmp_path / "run-2"
    assert (first.folder / "log.csv").read_text() == before


def test_equal_recipes_give_equal_runs(data, tmp_path):
    runs = [run.begin(recipe(data), out=str(tmp_path / name)).folder for name in ("one", "two")]
    assert_same_run(*runs)


def test_the_number_of_workers_does_not_change_a_run(data, tmp_path):
    one = run.begin(recipe(data), out=str(tmp_path / "one")).folder
    other = run.begin(recipe(data, data={"workers": 2}), out=str(tmp_path / "other")).folder
    assert_same_run(one, other)


KILLED = {
    "model": {"channels": [8, 16, 16]},
    "data": {"workers": 2},
    # 15 pictures in steps of 4: a checkpoint every 5 steps falls into the middle of an epoch.
    "training": {"steps": 40, "batch": 4, "per_device": 2, "ema": 0.9, "validate_every": 8, "save_every": 5},
}


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(data, tmp_path):
    whole = run.begin(recipe(data, **KILLED), out=str(tmp_path / "whole")).folder
    path = tmp_path / "killed.toml"
    path.write_text(recipes.to_toml(recipe(data, **KILLED)))
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "segue", "train", str(path), "--out", str(killed)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    checkpoint = killed / "checkpoints" / "last"
    for kill in range(3):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        deadline = time.monotonic() + 120
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline, "no checkpoint was written"
            assert process.poll() is None or kill > 0, "the run ended by itself"
            if process.poll() is not None:
                break
            time.sleep(0.002)
        time.sleep(0.03 * kill)  # at another moment of a step each time
        process.send_signal(signal.SIGKILL)
        process.wait()
        if kill < 2:
            again = [sys.executable, "-m", "segue", "train", "--resume", str(killed)]
            process = subprocess.Popen(again, stderr=subprocess.DEVNULL)
    run.resume(killed, {})
    assert_same_run(whole, killed)


def test_dropout_goes_on_as_well(data, tmp_path):
    changes = {"network": "deeplabv3", "model": {"backbone": "resnet18", "width": 0.125, "channels": 8, "dropout": 0.5}}
    spec = recipes.to_dict(recipe(data))
    spec |= changes
    made = recipes.override(recipes.from_dict(spec, "test"), {"training": {"save_every": 6}}, "test")
    whole = run.begin(made, out=str(tmp_path / "whole")).folder
    half = run.begin(recipes.override(made, {}, "test"), out=str(tmp_path / "half")).folder
    rewind(half, made, 6)
    run.resume(half, {})
    assert_same_run(whole, half)


def rewind(folder: Path, made, step: int) -> None:
    """Leave the folder as it was after `step`: train anew and stop there by a signal."""
    checkpoint = folder / "checkpoints" / "last"
    checkpoint.unlink()
    original = run._Watcher.stepped

    def stop_at(self, tick):
        original(self, tick)
        if tick.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    run._Watcher.stepped = stop_at
    try:
        stopped = run._run(made, out=str(folder.parent / "again"), init="", command=())
    finally:
        run._Watcher.stepped = original
    assert stopped.result.signal == signal.SIGTERM
    assert stopped.result.step == step
    (stopped.folder / "checkpoints" / "last").rename(checkpoint)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves_with_one_line(data, tmp_path, number):
    path = tmp_path / "long.toml"
    made = recipe(data, training={"steps": 100000, "validate_every": 5}, data={"workers": 2})
    path.write_text(recipes.to_toml(made))
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "segue", "train", str(path), "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (folder / "checkpoints" / "last").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does: the loader's workers are told as well
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"go on with: segue train --resume {folder}" in out
    assert "Traceback" not in err
    step = read_checkpoint(folder / "checkpoints" / "last")["state"]["step"]
    assert f"stopped at step {step}" in out


@pytest.mark.slow
def test_two_processes_train_on_the_same_pictures_and_count_each_validation_picture_once(data, tmp_path):
    # Without BatchNorm, two processes of 2 pictures each compute what one computes of 2 x 2 accumulated pictures.
    changes = {
        "model": {"valid": True, "channels": [2, 2, 2, 2, 2]},
        "training": {"steps": 4, "validate_every": 2},
        "optim": {"name": "sgd"},  # AdamW divides by the gradient, so that its last bits would count as much as itself
    }
    made = recipe(data, **changes)
    spec = recipes.to_dict(made)
    spec["model"] = changes["model"]
    path = tmp_path / "two.toml"
    path.write_text(recipes.to_toml(recipes.from_dict(spec, "test")))
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"),
            *("-m", "segue", "train", str(path), "--out", str(tmp_path / "two")),
        ],
        check=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    alone = recipes.override(recipes.from_dict(spec, "test"), {"training": {"per_device": 2}}, "test")
    one = run.begin(alone, out=str(tmp_path / "one")).folder
    first, second = log_of(tmp_path / "two"), log_of(one)
    assert len(first) == len(second) == 2
    for ours, theirs in zip(first, second, strict=True):
        for key in ours:
            assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=1e-3), key
    counted = json.loads((tmp_path / "two" / "model" / "card.json").read_text())
    assert counted["measured"]["step"] in (2, 4)


def test_positions_of_a_step_are_the_same_however_many_share_them():
    def of(accumulate, processes):
        passes_of = [list(training_positions(3, 5, 8, accumulate, p, processes)) for p in range(processes)]
        return sorted(position for part in passes_of for positions in part for position in positions)

    assert of(1, 1) == of(4, 2) == of(2, 4) == list(range(24, 40))


def test_total_batch_is_shared_by_processes_and_passes():
    assert passes(TrainingOptions(batch=16, per_device=4), 2) == 2
    assert passes(TrainingOptions(batch=16), 2) == 1
    assert passes(TrainingOptions(batch=12, per_device=5), 1) == 3  # 5 does not divide 12: 4 at a time
    with pytest.raises(ValueError, match="cannot be shared evenly by 3"):
        passes(TrainingOptions(batch=16), 3)


def test_norms_and_biases_do_not_decay_and_the_head_has_its_own_rate():
    network = create("deeplabv3", 3, backbone="resnet18", width=0.125, channels=8)
    optimizer = build_optimizer(network, OptimOptions(lr=0.1, head_lr=10, weight_decay=0.01))
    found = {(group["lr"], group["weight_decay"]): group["params"] for group in optimizer.param_groups}
    assert set(found) == {(0.1, 0.01), (0.1, 0.0), (1.0, 0.01), (1.0, 0.0)}
    assert all(p.ndim > 1 for (_, decay), params in found.items() if decay for p in params)
    assert any(p is network.classify.weight for p in found[1.0, 0.01])
    assert sum(len(params) for params in found.values()) == len(list(network.parameters()))


def test_frozen_parts_stay_as_they_are(data, tmp_path):
    spec = recipes.to_dict(recipe(data, training={"steps": 3, "freeze_backbone": True, "seed": 5}))
    spec |= {"network": "deeplabv3", "model": {"backbone": "resnet18", "width": 0.125, "channels": 8}}
    made = recipes.from_dict(spec, "test")
    folder = run.begin(made, out=str(tmp_path / "run")).folder
    torch.manual_seed(5)
    fresh = create("deeplabv3", 3, backbone="resnet18", width=0.125, channels=8).state_dict()
    after = read_checkpoint(folder / "checkpoints" / "last")["network"]
    assert all(torch.equal(after[n], fresh[n]) for n in fresh if n.startswith("backbone"))
    assert not torch.equal(after["classify.weight"], fresh["classify.weight"])


def test_frozen_norms_keep_their_statistics():
    network = create("unet", 2, channels=(4, 8))
    how = TrainingOptions(freeze_norm=True)
    freeze(network, backbone=False, norm=True)
    train_mode(network, how)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training or m.weight.requires_grad for m in norms)
    assert network.training


def test_the_moving_average_is_the_weighted_sum_of_the_past():
    network = create("unet", 2, channels=(2, 2))
    average = MovingAverage(network, decay=0.5)
    start = network.classify.weight.detach().clone()
    with torch.no_grad():
        network.classify.weight.add_(1.0)
    average.update(network, step=10**6)
    torch.testing.assert_close(average.network.classify.weight, start + 0.5)
    average.update(network, step=0)  # early on the past weighs a tenth
    torch.testing.assert_close(average.network.classify.weight, start + 0.95)


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_where(data, tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"step \d+: the loss term 'logits' is (nan|inf), with the pictures 0\d\d"):
        run.begin(recipe(data, optim={"lr": 1e30, "name": "sgd"}), out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()  # nothing was learned that anyone could use


def test_an_error_of_any_kind_ends_the_processes_that_read_pictures(data, tmp_path, monkeypatch):
    def fail(job, parts, batches, *rest):
        next(batches)
        raise RuntimeError("something unforeseen")

    monkeypatch.setattr(training, "train_step", fail)
    with pytest.raises(RuntimeError, match="unforeseen") as kept:  # its traceback holds every frame of the run
        run.begin(recipe(data, data={"workers": 1}), out=str(tmp_path / "run"))
    assert kept.tb is not None
    assert multiprocessing.active_children() == []


def test_resume_with_a_changed_recipe_is_an_error_unless_asked_for(data, tmp_path):
    folder = run.begin(recipe(data), out=str(tmp_path / "run")).folder
    with pytest.raises(ResumeError, match=r"differs from the checkpoint's in optim\.lr"):
        run.resume(folder, {"optim": {"lr": 0.5}})
    finished = run.resume(folder, {"training": {"steps": 14}}, change_recipe=True)
    assert finished.result.step == 14


def test_resuming_something_else_is_an_error(tmp_path):
    with pytest.raises(ResumeError, match=r"not a run's folder"):
        run.resume(tmp_path, {})


def test_a_full_disk_leaves_the_last_checkpoint_intact(data, tmp_path, monkeypatch):
    made = recipe(data)
    folder = run.begin(made, out=str(tmp_path / "run")).folder
    checkpoint = folder / "checkpoints" / "last"
    before = checkpoint.read_bytes()
    real = torch.save

    def full(value, path, **rest):
        real({"half": 1}, path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SaveError, match=r"last: could not be written \(the disk is full: make room\)"):
        run.resume(folder, {"training": {"steps": 14}}, change_recipe=True)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir() if path.name.endswith(".part")] == []


def test_starting_from_a_run_takes_what_fits_and_rows_by_class_name(data, tmp_path, capsys):
    (data / "classes.txt").write_text("ground\nbox\ndisc\n")
    first = run.begin(recipe(data), out=str(tmp_path / "first")).folder
    other = toy(tmp_path / "other", classes=4)
    (other / "classes.txt").write_text("disc\nnew\nGround\nbox\n")
    made = recipe(other, optim={"lr": 1e-12})
    second = run.begin(made, out=str(tmp_path / "second"), init=str(first)).folder
    assert "rows of common classes taken: classify.weight, classify.bias" in capsys.readouterr().err
    from safetensors.torch import load_file

    old = load_file(first / "model" / "model.safetensors")
    new = load_file(second / "model" / "model.safetensors")
    for row, source in ((0, 2), (2, 0), (3, 1)):
        torch.testing.assert_close(new["classify.weight"][row], old["classify.weight"][source], atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", [{"name": "ohem", "min_kept": 50}, {"smoothing": 0.1}, {"weights": [1, 2, 3]}])
def test_every_criterion_trains(data, tmp_path, loss):
    rows = log_of(run.begin(recipe(data, loss=loss), out=str(tmp_path / "run")).folder)
    assert math.isfinite(float(rows[-1]["loss"]))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_trackers_are_told_what_the_log_holds(data, tmp_path):
    changes = {"trackers": ["tensorboard"], "steps": 2, "validate_every": 1}
    folder = run.begin(recipe(data, training=changes), out=str(tmp_path / "run")).folder
    assert list((folder.parent).rglob("events.out.tfevents*"))
