"""Train, forget and measure from Python, on a small generated cohort (a few seconds)."""

import forgetmi
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.recipe import Recipe

# A cohort, who is in which set, and everything decoded and tokenized once.
cohort = forgetmi.load_cohort("synthetic", patients=30, seed=0)
sets = forgetmi.partition(cohort, forget=10.0, seed=0)
data = forgetmi.prepare(cohort=cohort, partition=sets, min_patients=2)

# The original, and two models that never saw the forgotten patients.
recipe = Recipe(epochs=2)
original, _ = forgetmi.train(prepared=data, partition=sets, recipe=recipe, seed=0)
references = []
for seed in (1, 2):
    retrained, _ = forgetmi.train(
        prepared=data, partition=sets, recipe=recipe, seed=seed, without_forgotten=True
    )
    references.append(retrained)

# Unlearning, and what it did.
done = forgetmi.unlearn(
    prepared=data, partition=sets, model=original, method=ForgetMI(epochs=5), recipe=recipe
)
trace = done.trace
print(f"{trace.method}: {trace.steps} steps, {trace.cost.cpu_seconds:.1f} CPU s, {trace.facts}")

# Each model runs once over the cohort; every score is computed from what it returned.
models = [original, done.model, *references]
signals = [forgetmi.predict(prepared=data, model=model) for model in models]
scores = forgetmi.evaluate(
    original=signals[0], unlearned=signals[1], retrained=signals[2:], partition=sets
)
for name in ("original", "unlearned", "retrain-0"):
    print(name, scores.get(name, "auc", head="image", on="forget"))
