"""Train, forget and measure from Python, on a small generated cohort (about 20 seconds)."""

import forgetmi
from forgetmi.model.recipe import Recipe

cohort = forgetmi.load_cohort("synthetic", patients=60, seed=0)
sets = forgetmi.partition(cohort, forget=10.0, seed=0)
data = forgetmi.prepare(cohort=cohort, partition=sets, min_patients=2)
recipe = Recipe(epochs=4)

original, _ = forgetmi.train(prepared=data, partition=sets, recipe=recipe, seed=0)
references = [
    forgetmi.train(prepared=data, partition=sets, recipe=recipe, seed=seed, without_forgotten=True)[
        0
    ]
    for seed in (1, 2)
]
done = forgetmi.unlearn(prepared=data, partition=sets, model=original, recipe=recipe)
print(
    f"{done.trace.method}: {done.trace.steps} steps, {done.trace.cost.cpu_seconds:.1f} CPU s, {done.trace.facts}"
)

signals = [
    forgetmi.predict(prepared=data, model=model) for model in (original, done.model, *references)
]
scores = forgetmi.evaluate(
    original=signals[0], unlearned=signals[1], retrained=signals[2:], partition=sets
)
for model in ("original", "unlearned", "retrain-0"):
    print(model, scores.get(model, "auc", head="image", on="forget"))
