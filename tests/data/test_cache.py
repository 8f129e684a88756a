import os
import shutil
import threading

import numpy as np
import pytest
import zstandard

from segue.data.cache import DISK_RESERVE, DiskStore, KeptDataSet, plan_cache
from segue.data.class_index import index_classes
from segue.data.folder import open_folder
from segue.data.loading import TrainingSamples, training_loader, training_positions
from segue.data.memory import MemoryStore
from segue.data.sampling import rare_classes
from segue.data.transforms import Augmentation
from segue.labels import Labels
from tests.data.counting import Counting
from tests.toy import toy

THREE = Labels(classes=("a", "b", "c"))


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    return Counting(open_folder(toy(tmp_path / "toy"), "train", THREE))


def in_memory(data) -> KeptDataSet:
    return KeptDataSet(data, MemoryStore(2 * len(data), limit=1 << 24))


def on_disk(data, tmp_path) -> KeptDataSet:
    return KeptDataSet(data, DiskStore(tmp_path / "kept", data))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_every_file_is_read_once_however_many_epochs_workers_and_statistics(data, tmp_path, where, workers):
    kept = in_memory(data) if where == "memory" else on_disk(data, tmp_path)
    rare = rare_classes(index_classes(kept), share=0.0)
    samples = TrainingSamples(kept, Augmentation((32, 40)), seed=1, rare=rare)
    for first, last in ((0, 5), (5, 15)):  # an epoch of 15 pictures, and two more
        for _ in training_loader(samples, training_positions(first, last, 3, 1, 0, 1), workers=workers):
            pass
    assert list(data.images) == [1] * 15
    assert list(data.masks) == [1] * 15


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_kept_pictures_are_the_same(data, tmp_path, where):
    kept = in_memory(data) if where == "memory" else on_disk(data, tmp_path)
    plain, through = (TrainingSamples(one, Augmentation((32, 40)), seed=1) for one in (data, kept))
    for position in (0, 7, 15, 22, 0):
        expected, found = plain[position], through[position]
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])
        assert found[2] == expected[2]


def test_pictures_that_do_not_fit_are_read_again(data):
    kept = KeptDataSet(data, MemoryStore(30, limit=60_000))
    for _ in range(2):
        for index in range(15):
            assert np.array_equal(kept.image(index), data.data.image(index))
    assert 15 < data.images_read < 30


def test_the_disk_serves_the_next_run(data, tmp_path):
    for _ in range(2):
        kept = on_disk(data, tmp_path)
        for index in range(15):
            kept.image(index), kept.target(index)
    assert (data.images_read, data.masks_read) == (15, 15)


def test_a_file_that_changed_is_read_again(data, tmp_path):
    on_disk(data, tmp_path).image(3)
    pair = data.data.pairs[3]
    pair.image.write_bytes(data.data.pairs[5].image.read_bytes())
    os.utime(pair.image, ns=(5, 5))
    kept = on_disk(data, tmp_path)
    assert np.array_equal(kept.image(3), data.data.image(5))
    kept.image(3)
    assert data.images[3] == 2


def test_another_label_map_has_masks_of_its_own_and_the_same_pictures(data, tmp_path):
    on_disk(data, tmp_path).image(0), on_disk(data, tmp_path).target(0)
    swapped = Labels(classes=("a", "b", "c"), values={0: 0, 1: 2, 2: 1})
    other = Counting(open_folder(tmp_path / "toy", "train", swapped))
    kept = on_disk(other, tmp_path)
    assert np.array_equal(kept.target(0), other.data.target(0))
    assert np.array_equal(kept.image(0), data.data.image(0))
    assert (other.images_read, other.masks_read) == (0, 1)


@pytest.mark.parametrize(
    "damage",
    [lambda old: old[:0], lambda old: old[:40], lambda old: old[:-3], lambda old: old[:150] + b"xx" + old[152:]],
)
def test_a_damaged_file_is_as_good_as_none(data, tmp_path, damage):
    expected = on_disk(data, tmp_path).image(0)
    (path,) = (tmp_path / "kept").rglob("*.seg")
    path.write_bytes(damage(path.read_bytes()))
    assert np.array_equal(on_disk(data, tmp_path).image(0), expected)
    assert data.images_read == 2
    assert np.array_equal(on_disk(data, tmp_path).image(0), expected)
    assert data.images_read == 2  # it was written anew


def test_files_are_compressed(data, tmp_path):
    mask = on_disk(data, tmp_path).target(0)
    (path,) = (tmp_path / "kept").rglob("*.seg")
    assert path.stat().st_size < mask.nbytes / 4
    assert path.read_bytes().endswith(zstandard.ZstdCompressor(level=1, write_checksum=True).compress(mask.tobytes()))


def test_two_who_write_the_same_file_do_not_mix(data, tmp_path):
    stores = [DiskStore(tmp_path / "kept", data) for _ in range(4)]
    arrays = [np.full((200, 300, 3), value, dtype=np.uint8) for value in range(4)]
    threads = [
        threading.Thread(target=lambda s=store, a=array: [s.put(0, a) for _ in range(20)])
        for store, array in zip(stores, arrays, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = stores[0].get(0)
    assert any(np.array_equal(kept, array) for array in arrays)
    assert [path.name for path in (tmp_path / "kept").rglob("*") if path.name.endswith(".part")] == []


def test_a_full_disk_ends_the_keeping_and_not_the_run(data, tmp_path, monkeypatch):
    nearly_full = shutil._ntuple_diskusage(10**12, 10**12, DISK_RESERVE - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full)
    kept = on_disk(data, tmp_path)
    for _ in range(2):
        assert np.array_equal(kept.image(0), data.data.image(0))
    assert data.images_read == 2
    assert list((tmp_path / "kept").rglob("*.seg")) == []


FIRST = (np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8))  # 40 kB


def test_without_a_word_pictures_are_kept_where_they_fit_into_a_quarter_of_the_memory():
    assert plan_cache("auto", 1000, FIRST, free=170_000_000).where == "ram"
    assert plan_cache("auto", 1000, FIRST, free=150_000_000).where == "off"


def test_asked_for_they_take_three_quarters_at_most():
    plan = plan_cache("ram", 1000, FIRST, free=20_000_000)
    assert (plan.where, plan.limit) == ("ram", 15_000_000)
    assert plan.needed > plan.limit


def test_older_recipes_say_true_and_false():
    assert plan_cache(True, 10, FIRST, free=10**9).where == "ram"
    assert plan_cache(False, 10, FIRST, free=10**9).where == "off"
