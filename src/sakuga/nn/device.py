"""Which device and precision work runs on, derived from the machine unless a person says."""

import math
import sys
from pathlib import Path

import torch

from ..core.cost import GB
from ..core.errors import SakugaError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # of a container, its second version
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str | None) -> torch.device:
    """The device that `name` asks for, or the best there is. Raises SakugaError where it is not there."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SakugaError(f"device '{name}' is not known; use cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise SakugaError(f"device '{name}' is none that Sakuga works on; use cpu, cuda or cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SakugaError(
            f"device '{name}' is not there: this torch ({torch.__version__}) sees no NVIDIA card; use cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SakugaError(
            f"device '{name}' is not there: the last of this machine is cuda:{torch.cuda.device_count() - 1}"
        )
    return device


def pick_dtype(precision: str | None, device: torch.device) -> torch.dtype:
    """The compute precision: bf16 on a GPU; fp32 on a CPU, where bf16 is slower."""
    return DTYPES[precision or ("bf16" if device.type == "cuda" else "fp32")]


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on a device now, without anything else making room; 0 where the system does not say."""
    if device.type == "cuda":
        return _free_of_card(device)
    return min(_available(MEMINFO), _granted(CGROUP))


def _free_of_card(device: torch.device) -> int:
    """What the system has, with what torch was given and does not use, as far as this process may go (`cap_memory`)."""
    taken = torch.cuda.memory_allocated(device)
    free, total = torch.cuda.mem_get_info(device)
    granted = int(torch.cuda.get_per_process_memory_fraction(_number(device)) * total)
    return max(0, min(free + torch.cuda.memory_reserved(device), granted) - taken)


def _available(meminfo: Path) -> int:
    """What Linux says can be had of the host's memory."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def _granted(group: Path) -> int:
    """What a container has left of the memory it is granted; as good as endless where nothing limits it."""
    try:
        most, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return sys.maxsize
    return max(0, int(most) - int(used)) if most.isdecimal() else sys.maxsize


def cap_memory(device: torch.device, vram: float | None) -> None:
    """Lets this process take at most so many gigabytes (10^9) of a card; None lifts what was set before."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        share = min(1.0, vram * GB / total) if vram else 1.0
        torch.cuda.set_per_process_memory_fraction(share, _number(device))


def _number(device: torch.device) -> int:
    """The number of a card; torch takes a plain "cuda" for the one that is current, but not everywhere."""
    return torch.cuda.current_device() if device.index is None else device.index


def room_for_weights(device: torch.device, vram: float | None) -> float:
    """Bytes that a model may take of a device: what a card has free, at most what is left of `vram` gigabytes.

    On a CPU without `vram` there is no bound: systems page, and say little of what is free.
    """
    if device.type != "cuda":
        return math.inf if vram is None else vram * GB
    free = free_memory(device)
    return free if vram is None else min(free, vram * GB - torch.cuda.memory_allocated(device))
