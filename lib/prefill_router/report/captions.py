"""What every figure shows, in words: its caption, and the text for those who do not see it."""

from __future__ import annotations

# By the beginning of a figure's name; what follows it is the pool.
CAPTIONS = {
    "90_accuracy_by_level": (
        "Share of questions that each target of the embedded pool answers correctly, by difficulty"
        " level."
    ),
    "01_pool": (
        "The pool before any routing: accuracy of the single targets against their mean cost; how"
        " often one target is right where another is wrong; accuracy by benchmark."
    ),
    "02_activations": (
        "Prompt lengths in tokens of the encoder, and the mean norm of the pooled hidden states,"
        " layer by layer, for the last token and for the mean over tokens."
    ),
    "03_layers": (
        "Probes over the layers of the encoder: cross-validated AUC of a logistic probe, Fisher"
        " separability J, effective dimensionality and anisotropy, for both poolings."
    ),
    "04_trunk": (
        "SharedTrunkNet on test rows: ROC curves of P(correct) for each target, calibration, and"
        " the AUC of the ensemble against that of its members."
    ),
    "05_components": (
        "Share of each principal component of the targets' outcomes that the kernel router predicts"
        " on held-out training rows: the first is shared difficulty, the others set targets apart."
    ),
    "06_baselines": (
        "Mean AUC per target of every text baseline and control, a dot for each split."
    ),
    "08_curves": (
        "Cost against accuracy of the routers as the tolerance grows, with the single targets, the"
        " zero router and the oracle."
    ),
    "07_methods": (
        "All methods with their 95 % intervals: mean AUC per target, gap to the oracle closed, and"
        " area under the cost/accuracy curve."
    ),
    "09_disagreement": (
        "For each pair of targets, the AUC of telling which one is right where just one of them is."
    ),
    "07_calibration": (
        "Reliability diagram: the predicted P(correct) against the accuracy observed, on test rows."
    ),
    "10_encoder_target": (
        "Encoders against targets: the AUC with which each encoder's prefill predicts the"
        " correctness of each target."
    ),
    "10_encoder_size": (
        "Mean AUC per target against the number of the encoder's parameters, with 95 % intervals."
    ),
    "16_families": (
        "Every method on the random split and with whole families held out, with 95 % intervals:"
        " mean AUC per target, AUC of differences, gap to the oracle closed."
    ),
    "16_layers": (
        "Probe AUC and Fisher's J over the layers of the encoder, on the random split and with"
        " whole families held out, for both poolings; means over targets."
    ),
    "11_learning_curve": (
        "Mean AUC per target, and AUC of differences between targets, against the number of"
        " training queries, with 95 % intervals."
    ),
    "11_measured_luck": (
        "Targets that answered three times: accuracy of the best single target, of the router, of"
        " the router told one or two other answers of each target, the highest share of right"
        " answers, and the oracle of one answer; what is surely luck is shaded."
    ),
    "11_luck": (
        "For each pool, accuracy of the best single target, of routing by an informed reader, what"
        " its largest P promises on average, the oracle, and an oracle of independent draws at its"
        " P; the stretch from the third to the last is luck, which no knowledge of P closes."
    ),
    "13_rules": (
        "For each pool, accuracy of ours above or below the best single target's against the share"
        " of its cost, by the tolerance rule and by the utility rule."
    ),
    "13_walks": (
        "For each pool, the candidates of ours by their cost: difference to the best single target"
        " on labelled queries, its lower bound, and the plans that were taken."
    ),
    "13_plans": (
        "For each pool and method, what the plan without a loss does on test rows, with 95 %"
        " intervals: accuracy above the best single target's, and the share of its cost saved."
    ),
    "13_promises": (
        "For each pool and method, the share of 200 draws in which a plan broke its promise, with"
        " its interval; the dashed line is what was allowed."
    ),
    "13_explorer": (
        "One point of a router on its cost/accuracy curve, with its plans, the best text router and"
        " the single targets; beside it the share of the queries that each target answers there."
    ),
    "14_unlike": (
        "Share of test rows below a familiarity, and accuracy of ours above the best single"
        " target's in bins of familiarity, for each pool."
    ),
    "15_query_costs": (
        "By how many points of the best single target's cost ours saves more when it decides by a"
        " predicted cost of each query than by a constant one, for each pool."
    ),
    "15_query_cost_plans": (
        "By how many points of the best single target's cost the plan without a loss saves more"
        " when it is chosen by a predicted cost of each query than by a constant one, for each"
        " pool."
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
    "forest": (
        "Every pool with prices: mean AUC of ours minus the best text router's, planned saving,"
        " planned saving minus the best text router's, and accuracy of the plan above the best"
        " single target's, with 95 % intervals."
    ),
    "speed": (
        "Speed against the published recipe, what a query takes beyond the encoder's own prefill,"
        " and time and memory against the number of prompts."
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
