"""Tables for people: which rows, in which order."""

import json

import pandas as pd
import pytest

from prefill_router.evaluate.keys import ARGMAX, CALIBRATED
from prefill_router.heads.names import OnEncoder, name_of
from prefill_router.report import cells
from prefill_router.report.benchmark_table import benchmark_table, speed_sentence
from prefill_router.report.cells import verdict
from prefill_router.report.rivals import (
    best_semantic,
    best_text,
    rivals,
    rivals_in_words,
    saving_against,
    semantic_ranking,
)
from prefill_router.report.sizes_table import sizes_table
from prefill_router.report.tables import (
    SHORT,
    bar_sentences,
    bar_table,
    headline_table,
    paired_sentences,
)

AUC = {
    "tfidf": 0.8,
    "paper": 0.85,
    "ours": 0.9,
    OnEncoder("ours", "x"): 0.7,
    "knn_minilm": 0.75,
    "mlp_minilm": 0.7,
    "irt_mpnet": 0.82,
    "knn_mpnet": 0.78,
    "best_single": None,
}


ENCODERS = {"ours": "x + y", OnEncoder("ours", "x"): "x"}
SENTENCE = {"knn_minilm", "mlp_minilm", "irt_mpnet", "knn_mpnet", "knn_some-encoder-v1"}


def metrics_of(pool, auc):
    row = {"pool": pool, "operating_point": "", "target": "", "n": 10, "seeds": 2}
    values = [
        (method, metric, value)
        for method, mean_auc in auc.items()
        for metric, value in (
            ("mean_auc", mean_auc),
            ("brier", 0.2),
            ("best_single_accuracy", 0.6),
            ("oracle_accuracy", 0.9),
        )
    ]
    rows = [
        {
            **row,
            "method": name_of(method),
            "encoder": ENCODERS.get(method, ""),
            "reads": "sentence" if method in SENTENCE else "",
            "metric": metric,
            "value": value,
            "ci_low": value,
            "ci_high": value,
        }
        for method, metric, value in values
    ]
    # of one target alone: no table of pools may take it for the pool's
    rows.append(
        {
            **row,
            "method": "knn_minilm",
            "encoder": "",
            "reads": "sentence",
            "target": "t",
            "metric": "mean_auc",
            "value": 0.99,
            "ci_low": 0,
            "ci_high": 1,
        }
    )
    return pd.DataFrame(rows)


def paired_of(pool, *rows):
    return pd.DataFrame(
        [
            {
                "pool": pool,
                "method_a": name_of(a),
                "encoder_a": ENCODERS.get(a, ""),
                "method_b": name_of(b),
                "encoder_b": ENCODERS.get(b, ""),
                "metric": metric,
                "diff": diff,
                "ci_low": diff - 0.02,
                "ci_high": diff + 0.02,
                "n": 10,
            }
            for a, b, metric, diff in rows
        ]
    )


@pytest.fixture
def metrics():
    return metrics_of("a", AUC)


@pytest.fixture
def paired():
    return paired_of(
        "a",
        ("ours", "irt_mpnet", "mean_auc", 0.08),
        ("ours", "best_single", "accuracy", -0.03),
        ("paper", "irt_mpnet", "mean_auc", 0.01),
        ("tfidf", "best_single", "accuracy", 0.01),
    )


def first_cells(table):
    return [
        line.split(" | ")[0].strip("| ") for line in table.splitlines() if line.startswith("| ")
    ][1:]


def test_rows_stand_in_order_and_only_those_asked_for(metrics):
    table = headline_table(metrics)
    assert (
        "best single target 60.0% [60.0%, 60.0%], oracle 90.0% [90.0%, 90.0%]; n = 10 test queries"
        " in each of 2 splits" in table.splitlines()[0]
    )
    assert first_cells(table) == [
        "kernel router on prefill (ours)",
        "SharedTrunkNet on prefill",
        "IRT on MPNet",
        "kNN on MPNet",
        "kNN on MiniLM",
        "MLP on MiniLM",
        "ours on x",
        "TF-IDF + LR",
        "best single",
    ]
    assert (
        "| 0.850 [0.850, 0.850] |" in table and "0.990" not in table
    )  # the target's own row is left out
    # the pages': the best three semantic baselines, no single encoder
    short = headline_table(metrics, SHORT)
    assert first_cells(short) == [
        "kernel router on prefill (ours)",
        "SharedTrunkNet on prefill",
        "IRT on MPNet",
        "kNN on MPNet",
        "kNN on MiniLM",
        "TF-IDF + LR",
        "best single",
    ]


def test_brier_and_ece_are_for_the_summary_alone(metrics):
    names = [
        line
        for table in (headline_table(metrics), headline_table(metrics, SHORT))
        for line in table.splitlines()
        if line.startswith("| method")
    ]
    assert (
        names[0].endswith("| Brier | ECE |")
        and names[1] == names[0].removesuffix("Brier | ECE |")[:-1]
    )
    assert "mean AUC | disagreement AUC | accuracy | gap closed |" in names[1]


def test_the_paper_s_own_numbers_stand_outside_the_ranking():
    for pool, numbers in (
        ("frontier", "0.856, P-AUCCC 0.4377, oracle 89.3 %"),
        ("small", "0.826, P-AUCCC 0.5472, oracle 92 %"),
        ("mixed", "0.8817, P-AUCCC 0.2323, oracle not reported"),
    ):
        last = headline_table(metrics_of(pool, AUC), SHORT).splitlines()[-1]
        assert (
            not last.startswith("|") and "(other data, other targets)" in last and numbers in last
        )
    assert "other data" not in headline_table(metrics_of("all", AUC))


def test_a_pool_without_the_paper_s_network_has_its_header():
    assert "best single target 60.0%" in headline_table(metrics_of("a", {"tfidf": 0.8}))


def test_the_best_semantic_baseline_reads_an_embedding_and_has_the_highest_auc(metrics):
    assert semantic_ranking(metrics, "a") == ["irt_mpnet", "knn_mpnet", "knn_minilm", "mlp_minilm"]
    assert best_semantic(metrics, "a") == "irt_mpnet"
    assert (
        best_semantic(metrics_of("a", {"paper": 0.8, "tfidf": 0.9}), "a") is None
        and best_semantic(metrics, "b") is None
    )
    # as read back from a CSV file, where an empty target is missing
    assert best_semantic(metrics.replace({"target": {"": None}}), "a") == "irt_mpnet"


def test_the_best_router_on_text_may_read_words_or_the_length():
    methods = {"paper": 0.95, "tfidf": 0.9, "prompt_length": 0.6, "knn_minilm": 0.8}
    assert best_text(metrics_of("a", methods), "a") == "tfidf"
    assert best_text(metrics_of("a", methods | {"prompt_length": 0.91}), "a") == "prompt_length"
    assert best_text(metrics_of("a", methods | {"knn_minilm": 0.92}), "a") == "knn_minilm"
    assert best_text(metrics_of("a", {"paper": 0.95, "benchmark_mean": 0.9}), "a") is None


def test_what_a_method_reads_is_not_read_out_of_its_name(metrics):
    assert (
        best_semantic(
            metrics_of(
                "a", {"paper": 0.9, "tfidf": 0.85, "knn_some-encoder-v1": 0.8, "knn_minilm": 0.7}
            ),
            "a",
        )
        == "knn_some-encoder-v1"
    )
    assert "| kNN on some-encoder-v1 |" in headline_table(
        metrics_of("a", {"knn_some-encoder-v1": 0.8}), SHORT
    )
    named_like_one = metrics.assign(
        reads=metrics["reads"].where(metrics["method"] != "irt_mpnet", "")
    )
    assert best_semantic(named_like_one, "a") == "knn_mpnet"
    with pytest.raises(ValueError, match="lacks the column reads"):
        best_semantic(metrics.drop(columns="reads"), "a")


def test_verdicts():
    assert verdict(0.01, 0.02) == "better" and verdict(-0.02, -0.01) == "worse"
    assert (
        verdict(-0.01, 0.01)
        == verdict(0.0, 0.1)
        == verdict(float("nan"), float("nan"))
        == "no clear difference"
    )


def test_the_bar_has_a_row_per_pool(metrics, paired):
    lines = bar_table(metrics, paired).splitlines()
    assert lines[2:] == [
        "| `a` | kernel router on prefill (ours) | 0.900 [0.900, 0.900] | IRT on MPNet | 0.820"
        " [0.820, 0.820] | +0.080 [+0.060, +0.100] (better) | -3.0% [-5.0%, -1.0%] (worse) | – |"
    ]
    # without `ours` the paper's network takes its place; what was not compared is a dash
    without = metrics[~metrics["method"].str.startswith("ours")]
    row = bar_table(without, paired).splitlines()[2]
    assert "SharedTrunkNet on prefill" in row and row.endswith(
        "| +0.010 [-0.010, +0.030] (no clear difference) | – | – |"
    )
    no_semantic = bar_table(metrics_of("a", {"paper": 0.8}), paired).splitlines()[2]
    assert no_semantic.endswith("| – | – | – | – | – |")
    # the dearest target costs 1: the best single one 0.8, the planned point 0.4
    points = [
        ("ours", CALIBRATED, "cost_saving_vs_max", 0.6),
        ("ours", CALIBRATED, "accuracy", 0.66),
        ("ours", ARGMAX, "accuracy", 0.9),
        ("best_single", "", "cost_saving_vs_max", 0.2),
        ("best_single", "", "accuracy", 0.68),
    ]
    planned = pd.concat(
        [
            metrics,
            *(
                metrics.iloc[:1].assign(
                    method=m, encoder=ENCODERS.get(m, ""), operating_point=o, metric=metric, value=v
                )
                for m, o, metric, v in points
            ),
        ]
    )
    assert (
        bar_table(planned, paired)
        .splitlines()[2]
        .endswith("| 50% less cost, 66.0% right against 68.0% |")
    )


def test_the_bar_in_words(metrics, paired):
    text = bar_sentences(metrics, paired)
    assert (
        "IRT on MPNet: +0.080 [+0.060, +0.100] (better)" in text
        and "best single target: -3.0% [-5.0%, -1.0%] (worse)" in text
    )
    assert "no router on text" in bar_sentences(metrics_of("a", {"paper": 0.8}), paired)


def test_every_rival_that_is_clearly_better_is_named():
    # intervals are 0.02 to both sides: a lead of 0.01 is no clear one
    rows = [
        ("ours", "tfidf", "accuracy", -0.03),
        ("ours", "knn_minilm", "accuracy", -0.05),
        ("ours", "tfidf", "mean_auc", -0.01),
        ("ours", "knn_minilm", "mean_auc", 0.04),
        ("ours", "tfidf", "p_auccc", -0.025),
        ("ours", "best_single", "accuracy", -0.2),
        ("ours", "zero_router", "p_auccc", -0.2),
        ("paper", "tfidf", "mean_auc", -0.2),
    ]
    paired = paired_of("a", *rows)
    assert rivals(paired, "a", "ours")[["metric", "method"]].to_numpy().tolist() == [
        ["accuracy", "knn_minilm"],
        ["accuracy", "tfidf"],
        ["p_auccc", "tfidf"],
    ]
    assert (
        rivals_in_words(paired, "a", "ours")
        == "Clearly better than this router: in accuracy kNN on MiniLM by 5.0 points [3.0, 7.0],"
        " TF-IDF + LR by 3.0 points [1.0, 5.0]; in P-AUCCC TF-IDF + LR by 0.025 [0.005, 0.045]; in"
        " mean AUC none of the 2 other routers is clearly better."
    )
    assert (
        rivals_in_words(paired_of("a", *rows[2:4]), "a", "ours")
        == "None of the 2 other routers is clearly better in mean AUC."
    )
    even = paired_of(
        "a", *[("ours", "tfidf", metric, 0.0) for metric in ("accuracy", "mean_auc", "p_auccc")]
    )
    assert (
        rivals_in_words(even, "a", "ours")
        == "None of the 1 other routers is clearly better in accuracy, mean AUC or P-AUCCC."
    )
    assert rivals_in_words(paired, "b", "ours") == "It was compared with no other router."
    assert "by 5.0 points [3.0, 7.0]" in bar_sentences(metrics_of("a", AUC), paired)


def test_what_rounds_to_zero_has_no_minus():
    paired = paired_of(
        "a",
        ("ours", "irt_mpnet", "mean_auc", -0.0001),
        ("ours", "best_single", "accuracy", -0.0001),
    ).assign(ci_low=-0.0004, ci_high=0.0004)
    metrics = metrics_of("a", AUC)
    tiny = pd.concat(
        [
            metrics,
            *(
                metrics.iloc[:1].assign(
                    method="ours", metric=metric, value=-1e-5, ci_low=-1e-4, ci_high=1e-5
                )
                for metric in cells.HEADLINE
                if metric not in ("mean_auc", "brier")
            ),
        ]
    )
    text = "".join(
        [
            headline_table(tiny),
            bar_table(tiny, paired),
            bar_sentences(tiny, paired),
            paired_sentences(paired),
        ]
    )
    assert "+0.000 [+0.000, +0.000]" in text and "0.0% [0.0%, 0.0%]" in text and "-0.0" not in text
    assert pd.isna(saving_against(0.3, 1.0)) and saving_against(0.6, 0.2) == pytest.approx(0.5)


def test_paired_sentences_name_every_pair_once(paired):
    lines = paired_sentences(paired).splitlines()
    assert len(lines) == len(paired)
    assert (
        "- pool `a`, TF-IDF + LR against best single: accuracy +0.010 [-0.010, +0.030] (no clear"
        " difference)" in lines
    )


def test_the_table_of_benchmarks_says_what_the_files_say(tmp_path):
    spread = {"median": 8.04, "min": 7.5, "max": 9.0}
    machine = {"cores": 2, "cpu": "CPU", "gpu": "none"}
    content = {
        "extract_x": {
            "what": "prefill",
            "ours": {"tokens_per_second": {"median": 2500.0}, "dtype": "bfloat16"},
            "recipe": {"tokens_per_second": {"median": 310.0}, "dtype": "float32"},
            "ratio": spread,
            "floor": {
                "matmul_tflops": 1.0,
                "multiplied_params": 106_000_000,
                "tokens_per_second": 4717.0,
                "share_reached": 0.53,
            },
        },
        "sweep_x": {
            "what": "AUCs",
            "ours": {"seconds": {"median": 20.0}, "combinations": 1860},
            "recipe": {"seconds": {"median": 300.0}, "combinations": 500},
            "ratio": spread,
            "largest_auc_difference_where_both_looked": 0.0012,
            "auc_that_the_recipe_missed": {"mean": 0.003},
        },
        "scale_workers": {
            "what": "states",
            "ratio": spread,
            "two_workers_to_one": {"median": 1.84, "min": 1.5, "max": 1.95},
            "ways": {
                way: {"tokens_per_second": {"median": rate}}
                for way, rate in (("one process", 1500.0), ("ray, 2 workers", 2000.0), ("plain", 9))
            },
            "load_average": {"median": 3.2},
            "extrapolated": {
                "prompts": 50_000_000,
                "formula": "days = prompts",
                "tokens_per_prompt": 80.4,
                "days": {"ray, 2 workers": 23.1, "plain": 160.0},
                "gigabytes": {"ours": 102.4, "plain": 460.8},
            },
        },
    }
    way = {"ours": {"median": 1400.4}, "recipe": {"median": 300.0}, "ratio": {"median": 4.67}}
    slow = {"ours": {"median": 100.0}, "recipe": {"median": 200.0}, "ratio": {"median": 0.5}}
    content["lengths_x"] = {
        "what": "prefill",
        "dtype": {"ours": "bfloat16", "recipe": "float32"},
        "rows": [{"length": 2048, "alone": way, "beside_a_busy_process": slow}],
    }
    for name, of in content.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(of | {"machine": machine}))
    text = benchmark_table(tmp_path)
    assert text.splitlines()[-1] == "| 2,048 | 1,400 | 300 | 4.7 | 100 | 200 | 0.5 |"
    assert "(prefill; ours in bfloat16, the recipe in float32)" in text
    said = speed_sentence(tmp_path)
    assert (
        "extraction 8.0 (7.5 to 9.0; bfloat16 against float32), sweep 8.0 (7.5 to 9.0), on 2 cores"
        in said
    )
    assert (
        "| extraction: prefill | 310 tokens/s in float32 | 2,500 tokens/s in bfloat16 | **8.0**"
        " (7.5 to 9.0) |" in text
    )
    assert (
        "| sweep: AUCs | 300 s | 20 s | **8.0** (7.5 to 9.0) |" in text and "| ensemble" not in text
    )
    assert (
        "4,717 tokens/s; ours is at 53% of it" in text
        and "differ by at most 0.0012" in text
        and "missed 0.0030 AUC" in text
    )
    assert (
        "one process 1,500; ray, 2 workers 2,000; plain Ray Data code around the recipe 9, so ours"
        " is 8.0 times as fast (7.5 to 9.0). Two workers do 1.84 times what one does" in text
    )
    assert (
        "50,000,000 such prompts of 80 tokens come to 23.1 days and 102 GB, with plain code to"
        " 160.0 days and 461 GB (days = prompts)" in text
    )


def test_the_table_of_sizes_names_what_was_not_run_and_reckons_what_is_beyond(tmp_path):
    machine = {"cores": 2, "cpu": "X", "gpu": "none"}
    mine = {"form": "exact", "seconds": 200.0, "cpu_seconds": 1.5, "peak_mb": 900.0}
    mine |= {"router_mb": 48.9, "load_seconds": 0.25, "auc": 0.75}
    rows = {"rows": [{"rows": 10, "ours": mine}], "asked_beforehand_mb": {"10": 1000, "20": 2000}}
    prompts = [(1000, 3.0), (2000, 5.0)]
    scale = [{"prompts": n, "tokens": 10 * n, "seconds": s, "peak_mb": 1000} for n, s in prompts]
    without = {"ratio": {"median": 2.0}}  # of another kind, and later in the alphabet
    for name, content in (("rows_ours", rows), ("scale_x", {"rows": scale}), ("scale_z", without)):
        content |= {"what": "w", "machine": machine}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    shown = sizes_table(tmp_path)
    assert (
        "| 10 | exact | 3.3 min | 1.5 s | 0.9 GB | 1.0 GB | 49 MB | 0.25 s | 0.750 | – |" in shown
    )
    assert "| 20 | not run | – | – | – | 2.0 GB | – | – | – | – |" in shown
    # 2 ms each, for 50 million: 100,001 seconds
    assert "| 50,000,000 (reckoned) | 500,000,000 | 27.8 hours | – |" in shown
