"""The Ray engine, on a real cluster of two nodes on this machine, one of which is lost."""

import os
from pathlib import Path

import pytest

from mien.batch import Engine, run_batch
from tests.batches import QUICK, listed, pictures, rows

__all__ = ["pictures"]  # fixtures

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra `ray`")


pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_node_that_is_lost(tmp_path: Path, pictures: Path) -> None:
    """It is killed while both are at work. No row is lost, and none comes twice."""
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        lost: list[object] = []

        def lose(done: int, _total: int) -> None:
            if done and not lost:
                lost.append(second)
                cluster.remove_node(second, allow_graceful=False)

        engine = Engine("ray", workers=2, address=cluster.address)
        summary = run_batch(
            [str(pictures)], tmp_path / "out", settings=QUICK, engine=engine, part_size=1,
            on_progress=lose,
        )  # fmt: skip
    finally:
        cluster.shutdown()
    assert lost
    assert (summary.totals.inputs, summary.totals.failed) == (9, 1)
    found = [row["source"] for row in rows(tmp_path / "out")]
    assert found == sorted(str(file) for file in pictures.glob("*.png"))
    assert len(listed(tmp_path / "out/manifest.jsonl")) == 9
