"""From a training to a model in use: saved, loaded, asked about one patient, and written for others to use."""

import tempfile
from pathlib import Path

import numpy as np

import forgetmi
from forgetmi.model.recipe import Recipe

# A small model, trained for an epoch
cohort = forgetmi.load_cohort("synthetic", patients=30, seed=0)
sets = forgetmi.partition(cohort, forget=10.0, seed=0)
data = forgetmi.prepare(cohort=cohort, partition=sets, min_patients=2)
trained, _ = forgetmi.train(prepared=data, partition=sets, recipe=Recipe(epochs=1), seed=0)

with tempfile.TemporaryDirectory() as folder:
    # The checkpoint names, by keyed digests, who it was trained on: later withdrawals need that
    service = Path(folder, "service")
    forgetmi.save(service, trained, prepared=data, partition=sets, without_forgotten=False)

    # In service: a film and a report in, probabilities out. A film may also be a path.
    model = forgetmi.load(service)
    film = np.zeros((80, 64), np.uint8)
    film[20:60, 10:30] = 180
    answer = model.predict(images=[film], reports=["Mild interstitial edema."])
    for name, probability in zip(answer.classes, answer.joint[0], strict=True):
        print(f"{name}: {probability:.2f}")
    print(f"trained on {model.facts.trained} patients, none of whom it names here")

    # For others: the layout of the Hugging Face Hub, with a card and without the patients. Nothing is uploaded.
    published = forgetmi.save_pretrained(model, Path(folder, "published"), license="apache-2.0")
    print(*sorted(path.name for path in published.iterdir()))
    again = forgetmi.from_pretrained(published)
    print(f"the same weights: {again.facts.weights == model.facts.weights}")
