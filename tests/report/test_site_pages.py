"""The article's pages, built once and read: on disk, and in a real browser without network."""

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup

from browsers import browser, opened, shoot  # noqa: F401  # browser is a fixture
from prefill_router.files import project_root
from prefill_router.run import site as site_module
from prefill_router.run.site import Folders, build_site, main

pytestmark = pytest.mark.slow
EVIL = "<img src=x onerror='window.ran = 1'><script>window.ran = 2</script>"
PAGES = ("index.html", "profiles/local.html", "notebooks/local/01_evil.html", "README.html")
PHONE = 390


def folders(build: Path) -> Folders:
    root = project_root()
    return Folders(root, build, root / "results", root / "figures")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Two profiles, one with a notebook that holds what must not run."""
    build = tmp_path_factory.mktemp("site")
    evil = [
        nbformat.v4.new_output("display_data", data={"text/markdown": EVIL}),
        nbformat.v4.new_output("display_data", data={"text/html": f"<p>{EVIL}</p>"}),
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# 01 · Evil\n\n**Question.** Does it run?"),
        nbformat.v4.new_code_cell("answer = 'folded'", outputs=evil),
    ]
    notebooks = build / "local" / "notebooks"
    notebooks.mkdir(parents=True)
    for name in ("01_evil", "02_lost.failed"):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), notebooks / f"{name}.ipynb")
    index = build_site(folders(build), build / "site", ["local", "reasoning_gym_families"])
    assert sorted(path.name for path in build.iterdir()) == ["local", "site"]
    return index.parent


@pytest.fixture(scope="module")
def parsed(site) -> dict[Path, BeautifulSoup]:
    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }


def test_the_claim_and_the_forest_come_first(site, parsed):
    page = parsed[site / "index.html"]
    inside = page.select_one("article")
    claim, figure = inside.select_one(".claim"), inside.select_one("figure")
    said = " ".join(claim.get_text(" ").split())
    assert re.search(r"better than the best router .* in \d+ of \d+ pools", said)
    assert "forest" in figure.img["src"] and figure.get_text().strip().startswith("Figure 1.")
    assert claim.sourceline < figure.sourceline < inside.select_one("h2").sourceline
    numbers = re.findall(r"Figure (\d+)\.", inside.get_text())
    assert numbers == [str(at) for at in range(1, len(numbers) + 1)] and len(numbers) > 4


def test_pages_of_profiles_hold_figures_tables_verdict_and_data(site, parsed):
    run, not_run = (
        parsed[site / "profiles" / f"{n}.html"] for n in ("local", "reasoning_gym_families")
    )
    assert "Routing wins accuracy" in run.get_text()
    assert run.find("a", href=re.compile("01_evil")) and not run.find("a", href=re.compile("lost"))
    assert "were not run where these pages were built" in not_run.get_text()
    drawn = {path.stem for path in (project_root() / "figures" / "local").glob("*.svg")}
    assert drawn <= {Path(image["src"]).stem for image in run.select("figure img")}
    assert run.find("a", href="../data/local/metrics.csv")
    assert run.select_one("td").get_text() and "kernel router on prefill (ours)" in run.get_text()
    assert "predicted_category" not in run.get_text()


def test_every_image_has_a_text_and_nothing_is_fetched(parsed):
    for path, page in parsed.items():
        for image in page.find_all("img"):
            assert image.get("alt"), f"{path.name}: {image.get('src')}"
        for node in page.select("script[src], link[href], img[src], iframe, object"):
            address = node.get("src") or node.get("href")
            rel = node.get("rel") or []
            assert "canonical" in rel or not re.match(r"(https?:)?//", address), address


def test_every_internal_link_resolves(parsed):
    for path, page in parsed.items():
        for node in page.select("[href], [src]"):
            address = node.get("href") or node.get("src") or ""
            if not address or re.match(r"[a-z]+:|//", address):
                continue
            name, _, anchor = unquote(address).partition("#")
            name = name.partition("?")[0]
            target = (path.parent / name).resolve() if name else path
            assert target.is_file(), f"{path.name}: {address}"
            if anchor and target in parsed and anchor != "":
                assert parsed[target].find(id=anchor), f"{path.name}: {address}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_from_disk_without_network(browser, site, name):
    page, errors = opened(browser, offline=True)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / name).as_uri())
    broken = page.evaluate(
        "async () => { const all = [...document.images]; all.forEach(i => i.loading = 'eager');"
        " await Promise.all(all.map(i => i.decode().catch(() => {})));"
        " return all.filter(i => !i.naturalWidth).map(i => i.src) }"
    )
    assert broken == [] and errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.evaluate("window.ran") is None
    shoot(page, f"site_{Path(name).stem}")


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(browser, site, name):
    page, errors = opened(browser, width=PHONE, offline=True)
    page.goto((site / name).as_uri())
    if name == "index.html":
        page.locator(".chart svg").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    wide = page.evaluate(
        "() => [...document.querySelectorAll('article table, article figure')].filter(t => {"
        " const box = t.closest('.scrolls, .table-wrapper') ?? t;"
        " return box.getBoundingClientRect().right > innerWidth + 1 })"
        ".map(t => t.outerHTML.slice(0, 80))"
    )
    assert wide == [] and errors == []
    shoot(page, f"site_{Path(name).stem}_phone")


CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const over = colors => {
    context.clearRect(0, 0, 1, 1);
    for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = rgb => rgb.map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const found = {};
  for (const what of ['h1', 'p', 'li', 'td', 'th', 'figcaption', '.claim', 'summary', 'a',
                      '.chart svg text']) {
    const node = document.querySelector(`article ${what}`) ?? document.querySelector(what);
    if (!node) continue;
    const under = [];
    for (let at = node; at; at = at.parentElement)
      under.unshift(getComputedStyle(at).backgroundColor);
    const style = getComputedStyle(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(over(under)), light(over([...under, ink]))];
    found[what] = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_modes(browser, site, scheme):
    page, errors = opened(browser, offline=True, color_scheme=scheme)
    page.goto((site / "index.html").as_uri())
    page.locator(".chart svg").first.wait_for()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
    found = page.evaluate(CONTRASTS)
    assert len(found) >= 8 and {k: v for k, v in found.items() if v < 4.5} == {} and errors == []
    shoot(page, f"site_{scheme}")


def test_a_point_of_the_curve_tells_method_rule_cost_and_accuracy(browser, site):
    page, errors = opened(browser, offline=True)
    page.goto((site / "profiles" / "local.html").as_uri())
    svg = page.locator(".chart svg").first
    svg.wait_for()
    svg.scroll_into_view_if_needed()
    page.locator(".chart svg path[aria-roledescription='point']").nth(20).hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    text = tip.inner_text()
    assert all(word in text for word in ("method", "rule", "cost", "accuracy")), text
    assert re.search(r"\d+\.\d % \[\d+\.\d, \d+\.\d\]", text) and "best single target's" in text
    shoot(page, "site_hover")
    assert errors == []


def test_code_is_folded(browser, site):
    page, _ = opened(browser, offline=True)
    page.goto((site / "notebooks" / "local" / "01_evil.html").as_uri())
    code = page.get_by_text("answer = ")
    assert not code.first.is_visible() and page.get_by_text("window.ran = 2").count() == 2
    page.locator("details.hide summary").first.click()
    assert code.first.is_visible()


def test_it_is_made_anew_but_never_over_other_things(tmp_path, capsys, monkeypatch):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    arguments = [f"--build-dir={tmp_path}", f"--out={out}"]
    assert main(arguments) == 2
    assert "holds other things" in capsys.readouterr().err and (out / "letter.txt").exists()
    assert main([*arguments, f"--results-dir={tmp_path / 'none'}"]) == 2
    assert "run `make reproduce` first" in capsys.readouterr().err

    def interrupted(*_):
        raise KeyboardInterrupt

    old = tmp_path / "old"
    old.mkdir()
    for name in (".buildinfo", "index.html"):
        (old / name).write_text("before")
    monkeypatch.setattr(site_module, "_sphinx", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_site(folders(tmp_path), old, ["local"])
    assert (old / "index.html").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "old"]
