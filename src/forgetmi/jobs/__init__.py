"""Many jobs at once: processes of one machine, or a Ray cluster."""
