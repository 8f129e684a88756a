import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from segue.data import memory
from segue.data.memory import MemoryStore, free_memory


def picture(number: int, shape: tuple[int, ...] = (11, 7, 3), dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize(
    "array", [picture(0), picture(1, (5, 3)), picture(2, dtype="uint16"), picture(3, dtype="float32")]
)
def test_an_array_comes_back_as_it_was_put(array):
    store = MemoryStore(4, limit=1 << 20)
    store.put(2, array)
    kept = store.get(2)
    assert kept.dtype == array.dtype
    assert np.array_equal(kept, array)
    assert not kept.flags.writeable
    assert kept.flags.aligned
    assert store.get(1) is None


def test_what_is_put_first_stays():
    store = MemoryStore(1, limit=1 << 20)
    store.put(0, picture(0))
    before = store.used
    store.put(0, picture(1))
    assert np.array_equal(store.get(0), picture(0))
    assert store.used == before


def test_nothing_more_is_kept_than_the_limit_says():
    store = MemoryStore(10, limit=10_000)
    for slot in range(10):
        store.put(slot, picture(slot, (64, 64)))
    kept = [slot for slot in range(10) if store.get(slot) is not None]
    assert kept == [0, 1]
    assert store.used <= 10_000


def put_many(store: MemoryStore, slots: range) -> None:
    for slot in slots:
        store.put(slot, picture(slot))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_see_what_the_others_put(method):
    context = multiprocessing.get_context(method)
    store = MemoryStore(60, limit=1 << 20)
    workers = [context.Process(target=put_many, args=(store, range(first, 60, 2))) for first in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    for slot in range(60):
        assert np.array_equal(store.get(slot), picture(slot))


def test_threads_put_at_once():
    store = MemoryStore(200, limit=1 << 20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda slot: store.put(slot, picture(slot)), range(200)))
    assert all(np.array_equal(store.get(slot), picture(slot)) for slot in range(200))


def test_arrays_outlive_the_growth_of_the_store():
    store = MemoryStore(100, limit=1 << 20)
    store.put(0, picture(0))
    first = store.get(0)
    for slot in range(1, 100):
        store.put(slot, picture(slot))
        store.get(slot)
    assert np.array_equal(first, picture(0))


def test_another_process_reaches_the_store_by_its_handle():
    store = MemoryStore(3, limit=1 << 20)
    store.put(0, picture(0))
    code = (
        "import sys; from segue.data.memory import MemoryStore;"
        "store = MemoryStore.reach(bytes.fromhex(sys.argv[1])); store.put(1, store.get(0) + 1)"
    )
    subprocess.run([sys.executable, "-c", code, store.handle.hex()], check=True)
    assert np.array_equal(store.get(1), picture(0) + 1)


def test_a_store_that_is_gone_is_not_reached():
    code = "import sys; from segue.data.memory import MemoryStore; print(MemoryStore(3, limit=1 << 20).handle.hex())"
    handle = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert MemoryStore.reach(bytes.fromhex(handle)) is None


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory without a name is Linux's")
def test_a_killed_process_leaves_no_memory_behind():
    code = (
        "import os, sys, time, numpy as np; from segue.data.memory import MemoryStore;"
        "store = MemoryStore(1, limit=1 << 20); store.put(0, np.ones((9, 9), np.uint8));"
        "print(os.readlink(store.path), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("/memfd:segue")  # it has no name in any folder
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_without_such_memory_a_temporary_file_is_used_and_removed(tmp_path):
    code = (
        "import os, tempfile, numpy as np; tempfile.tempdir = os.getcwd(); del os.memfd_create;"
        "from segue.data.memory import MemoryStore; store = MemoryStore(1, limit=1 << 20);"
        "store.put(0, np.arange(9, dtype=np.uint8)); print(store.get(0).sum(), len(os.listdir('.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["36", "1"]
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_the_control_group_counts(tmp_path):
    inner = tmp_path / "cgroup" / "box" / "inner"
    inner.mkdir(parents=True)
    for folder, limit in ((inner, "max"), (inner.parent, "5000")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("3000\n")
        (folder / "memory.stat").write_text("anon 2000\ninactive_file 1000\n")
    of = tmp_path / "of"
    of.write_text("0::/box/inner\n")
    assert memory._left_in_control_groups(tmp_path / "cgroup", of) == [5000 - (3000 - 1000)]
    assert 0 < free_memory() < 1 << 50
