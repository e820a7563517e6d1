"""Profiles: one YAML file per experiment, checked by pydantic.

A profile says which outcomes, encoder, split seeds and settings an experiment uses.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, Strict, StringConstraints
from pydantic.dataclasses import dataclass

from prefill_router.heads.names import DEFAULT_BASELINES
from prefill_router.run.profile_types import (
    Baselines,
    Count,
    Counts,
    Different,
    DType,
    Ensemble,
    Frozen,
    Share,
    Targets,
    Text,
    Texts,
    Tolerances,
    add_up_to_one,
    keeps_no_more_than_members,
    not_just_one,
    with_paper,
)

DEFAULT = "reasoning_gym"  # profile of a command that names none
METHODS = ("paper", "paper_auc", "shared_block", "adapter_trunk", "ours", "ours_views")


class ProfileError(ValueError):
    """A profile that does not exist, or a key or value in it that cannot be used."""


def plain(value: Any) -> Any:
    """The value with plain lists and dicts."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _one_pool() -> Mapping[str, Literal["*"] | tuple[str, ...]]:
    return {"all": "*"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Profile:
    """Settings of one experiment; the defaults are the specification's (LLM Router, arXiv
    2603.20895).

    Attributes
    ----------
    name : file name without `.yaml`.
    outcomes : folder of the outcomes or a table that `own.read_own_table` reads, relative to the
        project root, or `public:` and the name of a source of `prefill_router.data.public`.
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
    baselines : which of `heads.names.BASELINES` are trained.
    encoder, sentence_encoder : names that `encoders.resolve` understands.
    seeds : split seeds; every number is an average over them.
    fractions : shares of queries for training, calibration and test.
    pools : pool name -> target names, or "*" for all targets.
    subset : None for all queries, else how many (whole groups, drawn with a fixed seed).
    longest_prompt : None for all queries, else the input tokens of the longest that are taken, as
        the outcomes count them.
    split : "random" draws groups into the parts; "families" holds out whole categories (families
        of questions), each tested once: a fold of them for each seed.
    hidden_reasoning : target -> how many times the visible tokens its answers are taken to have, in
        a second table of costs: published counts lack its reasoning, which is billed.
    states_of : None, or the profile whose build folder holds the states, where both read the same.
    then : None, or the profile that `reproduce` runs next.
    max_prompt_tokens : None, or how many cl100k tokens of a prompt encoders read: of a longer one
        the first and the last half of them (`data.public.tokens.cut_texts`).
    layer_components : PCA size of the layer profile; `component_sizes` are those tried for the
    features.
    ensemble : fields of `trunk.TrunkConfig`.
    verify : by how much numbers may differ between machines: rtol, atol, and `columns` / `metrics`
        with their own pairs; a column may have `mean` instead.
    label : name of the profile's folders. An encoder given on the command line adds its name, so
        that a trial with another encoder never overwrites the results of the profile itself.
    """

    name: Annotated[Text, Field(description="a text")]
    outcomes: Annotated[Text, Field(description="a folder, a table, or public: and a name")]
    encoder: Annotated[Text, Field(description="the name of an encoder")]
    sentence_encoder: Annotated[Text, Field(description="the name of a sentence encoder")]
    description: Annotated[str, Field(description="a text")] = ""
    device: Annotated[
        str,
        StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"),
        Field(description="auto, cpu, mps, cuda or cuda:N"),
    ] = "auto"
    dtype: Annotated[DType, Field(description="auto, float32, float16 or bfloat16")] = "float32"
    seeds: Annotated[
        tuple[Annotated[int, Strict(), Field(ge=0)], ...],
        Different,
        Field(min_length=1, description="a list of different whole numbers"),
    ] = (0, 1, 2, 3, 4)
    fractions: Annotated[
        tuple[Share, Share, Share],
        AfterValidator(add_up_to_one),
        Field(description="three positive shares (training, calibration, test) that add up to 1"),
    ] = (0.70, 0.15, 0.15)
    pools: Annotated[
        Mapping[Text, Literal["*"] | Targets],
        Frozen,
        Field(
            min_length=1,
            description='pool names, each with "*" or a list of two or more different target names',
        ),
    ] = Field(default_factory=_one_pool)
    subset: Annotated[Count | None, Field(description="null or a number of queries")] = None
    longest_prompt: Annotated[Count | None, Field(description="null or a number of tokens")] = None
    split: Annotated[Literal["random", "families"], Field(description="random or families")] = (
        "random"
    )
    hidden_reasoning: Annotated[
        Mapping[Text, Annotated[float, Field(ge=1)]],
        Frozen,
        Field(description="a table of targets, each with a factor from 1"),
    ] = Field(default_factory=dict)
    states_of: Annotated[Text | None, Field(description="the name of a profile, or null")] = None
    then: Annotated[Text | None, Field(description="the name of a profile, or null")] = None
    max_prompt_tokens: Annotated[Count | None, Field(description="null or a number of tokens")] = (
        None
    )
    poolings: Annotated[
        tuple[Literal["last", "mean"], ...],
        Different,
        Field(min_length=1, description="a list of last and mean"),
    ] = ("last", "mean")
    layer_components: Annotated[Count, Field(description="a whole number from 1")] = 50
    component_sizes: Annotated[
        Counts, Field(description="a list of different whole numbers from 1")
    ] = (50, 100, 150, 200, 300)
    folds: Annotated[int, Strict(), Field(ge=2, description="a whole number from 2")] = 5
    layer_choice: Annotated[
        Literal["fisher_j", "probe_auc"], Field(description="fisher_j or probe_auc")
    ] = "fisher_j"
    ensemble: Annotated[
        Ensemble,
        AfterValidator(keeps_no_more_than_members),
        Frozen,
        Field(description="a table of settings of the ensemble"),
    ] = Field(default_factory=lambda: Ensemble())
    bootstrap: Annotated[Count, Field(description="a whole number from 1")] = 1000
    cost_model: Annotated[
        Literal["median_output", "input_only", "realised"],
        Field(description="median_output, input_only or realised"),
    ] = "median_output"
    batch_tokens: Annotated[
        Count | None, Field(description="a whole number from 1, or null for what suits the device")
    ] = None
    prices: Annotated[Text | None, Field(description="a YAML file, or null")] = None
    right_from: Annotated[Share, Field(description="a grade above 0, at most 1")] = 0.5
    prompt: Annotated[
        Text | None,
        Field(description="a template over columns, such as {context} {question}, or null"),
    ] = None
    models: Annotated[
        Texts,
        AfterValidator(not_just_one),
        Field(description="a list of two or more different models"),
    ] = ()
    more_encoders: Annotated[Texts, Field(description="a list of different encoders")] = ()
    more_sentence_encoders: Annotated[
        Texts, Field(description="a list of different sentence encoders")
    ] = ()
    plain_prompt: Annotated[Texts, Field(description="a list of different encoders")] = ()
    methods: Annotated[
        tuple[Literal[METHODS], ...],  # type: ignore[valid-type]
        Different,
        AfterValidator(with_paper),
        Field(description=f"a list of {', '.join(METHODS)}, with paper among them"),
    ] = ("paper",)
    baselines: Baselines = DEFAULT_BASELINES
    verify: Annotated[
        Tolerances,
        Frozen,
        Field(description="rtol, atol, and columns/metrics tables of {rtol, atol}"),
    ] = Field(default_factory=lambda: Tolerances())
    label: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Every key with plain lists and dicts, as in the YAML file, and `label`."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

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
                        f"outcomes do not have{suggest(name, known)}"
                    )
        return pools


def suggest(word: Any, known: Sequence[str]) -> str:
    """The nearest of the known words, and all of them, as the end of a message."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    return f"{hint} Known: {', '.join(sorted(known)) or 'none'}."
