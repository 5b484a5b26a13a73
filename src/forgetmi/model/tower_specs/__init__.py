"""What towers are made of; plain values, which need no torch. A file for towers of a kind.

A specification names a kind's options. `resolve` fills in what the tower's own files or the training patients say; only
a resolved one is built, and a checkpoint holds it, so that loading needs no other file.
"""
