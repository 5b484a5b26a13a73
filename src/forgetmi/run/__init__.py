"""One run, from its specification to its signed record."""
