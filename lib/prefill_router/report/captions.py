"""What every figure shows, in words: its caption, and the text for those who do not see it."""

from __future__ import annotations

# By the beginning of a figure's name; what follows it is the pool.
CAPTIONS = {
    "01_pool": (
        "Each pool before any routing: the share of queries that all targets get right, on which"
        " they disagree, and that all get wrong; the best single target and the oracle; cost and"
        " accuracy of every target."
    ),
    "03_layers": (
        "For each target, cross-validated probe AUC over the layers of the encoder for both"
        " poolings, Fisher's J below it, and the layer that each of the two chooses."
    ),
    "07_methods": (
        "All methods with their 95 % intervals, a column for each pool: mean AUC per target, AUC"
        " of differences between targets, share of the gap to the oracle that is closed."
    ),
    "07_calibration": (
        "For each pool, the predicted P(correct) against the share that was right, on test rows."
    ),
    "09_disagreement": (
        "For each pair of targets of each pool, the AUC of telling which one is right where just"
        " one of them is."
    ),
    "10_encoders": (
        "Mean AUC per target against the size of the encoder, a line for each pool; and for each"
        " target by how much each encoder lies above the mean of all."
    ),
    "11_headroom": (
        "Both AUCs against the number of training queries; and for each pool accuracy from the"
        " best single target to the oracle, the stretch that is luck, or not known, shaded."
    ),
    "13_decision": (
        "Cost against accuracy of ours, the best text router, mixed targets and every target; the"
        " planned point with the arrow from the best single target; and the share of the queries"
        " that the plan sends to each target."
    ),
    "13_plans": (
        "For each pool and method, what the plan without a loss does on test rows: accuracy above"
        " the best single target's, the share of its cost saved, and how often its promise breaks;"
        " 95 % intervals."
    ),
    "16_families": (
        "Every method on the random split and with whole families held out, with 95 % intervals:"
        " mean AUC per target, AUC of differences, gap to the oracle closed."
    ),
    "forest": (
        "Every pool: ours minus the best text router and minus the best single target, paired, in"
        " mean AUC, accuracy by the plan and cost by the plan, with 95 % intervals."
    ),
    "method": (
        "The method: a prompt is read once by an encoder, a router predicts from its states which"
        " target will be right, and a rule planned beforehand picks one."
    ),
    "90_accuracy_by_level": (
        "Share of questions that each target of the embedded pool answers correctly, by difficulty"
        " level."
    ),
    "13_explorer": (
        "One point of a router on its cost/accuracy curve, with its plans, the best text router and"
        " the single targets; beside it the share of the queries that each target answers there."
    ),
    "14_unlike": (
        "Share of test rows below a familiarity, and accuracy of ours above the best single"
        " target's in bins of familiarity, for each pool."
    ),
    "18_routes": (
        "P(correct) of each target for the prompts that were routed live; the chosen target is"
        " framed."
    ),
    "19_agreement": (
        "Targets that answered three times: AUC of telling whether the answer they give is right,"
        " by how many of the three agree, by P(correct) of the prefill, and by both, with 95 %"
        " intervals."
    ),
    "19_cascades": (
        "For each pool and budget, accuracy of cascades above that of routing with one call, in"
        " points, with 95 % intervals; every call is paid, for visible tokens and with hidden"
        " reasoning."
    ),
    "speed": (
        "Speed against the published recipe, what a query takes beyond the encoder's own prefill,"
        " and time and memory against the number of prompts."
    ),
    "sizes": (
        "Time and peak memory by the number of training rows and of prompts, and how fast one"
        " process, workers of Ray and plain Ray Data code extract."
    ),
}


def caption(name: str) -> str:
    """The caption of a figure by its name, with the pool that the name ends in; the name itself if
    there is none.

    >>> caption("07_calibration_small")
    'Pool small. Reliability diagram: the predicted P(correct) against the accuracy observed, on
    test rows.'
    """
    for start, text in CAPTIONS.items():
        if name == start:
            return text
        if name.startswith(f"{start}_"):
            return f"Pool {name.removeprefix(f'{start}_')}. {text}"
    return name
