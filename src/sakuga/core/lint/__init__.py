"""Lint of captions: what captioners get wrong, as rules over text alone, each finding with its place and its remedy."""
