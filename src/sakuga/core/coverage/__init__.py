"""What captions say and leave out, counted over the set: pure functions on words, without a store and without a model."""
