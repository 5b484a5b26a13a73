"""Many trials of one run: tuning, sweeps."""
