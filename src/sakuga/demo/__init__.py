"""The demo: films of a cartoon world go the whole way, and what the LoRA did is measured from pixels."""
