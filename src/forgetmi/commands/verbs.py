"""The commands: one word a verb, and where it is."""

from __future__ import annotations

# Verb -> (module:function, one line of help). Entry points add more; see `forgetmi.commands.entry_points`.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "forgetmi.commands.demo:demo",
        "the main job on the embedded cohort: train, forget, compare, report",
    ),
    "run": (
        "forgetmi.commands.run:run",
        "the same on any cohort: train, retrain, unlearn, evaluate, report",
    ),
    "withdraw": (
        "forgetmi.commands.withdraw:withdraw",
        "carry a withdrawal out on the model in service, from the list to closed requests",
    ),
    "cohort": ("forgetmi.commands.cohort.group:cohort", "make, check or show a cohort"),
    "train": (
        "forgetmi.commands.train:train",
        "train the original, or a model without the forgotten",
    ),
    "predict": (
        "forgetmi.commands.predict:predict",
        "run any checkpoint over any cohort; signals to an .npz",
    ),
    "export": (
        "forgetmi.commands.export:export",
        "a model's prediction as ONNX or torch.export, or the model for the Hugging Face Hub",
    ),
    "unlearn": (
        "forgetmi.commands.unlearn:unlearn",
        "make a model that forgets, from a checkpoint",
    ),
    "evaluate": ("forgetmi.commands.evaluate:evaluate", "measure models from their stored signals"),
    "report": ("forgetmi.commands.report:report", "write the report of a finished run again"),
    "explain": (
        "forgetmi.commands.explain:explain",
        "a page about one forgotten patient of a finished run",
    ),
    "audit": (
        "forgetmi.commands.audit:audit",
        "audit finished runs again, several pooled; no model is run",
    ),
    "shadows": (
        "forgetmi.commands.shadows:shadows",
        "models on random halves of the patients, for audits",
    ),
    "pool": (
        "forgetmi.commands.pool.group:pool",
        "models without a part of the patients each, as references of every request",
    ),
    "record": ("forgetmi.commands.record:record", "make or sign the record of a finished run"),
    "requests": (
        "forgetmi.commands.requests.group:requests",
        "the ledger of withdrawals: add, list, due, process, close",
    ),
    "where": (
        "forgetmi.commands.where:where",
        "every artefact below some folders that depends on people of a list",
    ),
    "cache": (
        "forgetmi.commands.cache.group:cache",
        "show what the cache remembers, or remove it: of some patients, or all",
    ),
    "verify": (
        "forgetmi.commands.verify:verify",
        "check a record, its chain and every file it names",
    ),
    "sweep": (
        "forgetmi.commands.sweep:sweep",
        "a Weights & Biases sweep file without a server, or one of its trials",
    ),
    "benchmark": (
        "forgetmi.commands.benchmark:benchmark",
        "the paper's tables: methods x percentages x seeds",
    ),
    "tune": (
        "forgetmi.commands.tune:tune",
        "choose each method's options, on the same budget for all",
    ),
    "methods": (
        "forgetmi.commands.methods:methods",
        "list the unlearning methods and what each reads",
    ),
    "help": (
        "forgetmi.commands.help_topics:help_topics",
        "a command, a page of the documentation or a term, by its name",
    ),
    "completion": (
        "forgetmi.commands.completion:completion",
        "completion of words and options for bash, zsh or fish",
    ),
}
