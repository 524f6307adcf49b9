"""Media in and out: films decoded exactly, time in rational numbers, clips and pictures written."""
