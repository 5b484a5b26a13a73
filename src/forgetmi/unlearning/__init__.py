"""What unlearning methods share: their contract, guarded loaders, teacher, losses, the loop of steps."""
