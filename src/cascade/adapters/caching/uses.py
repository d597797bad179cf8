"""What a code object reads and writes that is not its own: globals, variables of functions around, attributes.

The instructions are followed in a line, with a stack that knows only where values came from. What cannot be
followed is unknown, never wrong: a read that is missed is of something that was computed.
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import Any, Literal, NamedTuple

__all__ = ["ASSIGNED", "ITEM", "Path", "Uses", "uses_of"]

Root = tuple[Literal["global", "free", "local", "import"], str]
Path = tuple[Root, tuple[str, ...]]

MUTATORS = frozenset(
    {
        *("add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft"),
        *("insert", "intersection_update", "move_to_end", "pop", "popitem", "popleft", "put", "put_nowait"),
        *("remove", "reverse", "rotate", "set", "setdefault", "sort", "subtract", "truncate", "write", "writelines"),
        *("symmetric_difference_update", "update"),
    }
)
"""Methods of containers that change them."""
NO_RESULT = ("STORE", "POP", "DELETE", "RETURN", "RERAISE", "RAISE", "NOP", "RESUME")
ITEM = "[]"
"""In a path: some item of what is before it."""
ASSIGNED = "="
"""In a path that is written: the name itself is bound anew, rather than what it names changed."""


class Uses(NamedTuple):
    """The paths that a code object reads and those that it writes: where they start, and the attributes from there."""

    reads: tuple[Path, ...]
    writes: frozenset[Path]


class _Value:
    """A value on the stack whose way there is known."""

    __slots__ = ("attributes", "passed_on", "root")

    def __init__(self, root: Root, attributes: tuple[str, ...] = ()) -> None:
        self.root = root
        self.attributes = attributes
        self.passed_on = False
        """An attribute of it was read, so that the longer path is the one that counts."""


@lru_cache(maxsize=4096)
def uses_of(code: CodeType) -> Uses:
    """Return what a code object uses, with the code inside it."""
    scan = _Scan()
    for instruction in dis.get_instructions(code):
        scan.step(instruction)
    found = {(value.root, value.attributes): None for value in scan.values if not value.passed_on}
    writes = set(scan.writes)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            inner = uses_of(const)
            found.update(dict.fromkeys(path for path in map(_outward(code), inner.reads) if path is not None))
            writes |= {path for path in map(_outward(code), inner.writes) if path is not None}
    return Uses(tuple(found), frozenset(writes))


def _outward(code: CodeType) -> Any:
    """Return a function that says what a path of code inside of `code` is for `code` itself, or None."""

    def path_of(path: Path) -> Path | None:
        (kind, name), attributes = path
        if kind != "free":
            return None if kind == "local" else path
        if name in code.co_freevars:
            return path
        return (("local", name), attributes) if name in code.co_varnames else None

    return path_of


class _Scan:
    def __init__(self) -> None:
        self.stack: list[_Value | None] = []
        self.values: list[_Value] = []
        self.writes: set[Path] = set()
        self.imports: dict[str, _Value] = {}
        """What local names were bound to by imports inside the function."""
        self.level = 0

    def pop(self) -> _Value | None:
        return self.stack.pop() if self.stack else None

    def push(self, root: Root, attributes: tuple[str, ...] = ()) -> None:
        value = _Value(root, attributes)
        self.values.append(value)
        self.stack.append(value)

    def write(self, value: _Value | None, *attributes: str) -> None:
        if value is not None:
            self.writes.add((value.root, (*value.attributes, *attributes)))

    def step(self, instruction: dis.Instruction) -> None:
        name, given = instruction.opname, instruction.argval
        known = getattr(self, f"on_{name.lower()}", None)
        if known is not None:
            known(instruction, given)
            return
        effect = dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        if effect > 0:
            self.stack += [None] * effect
            return
        for _ in range(-effect):
            self.pop()
        if self.stack and not name.startswith(NO_RESULT):
            self.stack[-1] = None

    # --- loads

    def on_load_global(self, instruction: dis.Instruction, name: str) -> None:
        effect = dis.stack_effect(instruction.opcode, instruction.arg)
        self.push(("global", name))
        if effect == 2:
            value = self.stack.pop()
            self.stack += [None, value]

    def on_load_name(self, instruction: dis.Instruction, name: str) -> None:
        self.push(("global", name))

    def on_load_deref(self, instruction: dis.Instruction, name: str) -> None:
        self.push(("free", name))

    on_load_classderef = on_load_deref

    def on_load_from_dict_or_deref(self, instruction: dis.Instruction, name: str) -> None:
        self.pop()
        self.push(("free", name))

    def on_load_from_dict_or_globals(self, instruction: dis.Instruction, name: str) -> None:
        self.pop()
        self.push(("global", name))

    def on_load_fast(self, instruction: dis.Instruction, names: Any) -> None:
        for name in names if isinstance(names, tuple) else (names,):
            known = self.imports.get(name)
            if known is None:
                self.push(("local", name))
            else:
                self.push(known.root, known.attributes)

    on_load_fast_check = on_load_fast_and_clear = on_load_fast_load_fast = on_load_fast

    def on_store_fast(self, instruction: dis.Instruction, names: Any) -> None:
        for name in names if isinstance(names, tuple) else (names,):
            value = self.pop()
            if value is not None and value.root[0] == "import":
                self.imports[name] = value
            else:
                self.imports.pop(name, None)

    on_store_fast_store_fast = on_store_fast

    def on_store_fast_load_fast(self, instruction: dis.Instruction, names: tuple[str, str]) -> None:
        self.on_store_fast(instruction, names[0])
        self.on_load_fast(instruction, names[1])

    def on_load_const(self, instruction: dis.Instruction, value: Any) -> None:
        if type(value) is int:
            self.level = value  # of an import, where one follows
        self.stack.append(None)

    def on_load_attr(self, instruction: dis.Instruction, name: str) -> None:
        owner = self.pop()
        effect = dis.stack_effect(instruction.opcode, instruction.arg)
        if owner is None:
            self.stack.append(None)
        else:
            owner.passed_on = True
            self.push(owner.root, (*owner.attributes, name))
            if name in MUTATORS:
                self.write(owner)
        if effect == 1:
            self.stack.insert(len(self.stack) - 1, None)

    on_load_method = on_load_attr

    def on_binary_subscr(self, instruction: dis.Instruction, given: Any) -> None:
        self.pop()
        owner = self.pop()
        if owner is None:
            self.stack.append(None)
        else:
            self.stack.append(_Value(owner.root, (*owner.attributes, ITEM)))

    # --- imports

    def on_import_name(self, instruction: dis.Instruction, name: str) -> None:
        self.pop()
        self.pop()
        self.push(("import", "." * self.level + name))

    def on_import_from(self, instruction: dis.Instruction, name: str) -> None:
        module = self.stack[-1] if self.stack else None
        if module is None:
            self.stack.append(None)
        else:
            module.passed_on = True
            self.push(module.root, (*module.attributes, name))

    # --- stores

    def on_store_global(self, instruction: dis.Instruction, name: str) -> None:
        self.pop()
        self.writes.add((("global", name), (ASSIGNED,)))

    def on_delete_global(self, instruction: dis.Instruction, name: str) -> None:
        self.writes.add((("global", name), (ASSIGNED,)))

    def on_store_deref(self, instruction: dis.Instruction, name: str) -> None:
        self.pop()
        self.writes.add((("free", name), (ASSIGNED,)))

    def on_store_attr(self, instruction: dis.Instruction, name: str) -> None:
        owner = self.pop()
        self.pop()
        if owner is not None:
            owner.passed_on = True
        self.write(owner, name)

    def on_delete_attr(self, instruction: dis.Instruction, name: str) -> None:
        self.write(self.pop(), name)

    def on_store_subscr(self, instruction: dis.Instruction, given: Any) -> None:
        self.pop()
        self.write(self.pop())
        self.pop()

    def on_delete_subscr(self, instruction: dis.Instruction, given: Any) -> None:
        self.pop()
        self.write(self.pop())

    def on_store_slice(self, instruction: dis.Instruction, given: Any) -> None:
        self.pop()
        self.pop()
        self.write(self.pop())
        self.pop()

    # --- moves

    def on_copy(self, instruction: dis.Instruction, given: Any) -> None:
        at = instruction.arg or 1
        self.stack.append(self.stack[-at] if len(self.stack) >= at else None)

    def on_swap(self, instruction: dis.Instruction, given: Any) -> None:
        at = instruction.arg or 1
        if len(self.stack) < at:
            self.stack[:0] = [None] * (at - len(self.stack))
        self.stack[-1], self.stack[-at] = self.stack[-at], self.stack[-1]
