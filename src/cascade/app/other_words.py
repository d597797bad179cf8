"""What others than the command say and users read there, in English as it is made, and in Chinese.

Typer says what is wrong with options, the linter what it has found, plans what will run, the engine what cannot. Each
makes its English itself; `translated` finds a text by its template here, and what fills its gaps. The first letter of
an id says whose it is.
"""

from __future__ import annotations

__all__ = ["OTHER_WORDS"]

TYPER: dict[str, tuple[str, str]] = {
    "t_options": ("Options", "选项"),
    "t_arguments": ("Arguments", "参数"),
    "t_commands": ("Commands", "命令"),
    "t_help": ("Show this message and exit.", "显示此帮助并退出。"),
    "t_install": ("Install completion for the current shell.", "为当前 shell 安装补全。"),
    "t_show": (
        "Show completion for the current shell, to copy it or customize the installation.",
        "显示当前 shell 的补全脚本，可复制或自定义安装。",
    ),
    "t_default": ("default: {value}", "默认：{value}"),
    "t_required": ("required", "必填"),
    "t_variable": ("env var: {name}", "环境变量：{name}"),
    "t_no_option": ("No such option: {name}", "没有选项 {name}"),
    "t_no_option_close": ("No such option: {name} Did you mean {names}?", "没有选项 {name}，是不是 {names}？"),
    "t_no_option_one": (
        "No such option: {name} (Did you mean one of: {names}?)",
        "没有选项 {name}，是不是 {names}？",
    ),
    "t_no_option_of": ("No such option: {name} (Possible options: {names})", "没有选项 {name}（可用：{names}）"),
    "t_no_command": ("No such command {name}.", "没有命令 {name}。"),
    "t_no_command_close": ("No such command {name}. Did you mean {names}?", "没有命令 {name}，是不是 {names}？"),
    "t_no_command_given": ("Missing command.", "缺少命令。"),
    "t_missing_argument": ("Missing argument {name}.", "缺少参数 {name}。"),
    "t_missing_option": ("Missing option {name}.", "缺少选项 {name}。"),
    "t_extra": ("Got unexpected extra argument ({names})", "多余的参数（{names}）"),
    "t_extra_many": ("Got unexpected extra arguments ({names})", "多余的参数（{names}）"),
    "t_extra_s": ("Got unexpected extra argument(s) ({names})", "多余的参数（{names}）"),
    "t_needs_value": ("Option {name} requires an argument.", "选项 {name} 需要一个值。"),
    "t_takes_none": ("Option {name} does not take a value.", "选项 {name} 不带值。"),
    "t_invalid_for": ("Invalid value for {name}: {why}", "{name} 的值无效：{why}"),
    "t_invalid": ("Invalid value: {why}", "值无效：{why}"),
    "t_no_integer": ("{value} is not a valid integer.", "{value} 不是整数。"),
    "t_no_float": ("{value} is not a valid float.", "{value} 不是数。"),
    "t_no_type": ("Value {value} is not a valid {kind}.", "{value} 不是 {kind}。"),
    "t_no_integer_text": ("Input should be a valid integer, unable to parse string as an integer", "应为整数"),
    "t_no_number_text": ("Input should be a valid number, unable to parse string as a number", "应为数"),
    "t_at_most": ("Input should be less than or equal to {most}", "应不大于 {most}"),
    "t_at_least": ("Input should be greater than or equal to {least}", "应不小于 {least}"),
    "t_range": ("{value} is not in the range {bounds}.", "{value} 不在范围 {bounds} 内。"),
}
FINDINGS: dict[str, tuple[str, str]] = {
    "f_blocking": (
        "async task {task} calls {name}, which holds the event loop and everything else that runs on it; use "
        "{instead}, or make it a plain def",
        "异步任务 {task} 调用了 {name}，会占住事件循环和其上运行的一切；请用 {instead}，或改为普通 def",
    ),
    "f_waiting": (
        "task {task} {what}; an auto task may run on the event loop's thread, where that would hold everything, even "
        'what it waits for: say @cs.task(mode="blocking")',
        "任务 {task} {what}；auto 任务可能在事件循环的线程上运行，这会占住一切，包括它所等待的：请写 "
        '@cs.task(mode="blocking")',
    ),
    "f_starts_loop": ("starts an event loop", "启动了事件循环"),
    "f_waits_in": ("waits in {call}(...)", "在 {call}(...) 中等待"),
    "f_impure": (
        "task {task} is pure, and {what}; equal calls of a pure task are one call, so the effect may happen once or "
        "not at all: leave out pure=True, or return what changes",
        "任务 {task} 声明为纯任务，却{what}；纯任务的相同调用只算一次，其作用可能只发生一次或根本不发生：请去掉 "
        "pure=True，或返回所改变的内容",
    ),
    "f_calls": ("calls {name}", "调用了 {name}"),
    "f_opens": ("opens a file to write ({call})", "打开文件写入（{call}）"),
    "f_changes_file": ("changes a file ({call})", "改变了文件（{call}）"),
    "f_sets": ("sets {name}, which is not its own", "设置了不属于自己的 {name}"),
    "f_changes": ("changes its argument {name} ({what})", "改变了参数 {name}（{what}）"),
    "f_type": ("{who}, but {task} takes {wanted} as {name}", "{who}，但 {task} 的 {name} 需要 {wanted}"),
    "f_parameter_is": ("the parameter {name} is {kind}", "参数 {name} 是 {kind}"),
    "f_gives": ("{name} gives {kind}", "{name} 给出 {kind}"),
    "f_text": (
        "{task} is given a text with {text} in it: what it is was taken for its value; {it}make the text while "
        "running: cs.format('...{{}}...', value)",
        "{task} 收到的文本中含有 {text}：那是惰性值本身的文字，不是它的值；{it}请在运行时生成文本："
        "cs.format('...{{}}...', value)",
    ),
    "f_call_it": ("call the task, and ", "请调用任务，并且"),
    "f_gated": (
        "{name} runs even if {task}, which alone reads it, is skipped: run_if gates one node; a router keeps both "
        "from running: cs.Router(condition, {{True: {call}(...), False: None}})",
        "即使唯一读取它的 {task} 被跳过，{name} 也会运行：run_if 只管一个节点；路由可以让两者都不运行："
        "cs.Router(condition, {{True: {call}(...), False: None}})",
    ),
    "f_capacity": (
        "{task} holds {name}, of which the engine has no capacity, so nothing is held back ({has}: system_resources)",
        "{task} 占用 {name}，而引擎没有这种容量，因此不会有任何限制（{has}：system_resources）",
    ),
    "f_capacity_close": (
        "{task} holds {name}, of which the engine has no capacity, so nothing is held back; did you mean {near}? "
        "({has}: system_resources)",
        "{task} 占用 {name}，而引擎没有这种容量，因此不会有任何限制；是不是 {near}？（{has}：system_resources）",
    ),
    "f_has": ("it has: {names}", "它有：{names}"),
    "f_has_none": ("it has none", "它没有容量"),
    "f_unused": (
        "nobody uses the parameter {name}: {tasks} takes it and never looks at it",
        "没有人使用参数 {name}：{tasks} 接收它，却从不查看",
    ),
    "f_never_read": (
        "nobody uses the parameter {name}: {variable} is never read; pass it to a task, or leave it out",
        "没有人使用参数 {name}：{variable} 从未被读取；请传给任务，或去掉",
    ),
    "f_route": (
        "{task} returns cs.Jump({key}), and its selector has no such route; it has: {names}",
        "{task} 返回 cs.Jump({key})，但它的选择器没有这条路由；它有：{names}",
    ),
    "f_unreachable": (
        "the state {name} is never entered: no state that is entered returns cs.Jump({keys})",
        "状态 {name} 永远不会进入：没有任何可进入的状态返回 cs.Jump({keys})",
    ),
    "f_endless": (
        "the loop of {names} has no way out: every return is a Jump to another entry; return a value, jump to a "
        'route that is None ({{"stop": None}}), or say cs.bind(..., max_iterations=n)',
        '{names} 的循环没有出口：每个 return 都跳到另一次进入；请返回一个值，跳到值为 None 的路由（{{"stop": None}}）'
        "，或写 cs.bind(..., max_iterations=n)",
    ),
    "f_unbound": (
        "the route {key} of {name} leads to {there}, which {name} depends on and which is not bound: it ends the "
        "loop with the value of {there} and does not run it again; bind it (cs.bind) if it is meant as a state, or "
        "jump to {name} to run both again",
        "{name} 的路由 {key} 通向 {there}，而 {name} 依赖它，它又没有绑定：循环会以 {there} 的值结束，不会再次运行它"
        "；若它应是状态，请绑定（cs.bind），或跳到 {name} 以再次运行两者",
    ),
    "f_exit": (
        "the exit {there} (route {key} of {name}) depends on the loop that it is the way out of, so leaving runs the "
        "whole loop once more; send what it needs in Jump's data",
        "出口 {there}（{name} 的路由 {key}）依赖它所离开的循环，因此离开时会把整个循环再运行一遍；请把它需要的内容放"
        "进 Jump 的 data",
    ),
    "f_resource": (
        "task {task} needs the resource {name}, and nobody provides it: declare it with @cs.resource and give it to "
        "the run (resources=[...]) or to engine.register",
        "任务 {task} 需要资源 {name}，但无人提供：请用 @cs.resource 声明，并交给运行（resources=[...]）或 "
        "engine.register",
    ),
}
PLANS: dict[str, tuple[str, str]] = {
    "p_plan": ("plan of {names}", "{names} 的计划"),
    "p_with": ("with {given}", "输入 {given}"),
    "p_given": (", given {value}", "，给定 {value}"),
    "p_required": (" (required)", "（必填）"),
    "p_always": ("runs:", "运行："),
    "p_chosen": ("runs if a router or an otherwise asks for it:", "路由或 otherwise 需要时运行："),
    "p_jumped": ("runs if jumped to:", "跳转到时运行："),
    "p_if_chosen": ("if chosen", "被选中时"),
    "p_if_jumped": ("if jumped to", "跳转到时"),
    "p_if": (" if {condition}", " 条件 {condition}"),
    "p_else": (" else {otherwise}", " 否则 {otherwise}"),
    "p_after": (" after {names}", " 在 {names} 之后"),
    "p_each": ("for each {names}", "对每个 {names}"),
    "p_at_once": ("{count} at once", "同时 {count} 个"),
    "p_attempts": ("up to {count} attempts", "最多 {count} 次尝试"),
    "p_timeout": ("timeout {seconds} s", "限时 {seconds} 秒"),
    "p_heartbeat": ("heartbeat {seconds} s", "心跳 {seconds} 秒"),
    "p_budget": ("budget of {budget}", "预算 {budget}"),
    "p_calls": ("calls {names}", "调用 {names}"),
    "p_holds": ("holds {amounts}", "占用 {amounts}"),
    "p_entries": ("at most {count} entries", "最多 {count} 次进入"),
    "p_resource": ("resource {name}", "资源 {name}"),
}
ERRORS: dict[str, tuple[str, str]] = {
    "e_unknown": ("there is no parameter {name} (the graph has: {names})", "没有参数 {name}（图中有：{names}）"),
    "e_unknown_close": (
        "there is no parameter {name}; did you mean {near}? (the graph has: {names})",
        "没有参数 {name}，是不是 {near}？（图中有：{names}）",
    ),
    "e_no_parameters": ("no parameters", "没有参数"),
    "e_required": (
        "parameter {name} (declared at {place}) is required and was not given (given: {given}); pass "
        "params={{{same}: ...}} or declare a default",
        "参数 {name}（声明于 {place}）是必填的，却没有给出（已给出：{given}）；请传入 params={{{same}: ...}}，或声明"
        "默认值",
    ),
    "e_none": ("none", "无"),
    "e_variable": (
        "the environment has no variable {name} (declared at {place}); set it, or declare a default",
        "环境中没有变量 {name}（声明于 {place}）；请设置它，或声明默认值",
    ),
    "e_twice": (
        "parameter {name} is declared twice, differently: at {place} as {one} and at {other_place} as {other}; "
        "declare it once and use it in both places",
        "参数 {name} 声明了两次，而且不同：{place} 处为 {one}，{other_place} 处为 {other}；请只声明一次，在两处使用",
    ),
    "e_cannot_take": (
        "parameter {name} (declared at {place}) cannot take {value} as {kind}",
        "参数 {name}（声明于 {place}）不能把 {value} 当作 {kind}",
    ),
    "e_cannot_take_as": (
        "parameter {name} (declared at {place}) cannot take {value} as {kind} ({why})",
        "参数 {name}（声明于 {place}）不能把 {value} 当作 {kind}（{why}）",
    ),
    "e_cannot_take_why": (
        "parameter {name} (declared at {place}) cannot take {value} as {kind}: {why}",
        "参数 {name}（声明于 {place}）不能把 {value} 当作 {kind}：{why}",
    ),
    "e_secret": ("what was given, which is secret,", "所给出的机密值"),
    "e_bool": ("write true, false, 1, 0, yes, no, on or off", "请写 true、false、1、0、yes、no、on 或 off"),
    "e_whole": ("it is not whole", "它不是整数"),
    "e_duration": ("write 1h30m, 90s, 1:30:00 or PT1H30M", "请写 1h30m、90s、1:30:00 或 PT1H30M"),
    "e_one_of": ("take one of {names}", "请取其一：{names}"),
    "e_is_no": ("{value} is no {kind}", "{value} 不是 {kind}"),
    "e_is_no_why": ("{value} is no {kind}: {why}", "{value} 不是 {kind}：{why}"),
    "e_item": ("item {at}: {why}", "第 {at} 项：{why}"),
    "e_no_json": ("it is no JSON ({error}); write {example}", "它不是 JSON（{error}）；请写 {example}"),
    "e_lazy": (
        "parameter {name} (declared at {place}) was given {value}, {inside}which has no value yet; give a plain value, "
        "or use cs.subflow(target, params=...) to feed it from a graph",
        "参数 {name}（声明于 {place}）得到 {value}，{inside}它还没有值；请给出普通值，"
        "或用 cs.subflow(target, params=...) 从图中传入",
    ),
    "e_lazy_in": ("with {lazy} in it, ", "其中有 {lazy}，"),
    "e_subflow_needs": (
        "{node} needs the parameter {name} (declared at {place}); give it: cs.subflow(..., params={{{same}: ...}})",
        "{node} 需要参数 {name}（声明于 {place}）；请给出：cs.subflow(..., params={{{same}: ...}})",
    ),
    "e_subflow_unknown": (
        "{node}: there is no parameter {name}{hint} (the graph has: {names})",
        "{node}：没有参数 {name}{hint}（图中有：{names}）",
    ),
    "e_subflow_target": (
        "{node}: the target of a sub-flow is a lazy result, not {target}",
        "{node}：子流程的目标应是惰性结果，而不是 {target}",
    ),
    "e_subflow_itself": ("the sub-flow of {target} stands in itself", "{target} 的子流程包含了它自己"),
    "e_subflow_none": (
        "cs.subflow({spelled}): {name} is no flow but {value}; it should be a lazy result, or a function without "
        "arguments that returns one",
        "cs.subflow({spelled})：{name} 不是流程，而是 {value}；应是惰性结果，或返回它的无参数函数",
    ),
    "e_subflow_part": ("cs.subflow({spelled}): {path} has no {part}", "cs.subflow({spelled})：{path} 中没有 {part}"),
    "e_solver": (
        "the solver {name} gave an order that is no permutation of the nodes 0 to {last}",
        "求解器 {name} 给出的次序不是节点 0 到 {last} 的排列",
    ),
    "e_cycle": (
        "these nodes wait for each other, so none can start:\n{nodes}\n(to repeat work use cs.bind and cs.Jump)",
        "这些节点互相等待，谁也无法开始：\n{nodes}\n（要重复工作，请用 cs.bind 和 cs.Jump）",
    ),
    "e_waits_for_loop": (
        "{state} is a state of the loop of {other} and waits for its value:\n  needs:  {waits}\n  jumps:  {jumps}\nA "
        "loop has a value only when it has ended. Send the value along instead: in {name}, return cs.Jump(key, "
        "data={{...}}) with the arguments of {call} by name",
        "{state} 是 {other} 的循环中的一个状态，却在等待它的值：\n  需要：{waits}\n  跳转：{jumps}\n循环结束时才有值。"
        "请改为随跳转传值：在 {name} 中返回 cs.Jump(key, data={{...}})，按名称给出 {call} 的参数",
    ),
    "e_in_set": (
        "{where}: a lazy result is in a set, which would need its value; use a list",
        "{where}：集合中有惰性结果，而集合需要它的值；请用列表",
    ),
    "e_holds_itself": (
        "{where}: a {kind} holds itself, directly or through others",
        "{where}：{kind} 直接或间接地包含自己",
    ),
    "e_lazy_key": (
        "{where}: a lazy result is the key of a dict; only its values may be lazy",
        "{where}：惰性结果是字典的键；只有值可以是惰性的",
    ),
    "e_returned_lazy": (
        "task {task} (declared at {place}) returned {value}; a running task cannot add to the graph: return a value "
        "({called}calls a task's function at once), or return cs.Jump(...) from a bound task to go on elsewhere",
        "任务 {task}（声明于 {place}）返回了 {value}；运行中的任务不能向图中添加：请返回值（{called}会立即调用任务的"
        "函数），或在已绑定的任务中返回 cs.Jump(...) 以转到别处",
    ),
    "e_extra": (
        "{what} needs the package {name}, which is not installed: {command}",
        "{what} 需要包 {name}，它没有安装：{command}",
    ),
    "e_extra_many": (
        "{what} need the package {name}, which is not installed: {command}",
        "{what} 需要包 {name}，它没有安装：{command}",
    ),
    "e_extra_of": ("{what} needs a package of an extra: {command}", "{what} 需要附加包：{command}"),
    "e_extra_brief": ("{what} needs the package {name}: {command}", "{what} 需要包 {name}：{command}"),
    "e_extra_process": (
        '{what} has mode="process", which needs the package {name}: {command}',
        '{what} 用了 mode="process"，需要包 {name}：{command}',
    ),
    "e_extra_command": ("the command line needs packages of an extra: {command}", "命令行需要附加包：{command}"),
    "e_extra_install": ("{what} needs OR-tools; install it: {command}", "{what} 需要 OR-tools，请安装：{command}"),
    "e_extra_page": (
        "the web page needs starlette and uvicorn; install them: {command}",
        "网页需要 starlette 和 uvicorn，请安装：{command}",
    ),
    "e_store_in": ("a store in PostgreSQL", "PostgreSQL 中的存储"),
    "e_busy": (
        "run {name} is going on in {where}, since {since}; {what}",
        "运行 {name} 正在 {where} 中进行，始于 {since}；{what}",
    ),
    "e_busy_wait": ("wait for it, or end it there", "请等待，或在那里结束它"),
    "e_busy_unseen": (
        "that process cannot be seen from here: if it is gone, the run is free in {left} s",
        "从这里看不到那个进程：如果它已不在，运行将在 {left} 秒后空出",
    ),
    "e_this_process": ("this process", "本进程"),
    "e_process_on": ("process {pid} on {host}", "{host} 上的进程 {pid}"),
    "e_unnamed": ("an unnamed host", "未命名的主机"),
    "e_busy_here": (
        "run {name} is going on in this very engine; engine.attach({same}) gives it",
        "运行 {name} 正在本引擎中进行；engine.attach({same}) 可取得它",
    ),
    "e_busy_begun": ("run {name} was begun by somebody else at this very moment", "运行 {name} 就在此刻被别人启动了"),
    "e_busy_taken": (
        "run {name} was taken by another process since it was looked at (start {start}, not {before}); look at it "
        "again",
        "运行 {name} 在查看之后被另一个进程接手（第 {start} 次启动，而不是 {before}）；请重新查看",
    ),
    "e_begun_with": (
        "run {name} was begun with {given}, and is given {other} now; leave it out to go on with what it was begun "
        "with, or {or_else} another run",
        "运行 {name} 开始时的参数是 {given}，现在给出的是 {other}；请去掉它以沿用开始时的值，或 {or_else} 另一个运行",
    ),
    "e_signal": (
        "run {name} was sent a signal {signal} that cannot be read as {kind}: {value}",
        "运行 {name} 收到的信号 {signal} 不能读作 {kind}：{value}",
    ),
    "e_changed_graph": (
        'run {name} was recorded with another graph:\n  {found}\nStart it with on_change="adapt" to keep what still '
        "matches and run the rest, with the graph that it had, or under another run_id. A value that is a new one "
        "each time (datetime.now()) is given as a cs.Param.",
        '运行 {name} 是用另一张图记录的：\n  {found}\n请用 on_change="adapt" 启动，保留仍然匹配的部分并运行其余部分；或'
        "用原来的图；或换一个 run_id。每次都不同的值（datetime.now()）应作为 cs.Param 给出。",
    ),
    "e_changed_code": (
        "the code of tasks of run {name} has changed since their steps were recorded: {found}; start it with "
        'on_change="keep" to keep their values, or "rerun" to run them again',
        '运行 {name} 的任务代码在其步骤被记录之后改变了：{found}；请用 on_change="keep" 启动以保留它们的值，或用 '
        '"rerun" 再次运行',
    ),
    "e_changed_item": (
        "item {item} was {before}, and the stream that is mapped over gives {given} there now; {hint}",
        "第 {item} 项原来是 {before}，而被映射的流现在给出 {given}；{hint}",
    ),
    "e_changed_end": (
        "the stream that is mapped over ended before item {item}, which is recorded; {hint}",
        "被映射的流在已记录的第 {item} 项之前结束；{hint}",
    ),
    "e_same_items": (
        "let it give the same items in the same order, or start the run under another run_id, or start it with "
        'on_change="adapt": then items keep their values by what they are',
        '请让它按相同次序给出相同的项，或换一个 run_id，或用 on_change="adapt" 启动：这样各项按内容保留它们的值',
    ),
}
OTHER_WORDS: dict[str, tuple[str, str]] = {**TYPER, **FINDINGS, **PLANS, **ERRORS}
"""By id: in English, in Chinese."""
