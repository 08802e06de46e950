"""`python -m kinema.cli`: the program without its script."""

from kinema.cli.program import main

if __name__ == "__main__":
    main()
