"""The main job from Python, as README shows it, with a cohort and epochs of seconds; writes the folder report."""

import forgetmi
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.recipe import Recipe

cohort = forgetmi.load_cohort("synthetic", patients=30, seed=0)
sets = forgetmi.partition(cohort, forget=10.0, seed=0)  # percent of the images, whole patients
data = forgetmi.prepare(cohort=cohort, partition=sets)  # every image decoded once
made = {"prepared": data, "partition": sets, "recipe": Recipe(epochs=1)}
old, _ = forgetmi.train(**made)
others = [forgetmi.train(**made, seed=s, without_forgotten=True)[0] for s in (1, 2, 3)]
done = forgetmi.unlearn(**made, model=old, method=ForgetMI(epochs=1))
old, new, *again = [forgetmi.predict(prepared=data, model=m) for m in (old, done.model, *others)]
sides = {"partition": sets, "original": old, "unlearned": new, "retrained": again, "cohort": cohort}
scores, audit = forgetmi.evaluate(**sides), forgetmi.audit(**sides)
forgetmi.report("report", **sides, trace=done.trace, evaluation=scores, audit=audit)
print(scores.get("unlearned", "gap", head="image"), audit.verdict)
