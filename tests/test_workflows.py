"""The workflow files of a code host: that they parse, and ask for what there is."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_is_whole(path):
    content = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # else `on` reads as true
    known = {"name", "on", "permissions", "concurrency", "jobs"}
    assert set(content) <= known and {"on", "permissions", "jobs"} <= set(content)
    targets = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in content["jobs"].values():
        assert job["runs-on"] and int(job["timeout-minutes"]) <= 120
        named = {step["id"] for step in job["steps"] if "id" in step}
        assert set(re.findall(r"steps\.(\w+)\.", str(job))) <= named
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))
            if made := re.fullmatch(r"make (\w+)", step.get("run", "make test")):
                assert made[1] in targets
    for named in re.findall(r"hashFiles\(([^)]*)\)", path.read_text()):
        assert all((ROOT / file).is_file() for file in re.findall(r"'([^']+)'", named))


def test_one_runs_the_tests_and_one_publishes_what_make_site_writes():
    test, site = (
        (ROOT / ".github" / "workflows" / f"{n}.yml").read_text() for n in ("test", "site")
    )
    assert "run: make test" in test and "pages: write" not in test
    assert (
        site.index("run: make site") < site.index("path: build/site") < site.index("deploy-pages")
    )
    assert "pages: write" in site and "id-token: write" in site
