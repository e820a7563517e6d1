"""The gallery: what it shows, what it escapes, what it refuses."""

import base64
import re
import shutil

import IPython.display
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from prefill_router.files import project_root
from prefill_router.report.captions import CAPTIONS, caption
from prefill_router.run.gallery import build_gallery, main
from prefill_router.run.gallery_page import clean, render
from prefill_router.run.workspace import open_workspace

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)><iframe src='http://evil'></iframe>"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def executed(*outputs):
    cell = nbformat.v4.new_code_cell(
        "x = 1  # <b>code</b>", outputs=list(outputs), execution_count=1
    )
    question = nbformat.v4.new_markdown_cell("# 01 · Title\n\n**Question.** Who is *right*?")
    return nbformat.v4.new_notebook(
        cells=[question, cell],
        metadata={"language_info": {"name": "python", "pygments_lexer": "ipython3"}},
    )


def output(**data):
    return nbformat.v4.new_output(
        "display_data", data={key.replace("_", "/"): value for key, value in data.items()}
    )


def test_nothing_that_a_prompt_contains_runs():
    page = render(
        executed(
            output(text_html=pd.DataFrame({"prompt": [EVIL]}).to_html(notebook=True)),
            output(text_markdown=f"The prompt **is** {EVIL}"),
            output(text_html=f"<p>{EVIL}</p>"),
            nbformat.v4.new_output("stream", name="stdout", text=EVIL),
            output(application_javascript="alert(3)", text_plain="plain"),
        ),
        "01_x",
    )
    assert not re.search(r"<script|<iframe|<[a-z]+[^>]*\sonerror=", page)
    assert page.count("&lt;script&gt;") == 4 and "alert(3)" not in page and "plain" in page
    assert "<strong>is</strong>" in page and "<th>prompt</th>" in page and ".dataframe" not in page


@pytest.mark.parametrize(
    "text",
    [
        "<a href='javascript:alert(1)'>x</a>",
        "<p style='background:url(http://x)'>x</p>",
        "<div onclick='x()'>x</div>",
        "<svg onload=x()></svg>",
        "<form action=http://x>",
    ],
)
def test_what_is_left_of_tags_and_attributes(text):
    assert not re.search(
        r"javascript:|http:|<[^>]+ on\w+=|<svg|<form",
        clean(text).replace("&lt;svg", "").replace("&lt;form action=http://x&gt;", ""),
    )


@pytest.mark.parametrize(
    "text",
    [
        "<img src='https://evil/p.png'>",
        "<img src='//evil/p.png'>",
        "<a href='data:text/html,x'>x</a>",
        "<a href=' DATA:text/html,x'>x</a>",
    ],
)
def test_nothing_is_fetched_or_opened_from_data(text):
    assert "evil" not in clean(text) and "text/html" not in clean(text)
    assert clean(f'<img src="data:image/png;base64,{PNG}" alt="a">').count(PNG) == 1


def test_code_is_folded_and_images_have_a_text():
    told = nbformat.v4.new_output(
        "display_data", data={"image/png": PNG}, metadata={"image/png": {"alt": 'A "curve"'}}
    )
    page = render(executed(told, output(image_png=PNG)), "01_x")
    [folded] = re.findall(
        r'<details class="code"><summary>Code</summary>.*?</details>', page, re.DOTALL
    )
    assert "&lt;b&gt;code&lt;/b&gt;" in folded and "<b>" not in folded
    alts = [image["alt"] for image in BeautifulSoup(page, "html.parser").find_all("img")]
    assert alts == ['A "curve"', "Figure of cell 1 of 01_x; the text around it says what it shows."]
    assert "<em>right</em>" in page and "anchor-link" not in page


def test_a_widget_is_its_still_image():
    found = output(image_png=PNG, text_plain="words")
    found.data["application/vnd.jupyter.widget-view+json"] = {"model_id": "abc"}
    notebook = executed(found)
    notebook.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {
            "state": {},
            "version_major": 2,
            "version_minor": 0,
        }
    }
    page = render(notebook, "01_x")
    assert "abc" not in page and "data:image/png" in page and "widget-state" not in page


@pytest.fixture
def folders(tmp_path):
    for name in ("pools", "metrics", "paired"):
        (tmp_path / "results" / "local").mkdir(parents=True, exist_ok=True)
        shutil.copy(
            project_root() / "results" / "local" / f"{name}.csv", tmp_path / "results" / "local"
        )
    shutil.copytree(project_root() / "figures" / "local", tmp_path / "figures" / "local")
    notebooks = tmp_path / "build" / "local" / "notebooks"
    notebooks.mkdir(parents=True)
    for name in ("01_first", "02_second", "02_second.failed"):
        nbformat.write(executed(output(image_png=PNG)), notebooks / f"{name}.ipynb")
    return tmp_path


def build(folders):
    return build_gallery(
        *(folders / name for name in ("build", "results", "figures")), folders / "html"
    )


def test_the_pages(folders):
    index = build(folders).read_text(encoding="utf-8")
    drawn = sorted(path.stem for path in (folders / "figures" / "local").glob("*.png"))
    assert re.findall(r'<img loading="lazy" alt="([^"]+)"', index) == [
        caption(name).replace("'", "&#39;") for name in drawn
    ]
    for reference in re.findall(r'(?:href|src)="([^"#]+)"', index):
        assert reference.startswith("data:") or (folders / "html" / reference).is_file(), reference
    assert (
        "Who is *right*?" in index
        and "make reproduce PROFILE=local" in index
        and "Routing pays in accuracy" in index
    )
    first, second = (
        (folders / "html" / "notebooks" / "local" / f"{name}.html").read_text(encoding="utf-8")
        for name in ("01_first", "02_second")
    )
    assert (
        'rel="next" href="02_second.html"' in first
        and 'rel="prev"' not in first
        and 'rel="prev" href="01_first.html"' in second
    )
    assert len(list((folders / "html" / "notebooks" / "local").iterdir())) == 2
    for page in (index, first, second):
        assert re.findall(r"https?://[^\"' <]+", page) == (
            []
            if page is index
            else [re.search(r"http://localhost:8888/lab/tree/\w+\.ipynb", page).group()]
        )


def test_a_profile_that_was_not_run_here_says_so(folders):
    shutil.rmtree(folders / "build")
    assert "were not run in this checkout" in build(folders).read_text(encoding="utf-8")


def test_an_interrupted_run_leaves_the_old_pages(folders, monkeypatch):
    before = build(folders).read_text(encoding="utf-8")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("prefill_router.run.gallery.render", interrupted)
        build(folders)
    assert (folders / "html" / "index.html").read_text(encoding="utf-8") == before
    assert sorted(path.name for path in folders.iterdir()) == [
        "build",
        "figures",
        "html",
        "results",
    ]
    build(folders)


def test_it_is_made_anew_but_never_over_other_things(folders, capsys):
    (build(folders).parent / "stale.html").write_text("x")
    build(folders)
    assert not (folders / "html" / "stale.html").exists()
    arguments = [f"--{name}-dir={folders / name}" for name in ("build", "results", "figures")]
    (folders / "mine").mkdir()
    (folders / "mine" / "letter.txt").write_text("dear")
    assert main([*arguments, f"--out={folders / 'mine'}"]) == 2
    assert (
        "holds other things" in capsys.readouterr().err
        and (folders / "mine" / "letter.txt").exists()
    )
    assert main([*arguments[:1], f"--results-dir={folders / 'none'}", *arguments[2:]]) == 2
    assert "run `make reproduce` first" in capsys.readouterr().err


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
