"""No iteration over a set in `casty_proto`: its order follows hashes and addresses, so two runs of one seed would part.

The check reads one file at a time and knows a set by what stands there: a literal, a comprehension, `set()` and
`frozenset()`, an operation on sets or on `.keys()`, and every name, parameter, attribute or function that the file
annotates as a set or assigns one to; also the values of what is annotated as a mapping to sets or a sequence of sets,
and what a `match` takes out of an attribute.
It objects to whatever lets the order out: loops, comprehensions, `list`, `tuple`, `next(iter())`, unpacking, `pop()`,
text. `sorted`, `min` and `max` without a `key`, `len`, `sum`, `any`, `all` and membership are fine.

Limits. It does not follow a set through a call, into another file, or into a container that is not annotated. It knows
attributes and methods by name only: where one class of a file has a set `peers`, another's dict `peers` is taken for
one; rename it. A name that is a set anywhere in a function is one everywhere in it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from .tidy import File, Finding

SET, MAPPING, SEQUENCE = "set", "mapping to sets", "sequence of sets"
"""What may be known of a name."""

type Known = dict[str, str]
type Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
type Scope = ast.Module | ast.ClassDef | Function

ADVICE = "use a dict as an ordered set, or sort it"
TYPES = ("set", "frozenset")
QUALIFIED_TYPES = tuple(
    f"{module}.{name}"
    for module in ("typing", "collections.abc")
    for name in ("Set", "AbstractSet", "FrozenSet", "MutableSet")
)
TRANSPARENT = ("Final", "ClassVar", "Annotated", "Optional", "Required", "NotRequired")
OPERATIONS = ("union", "intersection", "difference", "symmetric_difference")
GETTERS = ("get", "pop", "setdefault", "popleft")
CONSUMERS = ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "deque", "str", "repr", "format", "reduce")
CONSUMING_METHODS = ("join", "extend", "extendleft", "fromkeys", "chain", "from_iterable", "dumps", "packb")
PROPERTIES = ("property", "cached_property")
SORTERS = ("sorted", "min", "max", "sort")


def check_set_order(file: File) -> Iterator[Finding]:
    if file.folder != "casty_proto":
        return
    finder = Finder(file)
    # Assignments may stand before what they are assigned from is known; the second reading sees what the first learned.
    for _ in range(3):
        finder.learn(file.tree, {})
    for node, what in finder.uses(file.tree, {}):
        yield node.lineno, f"{what} a set", ADVICE


class Finder:
    """What a file says about its sets."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.attributes: Known = {}
        self.functions: Known = {}
        self.types: Known = {}

    # -- learning ------------------------------------------------------------------------------------------------------

    def learn(self, scope: Scope, outer: Known) -> None:
        """Read the attributes, functions and types of a scope and of all below it."""
        known = self.names(scope, outer)
        for node in own_nodes(scope):
            match node:
                case ast.Assign() | ast.AnnAssign():
                    # A plain name in the body of a class is an attribute of its instances.
                    self.bind_statement(node, known, self.attributes if isinstance(scope, ast.ClassDef) else {})
                case (
                    ast.FunctionDef(returns=ast.expr() as returns) | ast.AsyncFunctionDef(returns=ast.expr() as returns)
                ):
                    self.bind_function(node, self.kind_of_type(returns))
                case ast.TypeAlias(name=ast.Name(id=name), value=value) if kind := self.kind_of_type(value):
                    self.types[name] = kind
        for inner in inner_scopes(scope):
            self.learn(inner, outer if isinstance(scope, ast.ClassDef) else known)

    def names(self, scope: Scope, outer: Known) -> Known:
        """What is known of the plain names that can be seen in a scope."""
        known = dict(outer)
        for node in own_nodes(scope):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                known.pop(node.id, None)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for argument in [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]:
                known.pop(argument.arg, None)
                if argument.annotation is not None and (kind := self.kind_of_type(argument.annotation)) is not None:
                    known[argument.arg] = kind
        for node in own_nodes(scope):
            self.bind_statement(node, known, known)
        return known

    def bind_statement(self, node: ast.AST, known: Known, names: Known) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self.bind(target, self.kind(value, known), names)
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                kind = self.kind_of_type(annotation) or (None if value is None else self.kind(value, known))
                self.bind(target, kind, names)
            case ast.NamedExpr(target=target, value=value):
                self.bind(target, self.kind(value, known), names)
            case ast.For(target=target, iter=source) | ast.AsyncFor(target=target, iter=source):
                self.bind_loop(target, source, known, names)
            case ast.comprehension(target=target, iter=source):
                self.bind_loop(target, source, known, names)
            case ast.MatchClass(kwd_attrs=attributes, kwd_patterns=patterns):
                for attribute, pattern in zip(attributes, patterns, strict=True):
                    if isinstance(pattern, ast.MatchAs) and pattern.name and attribute in self.attributes:
                        names[pattern.name] = self.attributes[attribute]

    def bind(self, target: ast.expr, kind: str | None, names: Known) -> None:
        match target:
            case ast.Name(id=name) if kind is not None:
                names[name] = kind
            case ast.Attribute(attr=name) if kind is not None:
                self.attributes[name] = kind

    def bind_loop(self, target: ast.expr, source: ast.expr, known: Known, names: Known) -> None:
        """`for s in sets`, `for s in d.values()` and `for k, s in d.items()` make `s` a set."""
        match source, target:
            case ast.Call(func=ast.Attribute(value=holder, attr="values")), element:
                found = self.kind(holder, known) == MAPPING
            case ast.Call(func=ast.Attribute(value=holder, attr="items")), ast.Tuple(elts=[_, element]):
                found = self.kind(holder, known) == MAPPING
            case _:
                element, found = target, self.kind(source, known) == SEQUENCE
        if found:
            self.bind(element, SET, names)

    def bind_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, kind: str | None) -> None:
        is_property = any(last_name(decorator) in PROPERTIES for decorator in node.decorator_list)
        if kind is not None:
            (self.attributes if is_property else self.functions)[node.name] = kind

    # -- knowing -------------------------------------------------------------------------------------------------------

    def kind_of_type(self, annotation: ast.expr) -> str | None:
        match annotation:
            case ast.Constant(value=str(text)):
                return self.kind_of_type(ast.parse(text, mode="eval").body)
            case ast.Name(id=name) if name in TYPES:
                return SET
            case ast.Name(id=name) if name in self.types:
                return self.types[name]
            case ast.Name() | ast.Attribute():
                return SET if self.file.qualified(annotation) in QUALIFIED_TYPES else None
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.kind_of_type(left) or self.kind_of_type(right)
            case ast.Subscript(value=base, slice=inside):
                if (kind := self.kind_of_type(base)) is not None:
                    return kind
                parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
                if last_name(base) in TRANSPARENT:
                    return self.kind_of_type(parts[0])
                if not any(self.kind_of_type(part) == SET for part in parts):
                    return None
                return MAPPING if last_name(base).lower().endswith(("dict", "mapping")) else SEQUENCE
        return None

    def kind(self, node: ast.expr, known: Known) -> str | None:
        match node:
            case ast.Set() | ast.SetComp():
                return SET
            case ast.Name(id=name):
                return known.get(name)
            case ast.Attribute(attr=name):
                return self.attributes.get(name)
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self.kind(value, known)
            case ast.IfExp(body=left, orelse=right) | ast.BoolOp(values=[left, right]):
                return self.kind(left, known) or self.kind(right, known)
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub(), right=right):
                sides = [self.kind(side, known) == SET or is_keys(side) for side in (left, right)]
                return SET if any(sides) else None
            case ast.Subscript(value=holder):
                return SET if self.kind(holder, known) in (MAPPING, SEQUENCE) else None
            case ast.Call():
                return self.kind_of_call(node, known)
        return None

    def kind_of_call(self, call: ast.Call, known: Known) -> str | None:
        match call:
            case ast.Call(func=ast.Name(id=name)) if name in TYPES:
                return SET
            case ast.Call(func=ast.Name(id="defaultdict"), args=[ast.Name(id=name), *_]) if name in TYPES:
                return MAPPING
            case ast.Call(func=ast.Attribute(attr=name)) if name in OPERATIONS:
                return SET
            case ast.Call(func=ast.Attribute(value=value, attr="copy")):
                return self.kind(value, known)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in GETTERS:
                return SET if self.kind(value, known) in (MAPPING, SEQUENCE) else None
        return self.functions.get(last_name(call.func))

    # -- objecting -----------------------------------------------------------------------------------------------------

    def uses(self, scope: Scope, outer: Known) -> Iterator[tuple[ast.expr, str]]:
        known = self.names(scope, outer)
        # A set unpacked into a set stays one: `{*a, *b}`.
        harmless = [element for node in own_nodes(scope) if isinstance(node, ast.Set) for element in node.elts]
        for node in own_nodes(scope):
            for part, what in exposed(node):
                if self.kind(part, known) == SET and not any(node is element for element in harmless):
                    yield part, what
        for inner in inner_scopes(scope):
            yield from self.uses(inner, outer if isinstance(scope, ast.ClassDef) else known)


def exposed(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """The expressions whose order, were they sets, would get out of this node, and how."""
    match node:
        case ast.For(iter=source) | ast.AsyncFor(iter=source) | ast.comprehension(iter=source):
            yield source, "iterates over"
        case ast.Starred(value=value) | ast.YieldFrom(value=value):
            yield value, "unpacks"
        case ast.Assign(targets=[ast.Tuple() | ast.List(), *_], value=value):
            yield value, "unpacks"
        case ast.FormattedValue(value=value):
            yield value, "prints"
        case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]):
            yield value, "takes any element of"
        case ast.Call(func=function, args=arguments, keywords=keywords):
            name = last_name(function)
            plain = isinstance(function, ast.Name)
            if name in CONSUMING_METHODS or (plain and name in CONSUMERS):
                yield from ((argument, f"{name}() takes the order of") for argument in arguments)
            elif name in SORTERS and any(keyword.arg == "key" for keyword in keywords):
                yield from ((argument, f"{name}() with a key leaves ties in the order of") for argument in arguments)


def is_keys(node: ast.expr) -> bool:
    """An operation on the keys or items of a mapping makes a set."""
    match node:
        case ast.Call(func=ast.Attribute(attr="keys" | "items"), args=[]):
            return True
    return False


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


@lru_cache(maxsize=1000)
def own_nodes(scope: Scope) -> list[ast.AST]:
    """Every node of a scope, down to and including the functions and classes inside it, but not what is in them."""
    waiting: list[ast.AST] = [*scope.body] if isinstance(scope.body, list) else [scope.body]
    found = []
    while waiting:
        node = waiting.pop()
        found.append(node)
        match node:
            case ast.FunctionDef(args=arguments) | ast.AsyncFunctionDef(args=arguments):
                waiting += [*node.decorator_list, *arguments.defaults, *filter(None, arguments.kw_defaults)]
            case ast.Lambda(args=arguments):
                waiting += [*arguments.defaults, *filter(None, arguments.kw_defaults)]
            case ast.ClassDef():
                waiting += [*node.decorator_list, *node.bases, *node.keywords]
            case _:
                waiting += ast.iter_child_nodes(node)
    return found


def inner_scopes(scope: Scope) -> Iterator[Scope]:
    for node in own_nodes(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield node
