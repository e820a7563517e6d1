"""Which modules of the library a notebook reaches, and a hash of what they do.

The hash is of the syntax trees without docstrings, so that prose, comments and formatting run
nothing again; and only of what the notebook imports, directly or through other modules.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from prefill_router.files import file_hash

PACKAGE = "prefill_router"
_CODE = (".py", ".pyc")
_WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def reached_modules(code: str, library: Path) -> set[str]:
    """Dotted names of the package's modules that code imports, directly or through others.

    Parameters
    ----------
    code : Python source, such as the cells of a notebook without their magics.
    library : folder of the package.
    """
    found: set[str] = set()
    waiting = [*_imported(ast.parse(code), library)]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imports_of(*_version(_path(module, library)), library)
    return found


def library_hash(modules: Iterable[str], library: Path) -> str:
    """SHA-256 (hex) of the syntax trees of modules, and of the data files that lie beside them."""
    digest = hashlib.sha256()
    paths = {module: _path(module, library) for module in modules}
    for module in sorted(paths):
        digest.update(f"{module} {_syntax_hash(*_version(paths[module]))}\n".encode())
    for folder in sorted({path.parent for path in paths.values()}):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix not in _CODE and not path.name.startswith("."):
                digest.update(
                    f"{path.relative_to(library).as_posix()} {file_hash(path)}\n".encode()
                )
    return digest.hexdigest()


def syntax_hash(code: str) -> str:
    """SHA-256 (hex) of a syntax tree without docstrings: comments and prose do not count."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _version(path: Path) -> tuple[Path, int, int]:
    """A file and what changes when it is written again, as a key of the caches."""
    status = path.stat()
    return path, status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=512)
def _syntax_hash(path: Path, _time: int, _size: int) -> str:
    return syntax_hash(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=512)
def _imports_of(path: Path, _time: int, _size: int, library: Path) -> tuple[str, ...]:
    return tuple(_imported(ast.parse(path.read_text(encoding="utf-8")), library))


def _imported(tree: ast.AST, library: Path) -> Iterator[str]:
    """Modules that a tree imports; those of a folder come with the folder's own."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] == PACKAGE
        ):
            below = (node.module or "").split(".")[1:]
            names = [".".join([*below, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [
                alias.name.partition(".")[2]
                for alias in node.names
                if alias.name.split(".")[0] == PACKAGE
            ]
        else:
            continue
        for name in names:
            parts = name.split(".") if name else []
            for end in range(len(parts) + 1):
                module = ".".join(parts[:end])
                if _path(module, library).is_file():
                    yield module


def _path(module: str, library: Path) -> Path:
    folder = library.joinpath(*module.split(".")) if module else library
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
