"""The core: facts, settings, the project, media and samples. Imports no torch and nothing else of ours."""
