"""The test suite. It mirrors the rooms of the package; tests/helpers.py holds what several tests share."""
