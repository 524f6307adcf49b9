"""Which device and precision work runs on, derived from the machine unless a person says."""

import torch

from ..core.errors import SakugaError

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
