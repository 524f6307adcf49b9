"""Sakuga: from films to a style LoRA for the Wan video models."""

__version__ = "0.1.0"
