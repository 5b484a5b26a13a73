"""What the authors' release does otherwise than the paper says, one switch each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True)
class Deviations:
    """All on = the release; all off = `forgetmi.methods.forget_mi.ForgetMI` with given noise drawn anew each epoch, but
    that retained samples are pulled by rounding, too (see `forgetmi.unlearning.losses.keep`).

    Args:
        teacher_in_train_mode: The original runs with dropout and batch statistics, and its running statistics drift;
            off: frozen, eval mode.
        student_in_train_mode: The same for the model being unlearned; off: eval mode.
        six_forwards: The original also sees the clean forgotten samples and the student their noisy copies; nothing
            but running statistics changes by that.
        fresh_gates: A new random gate for each of the four branches at every step; off: the original's fitted gate for
            all of them.
        whole_batch_gate: The gate's two norms run over the whole batch; off: per sample.
        gate_dropout: Dropout of 0.1 after the gate.
        capped_retention: UR and MR are cut at their value in the last batch of epoch 0, plus 1.
        one_step_per_epoch: Gradients of all batches are summed and applied once; off: one step a batch.
        idle_first_epoch: Epoch 0 changes no weight.
        sign_by_use_noise: Without use_noise, UU and MU are maximised, without a bound; off: always minimised.
        fixed_retain_order: The same retain samples in the same order each epoch, in whole batches; off: as many as
            forgotten ones, each epoch going on where the last stopped.
        forget_in_file_order: Forgotten samples are never shuffled.
        repeated_randomness: Gates and dropout masks are the same in every epoch (seed 42, whatever the run's seed).
        repeated_image_noise: The image noise is the same in every epoch, as with loader processes; off: drawn anew.
        rounded_weights: The normalised weights are rounded to two decimals.
        transformers_adamw: Epsilon 1e-6, added before the bias correction; off: PyTorch's AdamW and its 1e-8.
        decayed_batch_norm: Only names with "bias" or "LayerNorm" are spared from weight decay; off: all norm layers.
        keyword_noise: Report noise with blanked keywords and synonyms, and pixel noise that leaves padding black; off:
            the paper's character or word noise, and noise on every pixel.
        padded_texts: Every text is padded to 320 tokens (or to as many positions as the model has); off: to the
            longest of the batch.
    """

    teacher_in_train_mode: bool = True
    student_in_train_mode: bool = True
    six_forwards: bool = True
    fresh_gates: bool = True
    whole_batch_gate: bool = True
    gate_dropout: bool = True
    capped_retention: bool = True
    one_step_per_epoch: bool = True
    idle_first_epoch: bool = True
    sign_by_use_noise: bool = True
    fixed_retain_order: bool = True
    forget_in_file_order: bool = True
    repeated_randomness: bool = True
    repeated_image_noise: bool = True
    rounded_weights: bool = True
    transformers_adamw: bool = True
    decayed_batch_norm: bool = True
    keyword_noise: bool = True
    padded_texts: bool = True

    @classmethod
    def none(cls) -> Self:
        """All switches off."""
        return cls(**{switch.name: False for switch in fields(cls)})
