"""What of the library a notebook depends on: the code that it reaches, not its prose."""

import pytest

from prefill_router.files import project_root
from prefill_router.run.library_hash import library_hash, reached_modules, syntax_hash

LIBRARY = project_root() / "lib" / "prefill_router"


@pytest.fixture
def library(tmp_path):
    for name, text in {
        "__init__.py": "",
        "files.py": "",
        "heads/__init__.py": '"""Heads."""\n',
        "heads/kernel.py": "from prefill_router.files import x\n",
        "heads/trunk.py": "def f():\n    from prefill_router.heads import kernel\n",
        "report/__init__.py": "",
        "report/plots.py": "",
        "report/paper.mplstyle": "font.size: 9\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "code, modules",
    [
        ("import numpy", set()),
        ("import prefill_router.files", {"", "files"}),
        ("from prefill_router.heads.kernel import K", {"", "heads", "heads.kernel", "files"}),
        (
            "from prefill_router.heads import trunk",
            {"", "heads", "heads.trunk", "heads.kernel", "files"},
        ),
    ],
)
def test_modules_are_found_through_others_and_inside_functions(library, code, modules):
    assert reached_modules(code, library) == modules


def test_only_code_that_is_reached_counts(library):
    def digest(code="from prefill_router.heads.kernel import K"):
        return library_hash(reached_modules(code, library), library)

    before = digest()
    (library / "report" / "plots.py").write_text("import os\n")
    (library / "report" / "paper.mplstyle").write_text("font.size: 12\n")
    assert digest() == before
    (library / "files.py").write_text('"""Files."""  # prose\n')
    assert digest() == before
    (library / "files.py").write_text("x = 1\n")
    assert digest() != before
    drawing = digest("import prefill_router.report.plots")
    (library / "report" / "paper.mplstyle").write_text("font.size: 9\n")
    assert digest("import prefill_router.report.plots") != drawing


def test_prose_and_layout_do_not_count():
    assert syntax_hash('def f(a):\n    """Doc."""\n    return a  # why\n') == syntax_hash(
        "def f(\n    a,\n):\n    return (a)\n"
    )
    assert syntax_hash("def f(a):\n    return a\n") != syntax_hash("def f(a):\n    return -a\n")


def test_a_notebook_that_trains_does_not_depend_on_serving():
    reached = reached_modules("import prefill_router.heads.over_seeds", LIBRARY)
    assert "heads.trunk" in reached and "features.probes" in reached
    assert not [name for name in reached if name.startswith(("serve", "report", "run"))]
