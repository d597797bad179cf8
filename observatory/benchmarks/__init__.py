"""Every speed and memory figure that Cascade promises, measured: `python -m observatory.benchmarks [ROW ...]`."""
