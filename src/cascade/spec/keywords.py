"""Options that there are not: what other libraries call them, and what to write here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

__all__ = ["explains_options", "hint_for_name", "hint_for_option", "no_option"]

F = TypeVar("F", bound=Callable[..., Any])

WORKERS = "max_workers num_workers n_workers workers n_jobs num_threads max_threads threads pool_size"
AT_ONCE = "concurrency max_concurrency concurrency_limit parallelism max_parallelism max_concurrent limit"
RETRIES = "retries max_retries num_retries n_retries retry_count retry_limit"
SECONDS = "timeout_seconds timeout_s time_limit soft_time_limit execution_timeout max_time timeout_sec max_runtime"
PAUSES = "retry_delay_seconds retry_delay retry_wait wait_seconds delay countdown retry_backoff default_retry_delay"
FAILED = "on_error on_fail on_exception on_failure_callback failure_callback error_handler on_crashed errback"
SUCCEEDED = "on_completion on_complete on_success_callback success_callback on_done on_result callback"
CALLS = (
    f"{FAILED}: on_failure={{value}}",
    f"{SUCCEEDED}: on_success={{value}}",
    f"{RETRIES}: retry={{more}} (it counts all attempts, the first included)",
    "attempts max_attempts tries stop max_tries: retry={value} (it counts all attempts, the first included)",
    f'{PAUSES}: retry={{"max_attempts": 3, "delay": {{value}}}}',
    f"{SECONDS}: timeout={{value}}",
    "cache_key_fn cache_key key_fn: cache=cs.cached(key=...), a function of the arguments",
    "cache_policy memoize memory persist_result cached use_cache persist: cache=cs.cached(), or cs.cached('folder')",
    "cache_expiration cache_ttl ttl expires expire: cache=cs.cached(ttl=...), in seconds",
    'executor runner pool thread threaded process run_in kind in_thread: mode="blocking", "compute" or "process"',
    'requires num_cpus num_gpus cpu gpu memory: constraints={"gpu": 1}, a part of system_resources',
    "task_run_name label id task_id: name={value}",
    "depends_on wait_for upstream: .after(...) of the call: f(x).after(other)",
    "description doc: the docstring of the function",
    'concurrency max_concurrency rate rate_limit: engine.set_limit("task:...", concurrency=4, rate="5/s")',
)
DOORS: dict[str, tuple[str, ...]] = {
    "cs.task": CALLS,
    "task.with_options": CALLS,
    "Engine": (
        f"{WORKERS}: executor=LocalExecutor(blocking_threads={{value}}) "
        '(cascade.adapters.executors.local); engine.set_limit("global", concurrency={value}) limits all tasks',
        f'{AT_ONCE}: engine.set_limit("global", concurrency={{value}})',
        "processes max_processes num_processes: executor=LocalExecutor(processes={value})",
        'rate rate_limit: engine.set_limit("global", rate={value})',
        "resources capacities limits: system_resources={value}; engine.register(resource) provides what tasks inject",
        "cache cache_dir store: cache_backend={value}",
        f"{RETRIES} retry: an option of tasks: @cs.task(retry={{more}})",
        f"timeout {SECONDS}: an option of runs: engine.run(target, timeout={{value}})",
        "log_level verbose debug: an option of cs.run: cs.run(target, log_level=...)",
    ),
    "cs.visualize": (
        'filename path file file_path output out save_to save: Path({value}).write_text(cs.visualize(target, "svg"))',
        'fmt type kind output_format: format={value}: "dot", "mermaid", "svg" or "html"',
        "view show open cleanup: a notebook shows the picture; `cascade show flow.py` draws it in the terminal",
        "run trace history results: events=..., of a SpySubscriber on the bus of the run",
    ),
    "cs.run": (
        "parameters inputs input args kwargs arguments config variables context initial_state state: params={value}",
        'verbose debug log loglevel logging: log_level="DEBUG"',
        'quiet silent progress: log_level="SILENT"',
        f"{SECONDS}: timeout={{value}}",
        f"{WORKERS} {AT_ONCE} executor cache_backend bus: an Engine: async with cs.Engine(...) as engine: "
        "await engine.run(target)",
        f"{RETRIES} retry: an option of tasks: @cs.task(retry={{more}}), or target.with_retry({{more}})",
        "capacities: system_resources={value}",
        f"{FAILED}: on_failure={{value}}",
        f"{SUCCEEDED}: on_success={{value}}",
    ),
    "with_hooks": (f"{FAILED}: on_failure={{value}}", f"{SUCCEEDED}: on_success={{value}}"),
    "map": (
        f"{WORKERS} {AT_ONCE} processes: concurrency={{value}}",
        'return_exceptions raise_on_error raise_exceptions ignore_errors skip_errors: on_error="collect", or "skip"',
        "chunksize chunk_size batch_size buffer buffer_size prefetch: window={value}",
        "max_failures tolerance: max_errors={value}",
    ),
    "with_retry": (
        f"{RETRIES}: max_attempts={{more}} (it counts the first)",
        "attempts tries stop max_tries retry: max_attempts={value}",
        f"{PAUSES} wait interval seconds pause: delay={{value}}",
        "exponential_base factor multiplier exponential backoff_factor: backoff={value}",
        "exceptions exception errors retry_on retry_if on_error when: on={value}",
        "max_wait max_interval backoff_max: max_delay={value}",
        "unless ignore no_retry_on: give_up={value}",
    ),
    "with_budget": (
        "max_steps max_iterations max_calls max_attempts limit turns max_turns: steps={value}",
        f"timeout sec {SECONDS}: seconds={{value}}",
        "max_cost money tokens max_tokens usd price amount: cost={value}",
    ),
    "with_timeout": (f"timeout sec {SECONDS}: seconds={{value}}",),
    "cs.cached": (
        "expires expire expiration timeout max_age cache_ttl expiry seconds: ttl={value}",
        "path folder directory cache_dir location backend dir: store={value}",
        "key_fn key_func cache_key key_builder: key={value}",
    ),
    "cs.Param": (
        "help desc doc title: description={value}",
        "default_value value initial fallback: default={value}",
        "dtype kind annotation cls cast convert converter parser: type={value}",
        "required optional: default=... for an optional one; without a default it is required",
        "sensitive masked hidden password is_secret: secret={value}",
    ),
    "cs.Env": (
        "help desc doc: description={value}",
        "default_value value fallback: default={value}",
        "type cast dtype kind convert converter parser: a task that converts it, or cs.Param(..., type={value})",
        "required optional: default=... for an optional one; without a default it is required",
        "sensitive masked hidden password is_secret: secret={value}",
    ),
    "cs.Router": (
        "fallback otherwise else_ default_route: default={value}",
        "branches cases mapping choices: routes={value}",
        "key on condition switch: selector={value}",
    ),
    "cs.bind": (
        "max_loops max_iter max_steps max_entries max_turns iterations limit recursion_limit: max_iterations={value}",
        "routes jumps: selector=cs.select_jump({value})",
    ),
    "engine.set_limit": (
        "max_concurrency max_concurrent parallelism max_parallelism limit slots workers: concurrency={value}",
        "rate_limit per_second rps requests_per_second max_rate: rate={value}",
        "seconds duration expires timeout period: ttl={value}",
        "bucket bucket_size capacity: burst={value}",
        'task name pattern key tag: scope="task:..."',
    ),
}
"""For each door: words of others, and what to write for them; `{value}` is what was given, `{more}` one more."""
FORMS = {
    "cs.sequence": "cs.sequence([first(), second()]), with the steps in one list",
    "cs.pipeline": "cs.pipeline(value, [first, second]): what the first step is given, and the tasks in one list",
    "cs.select_jump": 'cs.select_jump({"again": step, "exit": None}), with the routes in a dict',
    "cs.bind": 'cs.bind(step, cs.select_jump({"again": step, "exit": None})), with step = task(...)',
    "cs.Router": 'cs.Router(selector, {"a": first(), "b": second()})',
    "with_constraints": ".with_constraints(gpu=1), with each amount by the name of its capacity",
}
"""For doors that are easily called in another form: the right one."""
NAMES = (
    "parallel gather concurrently concurrent group: what does not wait for each other runs at once, "
    "cs.run([first(), second()])",
    "flow Flow workflow Workflow dag DAG graph Graph: a function that returns a lazy result is a flow, cs.run(flow())",
    "map Map starmap foreach: a call for each item is task.map(x=[1, 2])",
    "retry Retry retries: @cs.task(retry=3), or task(...).with_retry(3)",
    "timeout Timeout: @cs.task(timeout=5), or task(...).with_timeout(5)",
    "cache memoize Cache: @cs.task(cache=cs.cached())",
    "condition branch switch cond when If if_: task(...).run_if(condition), or cs.Router(selector, routes)",
    "loop Loop repeat while_ goto: cs.bind(step, cs.select_jump(routes)), with steps that return a cs.Jump",
    "step op node job activity: @cs.task",
    "start submit schedule execute: cs.run(target), or engine.start(target)",
)
"""What other libraries have at their front door, and what there is here."""


def hint_for_option(door: str, name: str, value: Any, known: Iterable[str]) -> str:
    """Return what to write instead of an option that there is not, or nothing."""
    from difflib import get_close_matches

    shown = repr(value) if len(repr(value)) <= 40 else "..."
    for line in DOORS.get(door, ()):
        words, _, instead = line.partition(": ")
        if name in words.split():
            is_number = isinstance(value, int) and not isinstance(value, bool)
            more = str(value + 1) if is_number else "3"
            return f"; write {instead.replace('{value}', shown).replace('{more}', more)}"
    near = get_close_matches(name, [*known], 1)
    if near:
        return f"; did you mean {near[0]}={shown}?"
    if door == "cs.run":
        return f"; a parameter of the graph is given in params: params={{{name!r}: {shown}}}"
    return ""


def hint_for_name(name: str, known: Iterable[str]) -> str:
    """Return what to write instead of a name that `cascade` has not, or nothing."""
    from difflib import get_close_matches

    for line in NAMES:
        words, _, instead = line.partition(": ")
        if name in words.split():
            return f"; {instead}"
    near = get_close_matches(name, [*known], 1)
    return f"; did you mean cs.{near[0]}?" if near else ""


def no_option(what: str, given: dict[str, Any], known: Iterable[str], door: str = "") -> Exception:
    """Return the error for options that `what` does not have."""
    names = [*known]
    said = [
        f"{what} has no option {name!r}{hint_for_option(door or what, name, value, names)}"
        for name, value in given.items()
    ]
    return TypeError(f"{'; '.join(said)} (it has: {', '.join(names)})")


def explains_options(door: str) -> Callable[[F], F]:
    """Have a function say what to write for an option that it does not have. Its signature stays what it is."""

    def decorate(func: F) -> F:
        @wraps(func)
        def explained(*args: Any, **kwargs: Any) -> Any:
            try:
                return func(*args, **kwargs)
            except TypeError as error:
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise  # it was called rightly
                code = func.__code__
                known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                unknown = {name: value for name, value in kwargs.items() if name not in known}
                if door in FORMS and (not unknown or door not in DOORS):
                    raise TypeError(f"{door} is not called like this: {error}; write {FORMS[door]}") from None
                if not unknown:
                    raise
                raise no_option(door, unknown, [name for name in known if name != "self"]) from None

        return explained  # type: ignore[return-value]

    return decorate
