"""What an editor shows of a task's arguments: asked of pyright's language server, as VS Code's engine would be."""

from collections.abc import Iterator

import pytest

from tests.typing.language_server import LanguageServer
from tests.typing.test_checkers import need_pyright

pytestmark = pytest.mark.timeout(300)  # it starts cold, and reads all that it meets

SOURCE = '''\
import cascade as cs


@cs.task
def parse(text: str, base: int = 10) -> int:
    """Read a number.

    Args:
        base: how many digits there are.
    """
    return int(text, base)


@cs.task(retry=2)
async def fetch(name: str, *, timeout: float = 1.0) -> bytes:
    """Get what has this name."""
    return name.encode()


class Shop:
    @cs.task
    def price(self, item: str, count: int = 1) -> float:
        """Say what it costs."""
        return float(count)


'''


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    need_pyright()
    with LanguageServer(tmp_path_factory.mktemp("editor")) as server:
        yield server


def test_hovering_over_a_call_shows_parameters_and_their_documentation(editor: LanguageServer) -> None:
    shown = editor.hover(f"{SOURCE}par‸se('1')\n")
    assert "(text: str, base: int = 10)" in shown
    assert "base: how many digits there are." in shown
    assert "Get what has this name." in editor.hover(f"{SOURCE}fet‸ch('a')\n")


def test_hovering_over_a_value_shows_what_it_will_be(editor: LanguageServer) -> None:
    assert "value: LazyResult[int]" in editor.hover(f"{SOURCE}val‸ue = parse(parse('1'))\n")


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("parse(‸)", "(text: str, base: int = 10) -> LazyResult[int]"),
        ("parse(fetch('a'), ‸)", "(text: str, base: int = 10) -> LazyResult[int]"),
        ("fetch(‸)", "(name: str, *, timeout: float = 1) -> LazyResult[bytes]"),
        ("Shop().price(‸)", "(item: str, count: int = 1) -> LazyResult[float]"),
        ("parse.func(‸)", "(text: str, base: int = 10) -> Any"),
    ],
)
def test_a_call_that_is_typed_shows_the_parameters_of_the_function(
    editor: LanguageServer, call: str, shown: str
) -> None:
    assert shown in editor.signatures(f"{SOURCE}{call}\n")


def test_names_of_arguments_complete_also_behind_lazy_values(editor: LanguageServer) -> None:
    assert {"text=", "base="} <= set(editor.completions(f"{SOURCE}parse(‸)\n"))
    assert {"name=", "timeout="} <= set(editor.completions(f"{SOURCE}fetch(fetch('a'), ‸)\n"))
    assert {"item=", "count="} <= set(editor.completions(f"{SOURCE}Shop().price(parse('1'), ‸)\n"))


def test_methods_of_lazy_values_complete(editor: LanguageServer) -> None:
    shown = editor.completions(f"{SOURCE}parse('1').‸\n")
    assert {"with_retry", "with_timeout", "run_if", "after", "named"} <= set(shown)
