"""Many runs: a grid of methods, forget percentages and seeds, each model made once and known by what determines it."""
