"""`python -m sakuga` is the same as `sakuga`."""

from .cli import main

if __name__ == "__main__":
    main()
