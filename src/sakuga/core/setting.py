"""What a setting is: a field with its help, unit and bounds, in a group that is frozen and knows all its keys.

Settings made with `affects=False` cannot change a result and stay outside fingerprints.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


def setting(default: Any, help: str, *, unit: str = "", affects: bool = True, **bounds: Any) -> Any:
    """A field with its help, unit and bounds (pydantic's ge, le, gt, min_length ...)."""
    extra: dict[str, Any] = {"unit": unit, "affects": affects}
    text = f"{help} [{unit}]" if unit else help
    return Field(default, description=text, json_schema_extra=extra, **bounds)


class Settings(BaseModel):
    """What all settings share: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    def that_matter(self) -> dict[str, Any]:
        """The settings that can change a result, as plain JSON values: what a fingerprint is made of."""
        fields = type(self).model_fields
        keep = {k for k, f in fields.items() if extra_of(f).get("affects", True)}
        return self.model_dump(mode="json", include=keep)


def extra_of(field: Any) -> Mapping[str, Any]:
    """The unit of a field, and whether it affects results."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


class Hardware(Settings):
    """Where the transformer computes, in which precision, and how its weights are held."""

    precision: Literal["bf16", "fp32"] | None = setting(None, "Compute precision; bf16 on a GPU, fp32 on a CPU")
    device: str | None = setting(None, "cpu, cuda or cuda:N; derived from what is there", affects=False)
    weights: Literal["bf16", "fp8"] | None = setting(
        None,
        "How the transformer's large weights are stored; by default as precision says, on a GPU fp8 where that does not fit",
    )
    stream: int | None = setting(
        None, "Blocks whose weights stay in host memory and pass through the GPU; by default as many as do not fit",
        ge=0, affects=False,
    )  # fmt: skip
    vram: float | None = setting(
        None, "The most that is taken of the GPU's memory; what is free by default", unit="GB", gt=0, affects=False
    )
    compile: bool = setting(
        False, "Compile the transformer's blocks: faster steps after a first slow one", affects=False
    )
