"""train: a LoRA for each expert, one after the other, in one run that can be stopped anywhere and goes on exactly.

`loop` is the story; `data` says what a step sees, `state` keeps a run on disk, `record` keeps it in the store,
`measure` validates and `preview` looks.
"""

from .loop import Run, StepReport, train

__all__ = ["Run", "StepReport", "train"]
