"""A procedural cartoon world: films and clips drawn from a few facts, for the demo and for training the tiny base.

It stands apart from the product: nothing here imports `sakuga`, and `sakuga` never needs it to run.
"""
