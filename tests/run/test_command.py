"""The command `prefill-router`: what it lists, hands on and refuses; fit, route, plan and export
on a small table.
"""

from __future__ import annotations

import inspect
import io
import json
import shlex
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from prefill_router.files import project_root
from prefill_router.heads.fit import FitSettings
from prefill_router.run import arguments, command, extraction, fit, plan, route
from prefill_router.run.export import main as export_main
from prefill_router.run.own_profile import write_own_profile
from prefill_router.run.profile_files import load_profile
from prefill_router.run.subcommands import SUBCOMMANDS, Subcommand
from prefill_router.serve.router import Router
from tiny import save_tiny, tiny_queries

ROOT = project_root()
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
N = 160


def test_the_script_is_declared_and_its_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"prefill-router": "prefill_router.run.command:main"}
    extras = set(project["optional-dependencies"])
    assert extras == {"notebooks", "serve", "cluster", "test", "site", "lint"}
    assert {of.extra for of in SUBCOMMANDS.values()} - {""} <= extras


def test_every_subcommand_has_help_with_its_example(capsys):
    for name, of in SUBCOMMANDS.items():
        assert of.example.split()[0] == name
        if not of.is_there:
            continue
        with pytest.raises(SystemExit) as ended:
            command.main([name, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert ended.value.code == 0 and f"prefill-router {name}" in shown
        assert f"prefill-router {of.example}" in shown
        assert f"usage: prefill-router {name}" in shown
        assert f"prefill-router {name}" in COMMANDS or f"`{name}`" in COMMANDS
        assert name != "fit" or (f"(default: {fit.ENCODER})" in shown and "profile" not in shown)


def test_help_and_tables_are_there_before_what_takes_seconds_to_import():
    """Neither a command's help nor a notebook that reads tables waits for torch."""
    light = "run.fit run.plan run.route run.reproduce run.recompute run.loading evaluate.pools"
    code = "; ".join(
        [
            *(f"import prefill_router.{name}" for name in light.split()),
            "import sys; print(*sorted(sys.modules))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "prefill_router.run.loading" in loaded
    heavy = {"torch", "transformers", "sklearn", "scipy.stats", "matplotlib", "nbformat"}
    assert not loaded & heavy


def test_the_list_leaves_out_what_is_not_there(monkeypatch, capsys):
    monkeypatch.setitem(
        SUBCOMMANDS, "fly", Subcommand("prefill_router.nowhere.fly:main", "x", "fly")
    )
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert "\n  route " in shown and "fly" not in shown
    with pytest.raises(SystemExit) as ended:
        command.main(["fly"])
    assert ended.value.code == 2


def test_the_rest_of_the_line_is_handed_on(monkeypatch):
    given = []
    monkeypatch.setattr(plan, "main", lambda argv: given.append(argv) or 7)
    assert command.main(["plan", "my-router", "--json"]) == 7
    assert given == [["my-router", "--json"]]


def test_a_missing_extra_and_a_missing_clone_are_said(monkeypatch, capsys, tmp_path):
    def missing(name):
        raise ModuleNotFoundError("No module named 'papermill'", name="papermill")

    monkeypatch.setattr(command, "import_module", missing)
    assert command.main(["verify"]) == 2
    assert "pip install '.[notebooks]'" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):  # no extra would bring it
        command.main(["route", "x"])
    monkeypatch.setattr(command, "project_root", lambda: tmp_path)
    assert command.main(["reproduce"]) == 2
    assert "clone it" in capsys.readouterr().err


def test_a_module_that_is_no_subcommand_keeps_its_name():
    assert arguments.command_line("collect", "x").prog == "python -m prefill_router.run.collect"
    assert arguments.command_line("fit", "x").prog == "prefill-router fit"


def test_fit_has_the_settings_of_a_run_of_the_same_table(tmp_path):
    table, prices = tmp_path / "mine.csv", tmp_path / "prices.yaml"
    own = write_own_profile(table, prices, tmp_path, 0.8, "{a}", ("x", "y"))
    run = load_profile(str(own))
    given = [str(table), f"--prices={prices}", "--right-from=0.8", "--prompt={a}", "--models=x,y"]
    for path in (table, prices):
        path.touch()
    ours = fit.own_profile(fit._arguments(given))
    assert FitSettings.of(ours) == FitSettings.of(run)
    for name in ("outcomes", "prices", "right_from", "prompt", "models", "encoder", "dtype"):
        assert getattr(ours, name) == getattr(run, name), name


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Long prompts are too hard for the cheap target."""
    folder = tmp_path_factory.mktemp("table")
    _, prompts = tiny_queries(N)
    long = np.array([len(p.split()) for p in prompts]) > 9
    rng = np.random.default_rng(0)
    right = {"cheap": np.where(rng.random(N) < 0.1, long, ~long), "dear": rng.random(N) < 0.8}
    rows = [
        (f"q{i}", prompts[i], model, int(right[model][i]), 5) for i in range(N) for model in right
    ]
    names = ["query_id", "question", "model", "isCorrect", "output_tokens"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "mine.csv", index=False)
    prices = {"cheap": {"input": 1, "output": 2}, "dear": {"input": 10, "output": 20}}
    (folder / "prices.yaml").write_text(yaml.safe_dump({"currency": "USD", "prices": prices}))
    return folder


@pytest.fixture
def reads(monkeypatch, encoder):
    """The tiny encoder in place of the embedded one."""
    load = Router.load
    monkeypatch.setattr(extraction, "load_by_name", lambda workspace, name: encoder)
    monkeypatch.setattr(
        Router,
        "load",
        classmethod(lambda cls, folder, given=None, device="auto": load(folder, given or encoder)),
    )
    return encoder


@pytest.fixture
def router(table, reads, capsys):
    folder = table / "router"
    if not folder.is_dir():
        given = [str(table / "mine.csv"), f"--prices={table / 'prices.yaml'}", f"--out={folder}"]
        assert fit.main([*given, f"--build-dir={table / 'build'}"]) == 0
        shown = capsys.readouterr().out
        assert f"trained on {N} queries" in shown and "no_loss" in shown
    return folder


def test_plan_lists_what_is_promised(router, capsys):
    assert plan.main([str(router)]) == 0
    shown = capsys.readouterr().out
    assert "\nno_loss:" in shown and "at most 1 point of accuracy" in shown
    assert "with 95 % confidence" in shown and f"{N} labelled queries" in shown
    assert plan.main([str(router), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kept = Router.load(router).plans
    assert set(found) == set(kept) == {"no_loss", "one_point", "budget"}
    assert found["no_loss"]["best"] in ("cheap", "dear")
    assert found["no_loss"]["accuracy"] == kept["no_loss"].accuracy


def test_route_says_target_and_why(router, capsys):
    assert route.main([str(router), "w1 w2", "w3 w4"]) == 0
    shown = capsys.readouterr().out
    expected = Router.load(router).route(["w1 w2", "w3 w4"])
    assert [line for line in shown.splitlines() if "<-" in line] == [
        f"{of.target}  <-  {prompt}"
        for of, prompt in zip(expected, ("w1 w2", "w3 w4"), strict=True)
    ]
    assert shown.count("why: ") == 2 and f"P(correct) {expected[0].p_correct['dear']:.3f}" in shown


def test_route_decides_as_the_library_does_where_nothing_is_asked(router, monkeypatch):
    true, given = Router.route, {}
    monkeypatch.setattr(
        Router,
        "route",
        lambda self, prompts, **how: given.update(how) or true(self, prompts, **how),
    )
    assert route.main([str(router), "w1 w2"]) == 0
    of_library = inspect.signature(true).parameters
    assert {"plan", "budget", "tolerance", "false_alarms", "fallback"} <= set(given)
    for name in set(given) - {"on_error"}:
        assert given[name] == of_library[name].default


def test_route_reads_files_and_the_standard_input(router, tmp_path, monkeypatch, capsys):
    lines = tmp_path / "prompts.jsonl"
    lines.write_text('{"prompt": "w1 w2"}\n\n"w3\\nw4"\n')
    how = ["--json", "--tolerance=0.1", "--false-alarms=0"]
    assert route.main([str(router), f"--file={lines}", *how]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = Router.load(router).route(["w1 w2", "w3\nw4"], tolerance=0.1, false_alarms=0)
    assert [of["target"] for of in found] == [of.target for of in expected]
    assert found[0]["p_correct"] == expected[0].p_correct and found[0]["plan"] is None
    monkeypatch.setattr("sys.stdin", io.StringIO("w1 w2\n"))
    assert route.main([str(router), "--file=-", *how]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == expected[0].target


def test_a_prompt_that_cannot_be_read_goes_to_the_fallback(router, capsys):
    long = " ".join(["w1"] * 60)  # the encoder reads 40 tokens
    assert route.main([str(router), long, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["reason"] and found["p_correct"]["dear"] is None and found["tokens"] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--plan=none", "w1"], "no plan 'none'"),
        (["--tolerance=-1", "w1"], "tolerance must be"),
        (["--file=nowhere.txt"], "nowhere.txt"),
        (["--fallback=none", "w1"], "'none' is no target"),
    ],
)
def test_route_refuses(router, capsys, given, said):
    assert route.main([str(router), *given]) == 2
    assert said in capsys.readouterr().err


def test_lines_without_a_prompt_are_named():
    assert list(route._prompts_of(io.StringIO("a\n \nb\n"), False)) == ["a", "b"]
    for line, said in (("{", "line 2 is not JSON"), ('{"text": "a"}', "line 2 holds no prompt")):
        with pytest.raises(ValueError, match=said):
            list(route._prompts_of(io.StringIO(f'"a"\n{line}\n'), True))


LINES = '{"prompt": "w1 w2"}\n"w3\\nw4"\n'
FILES = {
    "p.jsonl": LINES,
    "p.JSONL": LINES,
    "p.ndjson": LINES,
    "p.json": '[{"prompt": "w1 w2"},\n "w3\\nw4"]',
    "p.JSON": '["w1 w2", {"prompt": "w3\\nw4", "id": 7}]',
}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_prompts_are_read_from_files_by_their_names(tmp_path, monkeypatch, mark):
    def found(path):
        return route.prompts_of(route._arguments(["my-router", f"--file={path}"]))

    for name, text in FILES.items():
        (tmp_path / name).write_text(mark + text, encoding="utf-8")
        assert found(tmp_path / name) == ["w1 w2", "w3\nw4"], name
    (tmp_path / "p.txt").write_text(mark + '{"prompt": "w1"}\r\n\r\nw2\r\n', encoding="utf-8")
    assert found(tmp_path / "p.txt") == ['{"prompt": "w1"}', "w2"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{mark}w1\nw2\n"))
    assert found("-") == ["w1", "w2"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("p.json", b'{"prompt": "w1"}', r"p\.json: no array of prompts: write \["),
        ("p.json", b'"w1"\n"w2"\n', r"p\.json: it is no JSON array \(.*a value a line \.jsonl"),
        ("p.json", b'["w1", {"text": "w2"}]', r"p\.json: entry 2 holds no prompt: give a text"),
        ("p.ndjson", b'"w1"\nw2\n', r"p\.ndjson: line 2 is not JSON"),
        ("p.txt", b"w\xfc1\n", r"p\.txt: it is not UTF-8 .*; save it as UTF-8"),
        ("p.json", b"[]", "no prompt: write it after"),
    ],
)
def test_files_without_prompts_are_refused(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=said):
        route.prompts_of(route._arguments(["my-router", f"--file={tmp_path / name}"]))


def test_a_prompt_beside_a_file_is_refused(tmp_path):
    (tmp_path / "p.txt").write_text("w1\n")
    with pytest.raises(ValueError, match=r"command line \('w2'\) and in --file .*p.txt: give one"):
        route.prompts_of(route._arguments(["my-router", "w2", f"--file={tmp_path / 'p.txt'}"]))


def test_no_router_and_no_prompt(tmp_path, router, monkeypatch, capsys):
    for main in (route.main, plan.main):
        monkeypatch.undo()
        assert main([str(tmp_path / "nowhere"), *(["w1"] * (main is route.main))]) == 2
        assert "error:" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(ValueError, match="no prompt"):
        route.prompts_of(route._arguments([str(router)]))


def test_a_saved_router_is_exported(router, tmp_path, capsys):
    given = ["--router", str(router), "--out", str(tmp_path / "out")]
    assert export_main(given) == 0
    assert (tmp_path / "out" / "router.json").is_file()
    assert "own: ours for cheap, dear" in capsys.readouterr().out
    assert export_main([*given, "--format", "switchyard"]) == 2
    assert "cannot hold a router of the method 'ours'" in capsys.readouterr().err


def test_a_table_without_prices_is_refused_before_anything_is_read(table, reads, capsys):
    given = [str(table / "mine.csv"), f"--build-dir={table / 'other'}", f"--out={table / 'no'}"]
    assert fit.main(given) == 2
    shown = capsys.readouterr().err
    assert "fewer than two models have one (none)" in shown and "--prices (PRICES= with" in shown
    assert "no cost is known for cheap, dear: no price list was given" in shown
    assert "`prices: {cheap: {input: 0.15, output: 0.60}, …}`" in shown
    (table / "one.yaml").write_text("prices: {dear: {input: 1, output: 2}}")
    assert fit.main([*given, f"--prices={table / 'one.yaml'}"]) == 2
    shown = capsys.readouterr().err
    assert "fewer than two models have one (dear): no cost is known for cheap" in shown
    assert "Under `prices:` of one.yaml write" in shown
    assert "`cheap: {input: 0.15, output: 0.60}`" in shown and "warning" not in shown.lower()
    assert reads.network.calls == 0 and not (table / "no").exists()


def test_the_command_that_fit_prints_asks_a_router_whose_encoder_is_a_folder(
    table, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = [str(table / "mine.csv"), f"--prices={table / 'prices.yaml'}", "--build-dir=build"]
    save_tiny(tmp_path / "models" / "my encoder")
    assert fit.main([*given, "--encoder=models/my encoder", "--out=a router"]) == 0
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "To ask it" in line)
    words = shlex.split(said.removeprefix("To ask it: "))
    assert words == ["prefill-router", "route", "a router", "--encoder", "models/my encoder", "…"]
    assert command.main([*words[1:-1], "w1 w2"]) == 0
    assert "P(correct)" in capsys.readouterr().out
    # without it the encoder is not found, and the message says what to do
    assert command.main(["route", "a router", "w1 w2"]) == 2
    assert "pass encoder= (on the command line --encoder), the folder" in capsys.readouterr().err


def test_an_encoder_with_a_name_of_its_own_need_not_be_said_again():
    assert fit.asking(Path("r"), fit.ENCODER) == 'prefill-router route r "…"'
    assert fit.asking(Path("r"), "org/name") == 'prefill-router route r "…"'


def test_a_file_where_the_router_should_be_is_told_before_training(table, reads, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    for out in (taken, taken / "router"):
        with pytest.raises(SystemExit):
            fit.main([str(table / "mine.csv"), f"--out={out}", "--prices=no.yaml"])
        shown = capsys.readouterr().err
        assert f"--out: {taken} is a file; give the router a folder" in shown
        assert "no.yaml: no such file" in shown  # what else is wrong is told with it
    assert reads.network.calls == 0


def test_all_that_is_wrong_with_a_small_table_is_told_together(table, reads, capsys, tmp_path):
    long = pd.read_csv(table / "mine.csv").head(80)
    (tmp_path / "one.yaml").write_text("currency: EUX\nprices: {dear: {input: 1, output: 2}}")
    given = [f"--prices={tmp_path / 'one.yaml'}", f"--build-dir={tmp_path}", "--encoder=smollm"]
    for columns in ({}, {"isCorrect": "ok"}):
        long.rename(columns=columns).to_csv(tmp_path / "few.csv", index=False)
        assert fit.main([str(tmp_path / "few.csv"), *given]) == 2
        shown = capsys.readouterr().err
        assert "40 questions are too few" in shown and "unknown currency 'EUX'" in shown
        assert "Unknown encoder 'smollm'" in shown
        assert ("no column isCorrect" in shown) == bool(columns)
    with pytest.raises(SystemExit):
        fit.main(["no.csv", "--prices=no.yaml", "--right-from=2"])
    shown = capsys.readouterr().err
    assert "no.csv: no such file" in shown and "no.yaml: no such file" in shown
    assert "--right-from (RIGHT_FROM= with make) is a grade" in shown


def test_a_model_without_a_price_is_told_with_what_to_write(table, reads, capfd, tmp_path):
    long = pd.read_csv(table / "mine.csv")
    third = long[long["model"] == "dear"].assign(model="new")
    pd.concat([long, third]).to_csv(tmp_path / "mine.csv", index=False)
    given = [str(tmp_path / "mine.csv"), f"--prices={table / 'prices.yaml'}"]
    with pytest.warns(UserWarning, match=r"no price is known for new, .*`new: \{input: 0.15, outp"):
        assert fit.main([*given, f"--build-dir={tmp_path}", f"--out={tmp_path}/r"]) == 0
    assert "no cost is known for new: prices.yaml has no price" in capfd.readouterr().err


def test_a_warning_is_a_line_without_its_place_in_the_code(monkeypatch):
    before, seen = warnings.formatwarning, []

    def warn(argv):
        seen.extend(warnings.formatwarning("x", of, "f.py", 1) for of in (UserWarning, Warning))
        return 0

    monkeypatch.setattr(plan, "main", warn)
    assert command.main(["plan"]) == 0
    assert seen == ["warning: x\n", before("x", Warning, "f.py", 1)]
    assert warnings.formatwarning is before


def test_binder_reads_the_lock():
    folder = ROOT / ".binder"
    lines = [
        line
        for line in (folder / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    (path,) = [line.removeprefix("-r ") for line in lines]
    assert (folder / path).resolve() == ROOT / "requirements.lock"
    assert (folder / "runtime.txt").read_text() == "python-3.11\n"
    script = folder / "postBuild"
    assert script.stat().st_mode & 0o111 and script.read_text().startswith("#!/bin/sh")
