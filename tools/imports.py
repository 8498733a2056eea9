"""Which files of a package some code depends on, found by reading the code: nothing is run.

Importing ``ndelib.x.y`` also runs the *doors* ``ndelib/__init__.py`` and ``ndelib/x/__init__.py``, and whatever these
import. A door that only hands names on is followed name by name: code that uses ``ndelib.odeint`` depends on the file
that has ``odeint``, not on every other file whose names stand in the same door. This is safe as long as importing such
a file only defines its own names. Where an import does more (it calls something, or writes into another module), the
file always counts.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tools.common import Problem, relative


class Import(NamedTuple):
    """One name that an import statement binds: ``name`` stands for ``what``, and the import runs ``path``."""

    name: str
    what: str
    path: str


def modules(package: Path) -> dict[str, Path]:
    """Return every module of the package in a folder by its dotted name; that of a package is its folder's."""
    return {_dotted(path, package): path for path in sorted(package.rglob("*.py"))}


def _dotted(path: Path, package: Path) -> str:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> list[Import]:
    """Return what the code imports, also inside functions; raise ``ValueError`` for a relative import."""
    return _imports_among(ast.walk(tree))


def _imports_among(nodes: Iterable[ast.AST]) -> list[Import]:
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"line {node.lineno}: relative imports hide where a thing is from")
            for alias in node.names:
                what = node.module if alias.name == "*" else f"{node.module}.{alias.name}"
                found.append(Import(alias.asname or alias.name, what, what))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.name if alias.asname else alias.name.partition(".")[0]
                found.append(Import(alias.asname or bound, bound, alias.name))
    return found


def imported(tree: ast.AST, known: Iterable[str]) -> set[str]:
    """Return which of the ``known`` modules the code imports; a name is imported from the module that has it."""
    known = set(known)
    return {next((name for name in reversed(_prefixes(one.path)) if name in known), "") for one in imports(tree)} - {""}


def files_behind(code: Sequence[str], package: Path) -> list[Path]:
    """Return the files of ``package`` that what ``code`` computes depends on, in order.

    Data files count together with the modules of the folder in which they lie.

    Args:
        code: pieces of Python that share their names, such as the cells of a notebook. A piece that is no Python may
            depend on anything, so everything counts.
        package: the folder of the package, such as ``ndelib``.

    Raises:
        Problem: a module uses a relative import.
    """
    search = _Search(package)
    try:
        trees = [without_type_checking(ast.parse(piece)) for piece in code]
    except SyntaxError:
        search.everything(package.name)
    else:
        every = [one for tree in trees for one in imports(tree)]
        search.read(every, names_used(trees, package.name, also_idle=True))
    found = {search.modules[name] for name in search.counted}
    folders = {path.parent for path in found}
    data = [path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    return sorted(found | {path for path in data if _nearest_package(path) in folders})


def _nearest_package(path: Path) -> Path:
    return next(folder for folder in path.parents if (folder / "__init__.py").exists() or folder == folder.parent)


class _Search:
    """The modules that count so far, and those that were only imported."""

    def __init__(self, package: Path) -> None:
        self.root = package.name
        self.modules = modules(package)
        self.counted: set[str] = set()
        self._ran: set[str] = set()
        self._used: set[str] = set()

    def read(self, imports: Iterable[Import], used: Iterable[str]) -> None:
        """Let everything count that a piece of code needs which imports and uses this."""
        for one in imports:
            self._run(one.path)
        for path in used:
            self._use(path)

    def everything(self, package: str) -> None:
        """Let all of a package count."""
        for name in self.modules:
            if f"{name}.".startswith(f"{package}."):
                self._count(name)

    def _count(self, name: str) -> None:
        if name not in self.counted:
            self.counted.add(name)
            if not self._is_door(name):
                module = self._module(name)
                self.read(module.imports, module.used)

    def _run(self, path: str) -> None:
        """Take note that the modules on the way to ``path`` are imported."""
        for name in _prefixes(path):
            if name in self.modules and name not in self._ran:
                self._ran.add(name)
                module = self._module(name)
                for path in module.runs:
                    self._run(path)
                if self._is_door(name):
                    self._count(name)
                    for used in module.used_by_door:
                        self._use(used)
                elif module.acts:
                    self._count(name)

    def _use(self, path: str) -> None:
        """Let count what has the dotted name ``path``, which may lead through doors."""
        first, *rest = path.split(".")
        if first != self.root or path in self._used:
            return
        self._used.add(path)
        module = first
        self._run(module)
        while rest and self._is_door(module):
            part, *rest = rest
            door, module = module, f"{module}.{part}"
            for one in self._module(door).imports:
                if one.name == part and not one.what.startswith(f"{module}."):  # else it is there that we go next
                    self._use(".".join([one.what, *rest]))
                elif one.name == "*":
                    self.everything(one.what)
            if module not in self.modules:
                return  # a name that the door has, or has from where it was just looked for
            self._run(module)
        if self._is_door(module):
            self.everything(module)  # the package is handed on as a whole
        else:
            self._count(module)

    def _is_door(self, name: str) -> bool:
        return self.modules[name].name == "__init__.py"

    def _module(self, name: str) -> "_Module":
        path = self.modules[name]
        try:
            return _read_module(path.read_text(encoding="utf-8"), self.root)
        except ValueError as error:
            raise Problem(f"{relative(path)}, {error}") from None


class _Module(NamedTuple):
    """What there is to know of a module.

    ``runs``: what its own import imports; ``used_by_door``: what it uses beside handing names on.
    """

    imports: list[Import]
    runs: list[str]
    used: set[str]
    used_by_door: set[str]
    acts: bool


@cache
def _read_module(source: str, root: str) -> _Module:
    try:
        tree = without_type_checking(ast.parse(source))
    except SyntaxError:  # importing it fails
        return _Module([], [], set(), set(), acts=True)
    door = _without_getattr(tree)
    return _Module(
        imports=imports(tree),
        runs=[one.path for one in _imports_among(_run_on_import(tree))],
        used=names_used([tree], root, also_idle=True),
        used_by_door=names_used([door], root, also_idle=False),
        acts=acts_on_import(tree, root),
    )


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[: size + 1]) for size in range(len(parts))]


def without_type_checking(tree: ast.Module) -> ast.Module:
    """Return the code without what stands under ``if TYPE_CHECKING``, which is never run."""

    class Leave(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            self.generic_visit(node)
            return (node.orelse or []) if ast.unparse(node.test).endswith("TYPE_CHECKING") else node

    found: ast.Module = Leave().visit(tree)
    return found


def _without_getattr(door: ast.Module) -> ast.Module:
    """Return a door without its ``__getattr__``, whose imports are seen where its names are used."""
    kept = [node for node in door.body if not (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")]
    return ast.Module(kept, [])


def names_used(trees: Sequence[ast.Module], root: str, *, also_idle: bool) -> set[str]:
    """Return the dotted names of things of the package ``root`` that the code uses, ``ndelib.plotting.slider``.

    A name ends where the package does not know it any more, or with the module or package itself where that is passed
    on. What a text names counts as used, because the text may be run. ``also_idle``: so does what is imported and
    never read.
    """
    stands_for: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        for one in imports(tree):
            if one.what.partition(".")[0] == root:
                stands_for[one.name].add(one.what)
    used, read = stands_for.pop("*", set()), set()
    for tree in trees:
        for name, attributes in _chains(tree):
            read.add(name)
            used |= {".".join([what, *attributes]) for what in stands_for.get(name, ())}
        for text in _texts(tree):
            used |= set(re.findall(rf"\b{root}(?:\.\w+)+", text))
            used |= set(re.findall(rf"\b({root}(?:\.\w+)*)\.$", text))  # an f-string, whose end is not known
            used |= {root} if re.search(rf"\b(import|from)\s+{root}\b", text) else set()
    if also_idle:
        used |= {what for name, many in stands_for.items() if name not in read for what in many}
    return used


def _chains(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Yield each name that is read, with the attributes after it: ``a.b.c`` is ``("a", ["b", "c"])``."""
    attributes: list[str] = []
    node = tree
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id, attributes
    else:
        for child in ast.iter_child_nodes(node):
            yield from _chains(child)


def _texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts in the code that are no docstrings."""
    idle = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in idle:
            yield node.value


def acts_on_import(tree: ast.Module, root: str) -> bool:
    """Tell whether importing a module may do more than define its names.

    It may where a statement only calls something, where it writes into what it did not make, and where it calls a
    function of the package (``register(…)``); making an object of a class is taken for harmless.
    """
    own = {name for node in tree.body for name in _bound(node)}
    foreign = {one.name for one in imports(tree) if one.what.partition(".")[0] == root}
    for node in _run_on_import(tree):
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            return True
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            name, _ = next(_chains(node.value), ("", []))
            if name not in own:
                return True
        called = [node.func] if isinstance(node, ast.Call) else getattr(node, "decorator_list", [])
        for name, attributes in (next(_chains(one), ("", [])) for one in called):
            if name in foreign and [name, *attributes][-1][:1].islower():
                return True
    return False


def _bound(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a module that an import runs: all but the bodies of functions."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        children: list[ast.AST] = [*node.decorator_list, node.args]
    elif isinstance(node, ast.Lambda):
        children = [node.args]
    else:
        children = [*ast.iter_child_nodes(node)]
    for child in children:
        yield from _run_on_import(child)
