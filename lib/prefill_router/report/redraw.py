"""Draw every figure again that committed tables hold, without a notebook or an activation.

python -m prefill_router.report.redraw [PROFILE …] [--figures-dir DIR]

Figures of kinds that no longer exist are deleted; those that need more than committed tables
stay as they are, and are named. A kind exists if it has a caption.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from prefill_router.files import file_hash, project_root, replacing
from prefill_router.report.captions import caption
from prefill_router.report.drawings import all_figures
from prefill_router.report.forest import write_forest
from prefill_router.report.method_figure import write_method
from prefill_router.report.published import profiles
from prefill_router.report.saving import save_figure
from prefill_router.report.styles import use_style


def redraw_profile(results: Path, figures: Path) -> dict[str, list[str]]:
    """Draw the figures of one profile.

    Parameters
    ----------
    results, figures : folders of the profile

    Returns
    -------
    dict
        Names of figures: ``drawn``; ``kept``, drawn by notebooks alone; ``deleted``.
    """
    use_style()
    done: dict[str, list[str]] = {"drawn": [], "kept": [], "deleted": []}
    figures.mkdir(parents=True, exist_ok=True)
    for name, figure in all_figures(results):
        if figure is not None:
            save_figure(figure, figures, name)
            plt.close(figure)
            done["drawn"].append(name)
    for path in sorted(figures.glob("*.svg")):
        if path.stem in done["drawn"]:
            continue
        if caption(path.stem) != path.stem:
            done["kept"].append(path.stem)
        else:
            path.unlink()
            path.with_suffix(".png").unlink(missing_ok=True)
            done["deleted"].append(path.stem)
    _hash_again(figures)
    return done


def _hash_again(figures: Path) -> None:
    """Bring the hashes in the figures' ``manifest.json``, where there is one, up to date."""
    path = figures / "manifest.json"
    if not path.is_file():
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    there = sorted(file for kind in ("png", "svg") for file in figures.glob(f"*.{kind}"))
    content["figures"] = {file.name: file_hash(file) for file in there}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None, root: Path | None = None) -> int:
    """Command line. Returns 2 for a profile without results."""
    parser = argparse.ArgumentParser(
        prog="python -m prefill_router.report.redraw",
        allow_abbrev=False,
        description="Draw the figures of committed results again, from their tables alone.",
    )
    parser.add_argument("profile", nargs="*", help="names below results/; all of them by default")
    parser.add_argument("--figures-dir", type=Path, help="another folder than figures/")
    given = parser.parse_args(argv)
    root = root or project_root()
    figures = given.figures_dir or root / "figures"
    there = sorted(path.parent.name for path in (root / "results").glob("*/metrics.csv"))
    for name in given.profile:
        if name not in there:
            print(f"error: results/{name}/metrics.csv is not there", file=sys.stderr)
            return 2
    matplotlib.use("Agg")
    for name in given.profile or there:
        done = redraw_profile(root / "results" / name, figures / name)
        print(f"{name}: {len(done['drawn'])} drawn", end="")
        for what in ("kept", "deleted"):
            print(f"; {what}: {', '.join(done[what])}" if done[what] else "", end="")
        print(flush=True)
    if not given.profile:
        write_method(figures)
        write_forest(root, profiles(root), figures)
        print("forest and method drawn")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
