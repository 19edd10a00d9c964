"""How many cores this process may use.

A machine's count is too many in a container: with 64 threads on two cores they only wait for one
another. The convention: whatever starts a thread or process per core asks here.
"""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # of cgroups v2, v1


def count_cores() -> int:
    """What affinity and the container's quota leave of the machine's cores, at least 1.

    Part of a core counts as one.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux alone
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    for names in QUOTAS:
        try:
            text = " ".join((CGROUP / name).read_text(encoding="ascii") for name in names)
            quota, period = map(int, text.split())
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
        if quota > 0 and period > 0:  # -1 is no quota
            cores = min(cores, math.ceil(quota / period))
    return cores


def limit_torch() -> None:
    """Let PyTorch have no more threads than cores, as it knows nothing of a container's quota.

    It may have fewer, as each of several processes has.
    """
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), count_cores()))
