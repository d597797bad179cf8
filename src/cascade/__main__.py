"""`python -m cascade` is the `cascade` command."""

from cascade.command.entry import main

if __name__ == "__main__":
    main()
