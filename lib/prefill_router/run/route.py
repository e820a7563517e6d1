"""Say which target should answer a prompt, by a saved router.

prefill-router route my-router "What is 17 times 23?"
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from prefill_router.evaluate.plans import FALSE_ALARMS
from prefill_router.files import WeightsError
from prefill_router.run.arguments import OPTIONS, command_line
from prefill_router.run.plan import rule_in_words
from prefill_router.serve.routed import Route, RouterError

# `--help` and wrong options are answered before what takes seconds to import.
if TYPE_CHECKING:
    from prefill_router.serve.router import Router


def _prompts_of(stream: TextIO, as_json: bool) -> Iterator[str]:
    """A prompt from each line that is not empty: the line, or of JSON lines a text or the field
    ``prompt`` of an object.

    Raises
    ------
    ValueError
        A line of JSON that holds no prompt; says which.
    """
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        if not as_json:
            yield line.rstrip("\n")
            continue
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        yield _prompt_in(found, f"line {number}")


def _prompt_in(found: Any, where: str) -> str:
    """The prompt in a value of JSON: a text, or the field ``prompt`` of an object."""
    prompt = found.get("prompt") if isinstance(found, dict) else found
    if not isinstance(prompt, str):
        raise ValueError(f'{where} holds no prompt: give a text, or an object with "prompt"')
    return prompt


def _prompts_in(path: Path) -> list[str]:
    """The prompts of a file, by its name: ``.jsonl`` and ``.ndjson`` hold a value of JSON a line,
    ``.json`` an array of such values, all others a prompt a line. A byte order mark is no part of
    the first prompt.

    Raises
    ------
    ValueError
        It is not UTF-8, or holds what is no prompt; says where.
    """
    kind = path.suffix.lower()
    try:
        with path.open(encoding="utf-8-sig") as stream:
            if kind != ".json":
                return list(_prompts_of(stream, kind in (".jsonl", ".ndjson")))
            found = json.load(stream)
        if not isinstance(found, list):
            raise ValueError(
                'no array of prompts: write ["…", "…"] or [{"prompt": "…"}, …], or call a file with'
                " a value a line .jsonl"
            )
        return [_prompt_in(value, f"entry {number}") for number, value in enumerate(found, 1)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not UTF-8 ({error}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: it is no JSON array ({error}); call a file with a value a line .jsonl"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def prompts_of(arguments: argparse.Namespace) -> list[str]:
    """The prompts of the command line, of a file, or of the standard input.

    Raises
    ------
    ValueError
        None are given, some in two ways, or a line cannot be used.
    """
    if arguments.prompts and arguments.file is not None:
        raise ValueError(
            f"prompts are given on the command line ({arguments.prompts[0]!r:.40}) and in --file"
            f" {arguments.file}: give one of the two"
        )
    if arguments.prompts:
        return list(arguments.prompts)
    if arguments.file is not None and str(arguments.file) != "-":
        found = _prompts_in(arguments.file)
    elif arguments.file is not None or not sys.stdin.isatty():
        found = list(_prompts_of(sys.stdin, False))
        found[:1] = [found[0].removeprefix("\ufeff")] if found else []
    else:
        found = []
    if not found:
        raise ValueError('no prompt: write it after the router in quotes, or give --file (or "-")')
    return found


def _json_line(route: Route) -> str:
    """A route as one line of JSON; what is not known is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(of) for key, of in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(asdict(route)), ensure_ascii=False)


def _why(route: Route, router: Router, how: dict[str, Any]) -> str:
    if route.reason:
        return f"the fallback, since {route.reason}"
    if route.plan is not None:
        plan = router.plans[route.plan]
        return f"plan {route.plan}: {rule_in_words(plan, router.target_names, router.cost_unit)}"
    if how.get("budget") is not None:
        return f"the most accurate rule at a mean cost of at most {how['budget']:g}"
    tolerance = how.get("tolerance") or 0.0
    return f"the cheapest target whose P(correct) is at most {tolerance:g} below the largest"


def route_lines(prompt: str, route: Route, router: Router, how: dict[str, Any]) -> list[str]:
    """What a route says, for people: the target, why, and P and cost of every target."""
    short = " ".join(prompt.split())
    width = max(map(len, route.p_correct))
    return [
        f"{route.target}  <-  {short if len(short) <= 60 else short[:59] + '…'}",
        f"  why: {_why(route, router, how)}",
        *(
            f"  {'*' if name == route.target else ' '} {name:<{width}}  P(correct) {p:.3f}"
            f"  expected cost {route.cost[name]:.4g} {router.cost_unit}"
            for name, p in route.p_correct.items()
        ),
    ]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line(
        "route",
        "Say which target should answer each prompt, with P(correct) and expected cost of every"
        " target, the plan that decided and its reason.",
    )
    parser.add_argument("router", type=Path, metavar="ROUTER", help="folder of a saved router")
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="prompts, each in quotes")
    parser.add_argument(
        "--file",
        type=Path,
        help="prompts from a file, one a line (.jsonl and .ndjson: a text or an object with prompt"
        " a line, .json: an array of them); - reads the standard input",
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each prompt")
    decided = parser.add_mutually_exclusive_group()
    decided.add_argument("--plan", help="a plan of the router (default: no_loss)")
    decided.add_argument("--budget", type=float, help="mean cost of a query to keep to")
    decided.add_argument(
        "--tolerance", type=float, help="the cheapest target at most so much below the largest P"
    )
    parser.add_argument(
        "--false-alarms",
        type=float,
        default=FALSE_ALARMS,
        help="share of known prompts that may be taken for unknown ones, which go to the fallback"
        f" (default: {FALSE_ALARMS}; 0 switches it off)",
    )
    parser.add_argument("--fallback", help="target of prompts that are unlike the training")
    parser.add_argument(
        "--encoder",
        help="the folder, .gguf file or name that the router's encoder has here (default: the name"
        " it was trained with)",
    )
    parser.add_argument("--device", default="auto", help=OPTIONS["device"]["help"])
    # intermixed: prompts may stand after options, as `route my-router --plan one_point "…"`
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns 0; 1 if a prompt could not be read; 2 for wrong arguments or files."""
    arguments = _arguments(argv)
    from prefill_router.encode.pooling import ActivationError
    from prefill_router.encode.sources import EncoderError
    from prefill_router.serve.router import Router

    how = {name: getattr(arguments, name) for name in ("plan", "budget", "tolerance")}
    options = {"false_alarms": arguments.false_alarms, "fallback": arguments.fallback}
    try:
        prompts = prompts_of(arguments)
        router = Router.load(arguments.router, arguments.encoder, arguments.device)
        routes = router.route(prompts, on_error="fallback", **how, **options)
    except (ValueError, RouterError, ActivationError, EncoderError, WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for i, (prompt, route) in enumerate(zip(prompts, routes, strict=True)):
        if arguments.json:
            print(_json_line(route))
        else:
            print("\n" * bool(i) + "\n".join(route_lines(prompt, route, router, how)))
    return int(any(route.tokens == 0 for route in routes))


if __name__ == "__main__":
    sys.exit(main())
