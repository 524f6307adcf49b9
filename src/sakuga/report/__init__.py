"""Pages that show what a stage found, for a browser: plain HTML beside the project's own pictures."""
