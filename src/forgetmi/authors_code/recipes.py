"""How the published weights were trained: one recipe for each of the two trainers that may have made them.

Which of the two it was is not published. Both run 300 epochs over batches of 4 from SciBERT's weights and a random
image network, with equal weights of the three losses; clipping is written in both and never reached. Sources:
joint_chestxray (Chauhan et al., MICCAI 2020) and the trainer in the Forget-MI release (arXiv 2506.23145). Deviations:
those named in `forgetmi.model.schedule`; a seed, which neither sets; and a plateau judged by the mean loss a sample,
not a batch.
"""

from __future__ import annotations

from dataclasses import replace

from forgetmi.model.recipe import Recipe

# Warm-up over a tenth of the steps, then linearly to 0; films shifted at random.
JOINT_CHESTXRAY = Recipe(
    epochs=300,
    batch_size=4,
    lr=2e-5,
    weight_decay=0.1,
    decay_all=False,
    decay_batch_norm=True,
    optimiser="bert",
    clip=0.0,
    warmup=0.1,
    decay=0.9,
    zero_start=True,
    shift=200.0,
)

# A constant rate, divided by ten where the training loss stops falling; no shift.
FORGET_MI = replace(
    JOINT_CHESTXRAY, lr=1e-5, warmup=0.0, decay=0.0, zero_start=False, plateau=10, shift=0.0
)
