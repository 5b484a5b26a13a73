"""What every room may import: value types, errors, registry, seeds, files, costs, several processes."""
