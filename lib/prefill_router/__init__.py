"""Pick the language model that answers a query, from the hidden states of a prefill.

A reproduction and extension of "LLM Router: Rethinking Routing with Prefill Activations" (arXiv
2603.20895). An *encoder* (open weights) reads the prompt in one forward pass; from its hidden
states a small network, the *trunk*, predicts for every *target* of a pool whether that target would
answer correctly; a policy then trades accuracy for cost.

The data go one way, one module a step::

    outcomes -> activations -> probes -> features -> trunk (or baselines) -> routing -> metrics,
    stats

Nothing is imported with the package itself: ``import prefill_router`` is instant and needs no
torch. Import what you use, for example
``from prefill_router.data.outcome_files import load_outcomes``.
"""

__version__ = "0.1.0"
