"""Profiles (one YAML file per experiment) and the workspace that a notebook reads from and writes
to.

A profile says which outcomes, encoder, split seeds and settings an experiment uses. A workspace
adds the three folders: `build` (ignored by git, may be deleted), `results` (tables) and `figures`.
Everything a notebook writes goes through the workspace, so that tables have one number format,
figures carry no dates and no file is ever half written.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from prefill_router.files import usual_mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from prefill_router.outcomes import Outcomes

ENSEMBLE_KEYS = (
    "members",
    "keep",
    "max_epochs",
    "patience",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "min_improvement",
    "validation_fraction",
    "hidden",
    "dropout",
    "dtype",
)
METHODS = ("paper", "paper_auc", "shared_block", "adapter_trunk", "ours")
FLOAT_FORMAT = "%.6g"
DPI = 150  # of saved figures


class ProfileError(ValueError):
    """A profile that does not exist, or a key or value in it that cannot be used."""


def project_root() -> Path:
    """Folder that holds `config/`, `notebooks/` and `lib/`, found from where this package lies."""
    return Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Profile:
    """Settings of one experiment; the defaults are the specification's (LLM Router, arXiv
    2603.20895).

    Attributes
    ----------
    name : file name without `.yaml`.
    outcomes : folder of the outcomes or a table that `own.read_own_table` reads, relative to the
        project root, or `public:`
        and the name of a source of `prefill_router.public`.
    prices : price list, relative to the project root: of public outcomes (None:
    `config/prices.yaml`) or of one's own table (None: no prices).
    right_from : from which grade on an answer of one's own table counts as right.
    prompt : template over columns of one's own table, such as ``{context}\\n\\n{question}``; None
    for its column of prompts.
    models : the models of one's own table that are kept; none for all.
    more_encoders : further encoders, which `ours` and the encoder comparison read as well.
    more_sentence_encoders : further sentence encoders, which the semantic baselines read as well.
    plain_prompt : those encoders that read the raw prompt, since they have no chat template.
    methods : which of `METHODS` are trained.
    encoder, sentence_encoder : names that `encoders.resolve` understands.
    seeds : split seeds; every number is an average over them.
    fractions : shares of queries for training, calibration and test.
    pools : pool name -> target names, or "*" for all targets.
    subset : None for all queries, else how many (whole groups, drawn with a fixed seed).
    profile_components : PCA size of the layer profile; `component_sizes` are those tried for the
    features.
    ensemble : fields of `trunk.TrunkConfig`.
    verify : tolerances of `verify`: rtol, atol, and `columns` / `metrics` with their own pairs.
    label : name of the profile's folders. An encoder given on the command line adds its name, so
        that a trial
        with another encoder never overwrites the results of the profile itself.
    """

    name: str
    outcomes: str
    encoder: str
    sentence_encoder: str
    description: str = ""
    device: str = "auto"
    dtype: str = "float32"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    fractions: tuple[float, ...] = (0.70, 0.15, 0.15)
    pools: Mapping[str, Any] = field(default_factory=lambda: {"all": "*"})
    subset: int | None = None
    poolings: tuple[str, ...] = ("last", "mean")
    profile_components: int = 50
    component_sizes: tuple[int, ...] = (50, 100, 150, 200, 300)
    folds: int = 5
    layer_choice: str = "fisher_j"
    ensemble: Mapping[str, Any] = field(default_factory=dict)
    bootstrap: int = 1000
    cost_model: str = "median_output"
    batch_tokens: int | None = None
    prices: str | None = None
    right_from: float = 0.5
    prompt: str | None = None
    models: tuple[str, ...] = ()
    more_encoders: tuple[str, ...] = ()
    more_sentence_encoders: tuple[str, ...] = ()
    plain_prompt: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("paper",)
    verify: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Every key with plain lists and dicts, as in the YAML file, and `label`."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    def pool_targets(self, known: Sequence[str]) -> dict[str, list[str]]:
        """Target names of every pool, given the names that the outcomes hold.

        Raises
        ------
        ProfileError
            A pool names a target that the outcomes do not have.
        """
        pools = {}
        for pool, names in self.pools.items():
            pools[pool] = list(known) if names == "*" else list(names)
            for name in pools[pool]:
                if name not in known:
                    raise ProfileError(
                        f"profile {self.name}: pool '{pool}' names the target '{name}', which the "
                        f"outcomes do not have{_suggest(name, known)}"
                    )
        return pools


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return tuple(_frozen(item) for item in value) if isinstance(value, (tuple, list)) else value


def _suggest(word: Any, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    return f"{hint} Known: {', '.join(sorted(known)) or 'none'}."


def _is_int(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_ints(value: Any, low: int) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(_is_int(v, low) for v in value)
        and len(set(value)) == len(value)
    )


def _is_fractions(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(_is_number(v) and v > 0 for v in value)
        and abs(sum(value) - 1) < 1e-9
    )


def _is_pools(value: Any) -> bool:
    def good(names: Any) -> bool:
        return names == "*" or (
            isinstance(names, list)
            and len(set(map(str, names))) == len(names) >= 2
            and all(isinstance(name, str) for name in names)
        )

    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and good(v) for k, v in value.items())
    )


def _is_tolerance(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"rtol", "atol"}
        and all(map(_is_number, value.values()))
    )


def _is_verify(value: Any) -> bool:
    if not isinstance(value, dict) or not set(value) <= {"rtol", "atol", "columns", "metrics"}:
        return False
    tables = [value[key] for key in ("columns", "metrics") if key in value]
    return _is_tolerance({k: v for k, v in value.items() if k in ("rtol", "atol")}) and all(
        isinstance(table, dict) and all(map(_is_tolerance, table.values())) for table in tables
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, "a text"),
    "outcomes": (_is_text, "a folder, a table, or public: and a name"),
    "prices": (lambda v: v is None or _is_text(v), "a YAML file, or null"),
    "right_from": (lambda v: _is_number(v) and 0 < v <= 1, "a grade above 0, at most 1"),
    "prompt": (
        lambda v: v is None or _is_text(v),
        "a template over columns, such as {context} {question}, or null",
    ),
    "models": (lambda v: _is_texts(v) and len(v) != 1, "a list of two or more different models"),
    "more_encoders": (lambda v: _is_texts(v), "a list of different encoders"),
    "more_sentence_encoders": (lambda v: _is_texts(v), "a list of different sentence encoders"),
    "plain_prompt": (lambda v: _is_texts(v), "a list of different encoders"),
    "methods": (
        lambda v: _is_texts(v) and "paper" in v and set(v) <= set(METHODS),
        f"a list of {', '.join(METHODS)}, with paper among them",
    ),
    "encoder": (_is_text, "the name of an encoder"),
    "sentence_encoder": (_is_text, "the name of a sentence encoder"),
    "description": (lambda v: isinstance(v, str), "a text"),
    "device": (
        lambda v: isinstance(v, str) and bool(re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", v)),
        "auto, cpu, mps, cuda or cuda:N",
    ),
    "dtype": (
        lambda v: v in ("auto", "float32", "float16", "bfloat16"),
        "auto, float32, float16 or bfloat16",
    ),
    "seeds": (lambda v: _is_ints(v, 0), "a list of different whole numbers"),
    "fractions": (
        _is_fractions,
        "three positive shares (training, calibration, test) that add up to 1",
    ),
    "pools": (
        _is_pools,
        'pool names, each with "*" or a list of two or more different target names',
    ),
    "subset": (lambda v: v is None or _is_int(v, 1), "null or a number of queries"),
    "poolings": (
        lambda v: (
            isinstance(v, list)
            and bool(v)
            and len(set(map(str, v))) == len(v)
            and set(map(str, v)) <= {"last", "mean"}
        ),
        "a list of last and mean",
    ),
    "profile_components": (lambda v: _is_int(v, 1), "a whole number from 1"),
    "component_sizes": (lambda v: _is_ints(v, 1), "a list of different whole numbers from 1"),
    "folds": (lambda v: _is_int(v, 2), "a whole number from 2"),
    "layer_choice": (lambda v: v in ("fisher_j", "probe_auc"), "fisher_j or probe_auc"),
    "ensemble": (lambda v: isinstance(v, dict), "a table of settings of the ensemble"),
    "bootstrap": (lambda v: _is_int(v, 1), "a whole number from 1"),
    "cost_model": (
        lambda v: v in ("median_output", "input_only", "realised"),
        "median_output, input_only or realised",
    ),
    "batch_tokens": (
        lambda v: v is None or _is_int(v, 1),
        "a whole number from 1, or null for what suits the device",
    ),
    "verify": (_is_verify, "rtol, atol, and columns/metrics tables of {rtol, atol}"),
}


def profile_names(config_dir: str | Path | None = None) -> list[str]:
    """Names of the profiles in `config/`; other YAML files there (no `encoder` key) are not
    profiles.
    """
    folder = Path(config_dir) if config_dir else project_root() / "config"
    found = []
    for path in sorted(folder.glob("*.yaml")):
        if re.search(r"^encoder:", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.append(path.stem)
    return found


def load_profile(name: str, config_dir: str | Path | None = None, **overrides: Any) -> Profile:
    """Read and check one profile.

    Parameters
    ----------
    name : a profile of `config/`, or the path of a `.yaml` file of your own.
    config_dir : folder of the profiles; None for the project's.
    overrides : keys that replace those of the file; None means "as in the file".

    Raises
    ------
    ProfileError
        Unknown profile or key (with the nearest known one), missing key, or a value that cannot be
        used; all problems of a file at once.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        known = profile_names(config_dir)
        if name not in known:
            raise ProfileError(f"there is no profile '{name}'{_suggest(name, known)}")
        path = (Path(config_dir) if config_dir else project_root() / "config") / f"{name}.yaml"
    elif not path.is_file():
        raise ProfileError(f"there is no profile file {path}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: expected `key: value` lines.")
    own_encoder = content.get("encoder")
    content = content | {
        key: _plain(value) for key, value in overrides.items() if value is not None
    }
    problems = _problems(content, path)
    if problems:
        raise ProfileError("\n".join(f"{path}: {problem}" for problem in problems))
    label = content["name"]
    if content["encoder"] != own_encoder:
        label += "--" + re.sub(
            r"[^a-z0-9.]+", "-", content["encoder"].rstrip("/").split("/")[-1].lower()
        ).strip("-")
    return Profile(**{key: _frozen(value) for key, value in content.items()}, label=label)


def write_own_profile(
    outcomes: Path,
    prices: Path | None,
    folder: Path,
    right_from: float | None = None,
    prompt: str | None = None,
    models: Sequence[str] = (),
) -> Path:
    """Write the profile of a table of one's own, named after the file: the settings of `local` with
    `paper` and `ours`.

    Returns
    -------
    Path of the YAML file, which `load_profile` reads.
    """
    name = re.sub(r"[^a-z0-9_]+", "_", outcomes.stem.lower()).strip("_") or "own"
    if name in profile_names():
        name = f"own_{name}"
    # another table of the same name gets results of its own
    taken = folder / f"{name}.yaml"
    if taken.is_file() and yaml.safe_load(taken.read_text(encoding="utf-8"))["outcomes"] != str(
        outcomes.resolve()
    ):
        name += "_" + hashlib.sha256(str(outcomes.resolve()).encode()).hexdigest()[:6]
    content = yaml.safe_load((project_root() / "config" / "local.yaml").read_text(encoding="utf-8"))
    content |= {
        "name": name,
        "description": f"The outcomes of {outcomes.name}.",
        "outcomes": str(outcomes.resolve()),
        "methods": ["paper", "ours"],
    }
    content["component_sizes"] = [10, 25, *content["component_sizes"]]  # for small tables
    content.pop("verify", None)
    if right_from is not None:
        content["right_from"] = right_from
    if prompt is not None:
        content["prompt"] = prompt
    if models:
        content["models"] = list(models)
    if prices is not None:
        content["prices"] = str(prices.resolve())
    with replacing(folder / f"{name}.yaml") as temporary:
        temporary.write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    return folder / f"{name}.yaml"


def _problems(content: Mapping[str, Any], path: Path) -> list[str]:
    problems = [
        f"unknown key '{key}'{_suggest(key, list(_CHECKS))}"
        for key in content
        if key not in _CHECKS
    ]
    problems += [
        f"the key '{key}' is missing; it must be {_CHECKS[key][1]}."
        for key in ("name", "outcomes", "encoder", "sentence_encoder")
        if key not in content
    ]
    problems += [
        f"'{key}' must be {_CHECKS[key][1]}; got {value!r}."
        for key, value in content.items()
        if key in _CHECKS and not _CHECKS[key][0](value)
    ]
    ensemble = content.get("ensemble") if isinstance(content.get("ensemble"), dict) else {}
    problems += [
        f"ensemble: unknown key '{key}'{_suggest(key, ENSEMBLE_KEYS)}"
        for key in ensemble
        if key not in ENSEMBLE_KEYS
    ]
    problems += [
        f"ensemble: '{key}' must be a whole number from 1; got {ensemble[key]!r}."
        for key in ("members", "keep", "max_epochs", "patience", "batch_size")
        if key in ensemble and not _is_int(ensemble[key], 1)
    ]
    if (
        all(_is_int(ensemble.get(key), 1) for key in ("members", "keep"))
        and ensemble["keep"] > ensemble["members"]
    ):
        problems.append(
            f"ensemble: keep ({ensemble['keep']}) is larger than members ({ensemble['members']})."
        )
    if "name" in content and content["name"] != path.stem:
        problems.append(
            f"'name' is {content['name']!r} but the file is called {path.name}; make them agree."
        )
    return problems


def subset_rows(queries: pd.DataFrame, size: int, seed: int = 0) -> np.ndarray:
    """Rows of a draw of whole groups that takes turns over the categories.

    Parameters
    ----------
    queries : n rows with `query_id`, `category` and `group`.
    size : number of queries wanted; a group that would exceed it is passed over, so fewer may come
        back.

    Returns
    -------
    int array, sorted. The same queries whatever the order of the rows.
    """
    rng = np.random.default_rng(seed)
    ordered = queries.reset_index(drop=True).sort_values("query_id")
    rows_of = {group: rows.index.to_numpy() for group, rows in ordered.groupby("group", sort=True)}
    category_of = ordered.drop_duplicates("group").set_index("group")["category"]
    waiting: dict[Any, list[Any]] = {}
    for group in rng.permutation(np.array(sorted(rows_of), dtype=object)):
        waiting.setdefault(category_of[group], []).append(group)
    chosen: list[int] = []
    while any(waiting.values()):
        for category in sorted(waiting):
            if waiting[category]:
                rows = rows_of[waiting[category].pop()]
                if len(chosen) + len(rows) <= size:
                    chosen.extend(rows)
    if not chosen:
        raise ProfileError(
            f"subset {size} is smaller than the smallest group of queries "
            f"({min(map(len, rows_of.values()), default=0)}); raise it."
        )
    return np.sort(np.array(chosen))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` that takes its place, with a new file's usual
    permissions, when the block ends without an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        usual_mode(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Workspace:
    """A profile and its folders: parents as arguments, the profile's own as properties."""

    profile: Profile
    build_dir: Path
    results_dir: Path
    figures_dir: Path

    @property
    def build(self) -> Path:
        """Folder of everything that may be deleted: executed notebooks, activations, stamps."""
        return self.build_dir / self.profile.label

    @property
    def results(self) -> Path:
        """Folder of the profile's tables."""
        return self.results_dir / self.profile.label

    @property
    def figures(self) -> Path:
        """Folder of the profile's figures."""
        return self.figures_dir / self.profile.label

    @property
    def activations(self) -> Path:
        """Root folder of the activation stores."""
        return self.build / "activations"

    @property
    def outcomes_folder(self) -> Path:
        """Folder of the outcomes; published ones are fetched and converted first, once, and so is a
        table of one's own.
        """
        if self.profile.outcomes.startswith("public:"):
            from prefill_router.public import outcomes_folder

            return outcomes_folder(
                self.profile.outcomes.removeprefix("public:"),
                project_root() / (self.profile.prices or "config/prices.yaml"),
            )
        path = project_root() / self.profile.outcomes
        if path.is_file():
            from prefill_router.own import Reads, own_outcomes_folder

            own = self.profile
            return own_outcomes_folder(
                path,
                own.prices and project_root() / own.prices,
                self.build,
                own.right_from,
                prompt=own.prompt,
                models=own.models,
                encoders=[
                    Reads(name, name in own.plain_prompt)
                    for name in (own.encoder, *own.more_encoders)
                ],
            )
        return path

    def load_outcomes(self) -> Outcomes:
        """The profile's outcomes, cut to `subset` queries where the profile asks for it."""
        from prefill_router.outcomes import load_outcomes

        outcomes = load_outcomes(self.outcomes_folder)
        if self.profile.subset is None or self.profile.subset >= outcomes.n:
            return outcomes
        return outcomes.subset(subset_rows(outcomes.queries, self.profile.subset))

    def write_table(self, table: pd.DataFrame, name: str) -> Path:
        """Write `name`.csv (six digits, empty = missing), or Parquet for a `.parquet` name."""
        path = self.results / (name if name.endswith((".csv", ".parquet")) else f"{name}.csv")
        with replacing(path) as temporary:
            if path.suffix == ".parquet":
                table.to_parquet(temporary, index=False, compression="zstd")
            else:
                table.to_csv(temporary, index=False, float_format=FLOAT_FORMAT, lineterminator="\n")
        return path

    def read_table(self, name: str) -> pd.DataFrame:
        """Read what `write_table` wrote.

        Raises
        ------
        FileNotFoundError
            The table is not there yet; says how to make it.
        """
        path = self.results / (name if name.endswith((".csv", ".parquet")) else f"{name}.csv")
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is not there: run the earlier notebooks first, or "
                f"`make reproduce PROFILE={self.profile.name}`."
            )
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)

    def write_json(self, content: Any, name: str) -> Path:
        """Write `name`.json into the results folder, keys sorted."""
        path = self.results / (name if name.endswith(".json") else f"{name}.json")
        with replacing(path) as temporary:
            temporary.write_text(
                json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8"
            )
        return path

    def save_figure(self, fig: Figure, name: str) -> Path:
        """Write `name`.svg and `name`.png without dates or random ids: equal figures are equal byte
        for byte.

        Returns
        -------
        Path of the SVG file.
        """
        import matplotlib

        empty = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
        for kind, metadata in empty.items():
            with (
                replacing(self.figures / f"{name}.{kind}") as temporary,
                matplotlib.rc_context({"svg.hashsalt": "prefill-router"}),
            ):
                fig.savefig(temporary, format=kind, metadata=metadata, bbox_inches="tight", dpi=DPI)
        return self.figures / f"{name}.svg"

    def show_figure(self, fig: Figure, name: str) -> None:
        """Save a figure, show the saved PNG with its caption as text for those who do not see it,
        and close the figure.
        """
        import matplotlib.pyplot as plt
        from IPython.display import Image, display

        from prefill_router.captions import caption

        path = self.save_figure(fig, name).with_suffix(".png")
        plt.close(fig)
        width = int.from_bytes(path.read_bytes()[16:20], "big")  # of a PNG's header
        display(Image(filename=str(path), width=round(width * 96 / DPI), alt=caption(name)))


def open_workspace(
    profile: str = "local",
    encoder: str | None = None,
    device: str | None = None,
    build_dir: str | Path | None = None,
    results_dir: str | Path | None = None,
    figures_dir: str | Path | None = None,
) -> Workspace:
    """First line of every notebook: load the profile and make its folders.

    Parameters
    ----------
    profile : profile name, or the path of a YAML file.
    encoder, device : replace those of the profile; None keeps them.
    build_dir, results_dir, figures_dir : parents of the profile's folders; None for `build/`,
        `results/` and
        `figures/` of the project.
    """
    root = project_root()
    workspace = Workspace(
        load_profile(profile, encoder=encoder, device=device),
        *(
            Path(given).resolve() if given else root / default
            for given, default in (
                (build_dir, "build"),
                (results_dir, "results"),
                (figures_dir, "figures"),
            )
        ),
    )
    for folder in (workspace.build, workspace.results, workspace.figures):
        folder.mkdir(parents=True, exist_ok=True)
    return workspace
