"""What `prefill-router` can do: a line for each subcommand.

To add one, write a function ``(argv) -> exit status`` and a line here. Its module is imported when
the subcommand is called, so that `prefill-router --help` and the others do not pay for it, and one
whose module is not installed is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

COMMAND = "prefill-router"


@dataclass(frozen=True)
class Subcommand:
    """A subcommand.

    Attributes
    ----------
    where : str
        ``module:function``; the function takes the arguments after the subcommand and returns the
        exit status.
    does : str
        One line of help.
    example : str
        Arguments that show how it is called.
    extra : str
        The extra of the package that it needs; "" for none.
    in_clone : bool
        Whether it needs the folders of a clone: `config/`, `notebooks/`, `results/`.
    """

    where: str
    does: str
    example: str
    extra: str = ""
    in_clone: bool = False

    @property
    def module(self) -> str:
        return self.where.partition(":")[0]

    @property
    def is_there(self) -> bool:
        """Whether the library has its module."""
        try:
            return find_spec(self.module) is not None
        except ModuleNotFoundError:  # not even the folder above it
            return False


SUBCOMMANDS = {
    "fit": Subcommand(
        "prefill_router.run.fit:main",
        "train a router on a table of your own and save it",
        "fit my.csv --prices my_prices.yaml --out my-router",
    ),
    "route": Subcommand(
        "prefill_router.run.route:main",
        "say which target should answer a prompt, and why",
        'route my-router "What is 17 times 23?"',
    ),
    "plan": Subcommand(
        "prefill_router.run.plan:main",
        "list the plans of a router with their evidence",
        "plan my-router",
    ),
    "reproduce": Subcommand(
        "prefill_router.run.reproduce:main",
        "run the notebooks of a profile, which make every table and figure",
        "reproduce --profile local",
        "notebooks",
        True,
    ),
    "export": Subcommand(
        "prefill_router.run.export:main",
        "write a router in a format that others load",
        "export --router my-router --format switchyard --out exported",
    ),
    "verify": Subcommand(
        "prefill_router.run.verify:main",
        "run a profile from a clean build and compare every number",
        "verify --profile local",
        "notebooks",
        True,
    ),
    "extract": Subcommand(
        "prefill_router.scale.extract:main",
        "read many prompts and keep their states, on one machine or many",
        "extract prompts.parquet states --encoder smollm2-135m-instruct",
    ),
    "score": Subcommand(
        "prefill_router.scale.score:main",
        "predict P(correct) of many prompts, on one machine or many",
        "score prompts.parquet scores --router my-router",
    ),
}
