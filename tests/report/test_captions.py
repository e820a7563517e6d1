"""Captions: every figure has one, and it is the text that goes with the figure shown."""

import base64
import re

import IPython.display
import matplotlib.pyplot as plt

from prefill_router.files import project_root
from prefill_router.report.captions import CAPTIONS, caption
from prefill_router.run.workspace import open_workspace


def test_every_figure_has_a_caption():
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (project_root() / "notebooks").glob("*.ipynb")
    )
    saved = re.findall(r'show_figure\([^\n]+, f?\\"(\w+?)_?(?:\{[\w.]+\})?\\"\)', sources)
    assert len(saved) == sources.count("show_figure(") > 8 and set(saved) <= set(CAPTIONS)
    assert "savefig" not in sources and "save_figure" not in sources
    there = {path.stem for path in (project_root() / "figures").rglob("*.png")}
    assert [name for name in there if caption(name) == name] == []


def test_captions_by_hand():
    assert caption("13_decision_mixed") == f"Pool mixed. {CAPTIONS['13_decision']}"
    assert caption("03_layers") == CAPTIONS["03_layers"] and caption("something") == "something"


def test_the_figure_shown_is_the_one_saved_with_its_caption(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    workspace = open_workspace(
        "smoke", build_dir=tmp_path / "b", results_dir=tmp_path / "r", figures_dir=tmp_path / "f"
    )
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1])
    workspace.show_figure(fig, "03_layers")
    assert not plt.fignum_exists(fig.number)
    [image] = shown
    data, metadata = image._repr_png_()
    assert metadata["alt"] == CAPTIONS["03_layers"] and 150 < metadata["width"] < 320
    assert (workspace.figures / "03_layers.svg").is_file()
    assert base64.b64decode(data) == (workspace.figures / "03_layers.png").read_bytes()
