"""The stages, in the order of the film's journey. They never import each other: they meet in the rows of the store."""
