"""The same work in one process or in several, each with a model of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from segue.errors import SegueError
from segue.predicting.jobs import Job
from segue.predicting.manifest import Outcome
from segue.predicting.pictures import predict_pictures
from segue.predicting.tools import Order, Tools
from segue.predicting.video import predict_video


class ProcessDied(SegueError):
    """One of several processes was killed."""


def work(jobs: Sequence[Job], tools: Tools) -> Iterator[Outcome]:
    """Predict files in this process: pictures first, then videos."""
    yield from predict_pictures([job for job in jobs if not job.is_video], tools)
    for job in jobs:
        if job.is_video:
            yield predict_video(job, tools)


def devices_for(device: str, processes: int, jobs: int) -> list[str]:
    """The device of each process; by default one process per GPU, and one where there is none.

    device: what was asked for, "" for the accelerator. processes: 0 for the default.
    """
    gpus = torch.cuda.device_count() if device in ("", "cuda") and torch.cuda.is_available() else 0
    wanted = min(processes or max(1, gpus), max(1, jobs))
    if gpus:
        return [f"cuda:{index % gpus}" for index in range(wanted)]
    return [device] * wanted


def work_in_processes(jobs: Sequence[Job], order: Order, devices: Sequence[str]) -> Iterator[Outcome]:
    """Predict files in a process for each of `devices`.

    Raises ProcessDied when one of them is killed; what was written until then stays.
    """
    context = multiprocessing.get_context("spawn")
    numbers = context.Value("i", 0)
    # Small portions keep all busy to the end; those of at least a batch let pictures of one size go together.
    portion = max(1, min(order.batch, len(jobs) // (4 * len(devices))))
    portions = iter([jobs[start : start + portion] for start in range(0, len(jobs), portion)])
    pool = ProcessPoolExecutor(len(devices), context, _begin, (order, list(devices), numbers))
    try:
        coming: deque[Future[list[Outcome]]] = deque(
            pool.submit(_work, part) for part in islice(portions, 2 * len(devices))
        )
        while coming:
            yield from coming.popleft().result()
            coming.extend(pool.submit(_work, part) for part in islice(portions, 1))
    except BrokenProcessPool as error:
        raise ProcessDied(
            "a process was killed, most likely for want of memory; take fewer --processes or --inference.window 512, "
            "and go on with --skip-existing"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_tools: Tools | None = None  # of this process, where it is one of several


def _begin(order: Order, devices: list[str], numbers: Any) -> None:
    global _tools
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says when to stop
    with numbers.get_lock():
        device = devices[numbers.value % len(devices)]
        numbers.value += 1
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // len(devices)))
    _tools = Tools(replace(order, device=device))


def _work(jobs: Sequence[Job]) -> list[Outcome]:
    assert _tools is not None
    return list(work(jobs, _tools))
