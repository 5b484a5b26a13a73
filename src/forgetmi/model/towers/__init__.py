"""Towers: one modality's inputs to one embedding each; a file a kind. Their specifications need no torch."""
