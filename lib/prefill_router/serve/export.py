"""Routers in the formats that serving projects load.

``docs/formats.md`` has every field, its shape and dtype, the order of operations and a worked
example; the readers of the tests know nothing but that page.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from prefill_router.encode.weights import WHEELS
from prefill_router.files import option
from prefill_router.serve.formats import FORMATS
from prefill_router.serve.names import ExportError, dtype_of
from prefill_router.serve.router import Router


def hub_name(router: Router) -> str:
    """The name by which other projects load the router's encoder: the Hub id of embedded weights,
    else its own name.
    """
    name = router.encoder_note["name"].partition("@")[0]
    return WHEELS[name].hub_id if name in WHEELS else name


def export(
    router: Router,
    format: str,
    folder: str | Path,
    encoder_name: str | None = None,
    allow_pickle: bool = False,
    names: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a router in a format.

    Parameters
    ----------
    router : Router
    format : a key of ``FORMATS``
    folder : where the files go; made if it is not there.
    encoder_name : str, optional
        The name that the other project loads the encoder by; default: :func:`hub_name`.
    allow_pickle : bool
        `toolkit` holds scikit-learn objects, hence a pickle, which can run code when it is loaded;
        it is written only on request.
    names : mapping of target to name, optional
        `switchyard_json` alone, and needed there: which target is written under which of
        ``SWITCHYARD_NAMES``.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ExportError
        An unknown format, a router of a method, of layers, sizes or names that the format cannot
        hold, one that was not trained on float32 states (but for `own`), or a pickle that was not
        asked for.
    """
    check_request(format, names)
    write, methods = FORMATS[format]
    if router.method not in methods:
        raise ExportError(
            f"{format} cannot hold a router of the method {router.method!r}; train one with"
            f" Router.fit(..., method={' or '.join(map(repr, methods))})"
        )
    if format != "own" and (dtype := dtype_of(router)) != "float32":
        raise ExportError(
            f"the router was trained on {dtype} states, and other projects read their encoder in"
            " float32 on a CPU, where P(correct) would differ by some hundredths; train it on"
            " activations that were extracted with dtype float32, as make export does"
        )
    if format == "toolkit":
        if not allow_pickle:
            raise ExportError(
                "the toolkit's checkpoint is a pickle (it holds scikit-learn objects), and loading"
                " a pickle can run code; pass allow_pickle=True (--allow-pickle, ALLOW_PICKLE=1"
                " with make) to write one all the same"
            )
        warnings.warn(
            "a pickle is written: load it only where you trust whoever could have changed it",
            stacklevel=2,
        )
    folder = Path(folder)
    written = write(
        router, folder, encoder_name or hub_name(router), names
    )  # checks first: a router that is refused leaves no folder
    return [folder / name for name in written]


def check_request(format: str, names: Mapping[str, str] | None) -> None:
    if format not in FORMATS:
        raise ExportError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if names and format != "switchyard_json":
        raise ExportError(
            f"{format} keeps the targets' own names; {option('names')} is of switchyard_json alone"
        )


def switchyard_words(router: Router) -> str:
    """Where the file goes, as Markdown with Switchyard's own configuration."""
    names = ", ".join(f'"{name}"' for name in router.target_names)
    return f"""NeMo Switchyard 0.3, built with its feature `prefill-router`; it loads the encoder \
`{hub_name(router)}` by that name:

```toml
[routes.prefill]
id = "switchyard/prefill"
type = "prefill_router"
targets = [{names}]
checkpoint = "export/switchyard/router.pt"
```

Its earlier artifact takes four targets under names of its own: \
`make export FORMAT=switchyard_json NAMES="ours=theirs,…"`. The NVIDIA model-router-toolkit's \
checkpoint is a pickle: `make export FORMAT=toolkit ALLOW_PICKLE=1`. LiteLLM: docs/serving.md."""
