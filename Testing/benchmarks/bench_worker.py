"""What the worker process costs: a warm second classification there and in this process; its start; a cancel."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import networks_for_timing as timed
import numpy as np
from timing import Row, alternate, seconds, show

from MedImgClassifierLib.worker.client import Client, Run
from MedImgClassifierLib.worker.session import Session


def run() -> list[Row]:
    volume = timed.synthetic_ct()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="medimg-bench-") as scratch:
        bundle = timed.write_bundle(Path(scratch, "timing"), timed.random_resnet18()).path
        session, client = Session(), Client()
        how = {"device": "cpu", "runtime": "onnxruntime"}
        taken = alternate(
            {
                "here": lambda: session.classify(replace(volume), bundle, **how),
                "there": lambda: client.classify(replace(volume), bundle, **how),
            }
        )
        here, there = (float(np.median(taken[way])) for way in ("here", "there"))
        remark = f"goal at most 5 % and 0.3 s: {1.05 * here + 0.3:.2f}; {here:.2f} s in this process"
        rows.append(("warm classification of 300 x 512 x 512 in the worker", "s", there, remark))
        stops = []
        for _ in range(5):
            job = client.start(replace(volume), bundle, **how)
            while job.stage != "classify" or job.fraction < 0.1:
                job.poll()
                time.sleep(0.01)
            job.cancel()
            stops.append(seconds(lambda job=job: _ended(job)))
        rows.append(("cancel until the run has ended, slowest of 5", "s", max(stops), "goal at most 1"))
        client.close()
        small = replace(volume, voxels=volume.voxels[:2], slice_origins_lps=volume.slice_origins_lps[:2])
        starts = []
        for _ in range(5):
            fresh = Client()
            starts.append(seconds(lambda fresh=fresh: fresh.classify(small, bundle, **how)))
            fresh.close()
        rows.append(
            ("first classification with the worker's start, 2 slices", "s", float(np.median(starts)), "no goal")
        )
    return rows


def _ended(job: Run) -> None:
    while not job.poll():
        time.sleep(0.005)


if __name__ == "__main__":
    show("Worker process", run())
