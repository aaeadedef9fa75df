"""Millions of pictures, hours of video: many workers, one folder of results, stopped at any time.

May import the standard library, numpy, av, arro3, fsspec and ray (extras, inside functions), and
from mien: pipeline and what lies below it.

The way of the data: `inputs.py` lists what arguments name (`remote.py` where it lies elsewhere),
`plan.py` cuts it into parts, `schedule.py` hands parts out as tasks, an engine (`local.py`,
`cluster.py`) carries them to workers, `worker.py` does them (`video.py` cuts and joins long
videos), `partitions.py` writes what was found, and `folder.py` with `disk.py` keeps all of it safe.
`run.py` is a batch from beginning to end; `settings.py` says how it analyses.
"""

from mien.batch.plan import PART_SIZE
from mien.batch.run import Engine, Shard, Summary, run_batch
from mien.batch.settings import LEAST_SEGMENT_S, SEGMENT_S, Settings

__all__ = [
    "LEAST_SEGMENT_S",
    "PART_SIZE",
    "SEGMENT_S",
    "Engine",
    "Settings",
    "Shard",
    "Summary",
    "run_batch",
]
