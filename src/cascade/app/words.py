"""What `cs.run` and the command say, in English and in Chinese. Exceptions are in English."""

from __future__ import annotations

import os

from cascade.app.first_words import FIRST_WORDS
from cascade.app.other_words import OTHER_WORDS

__all__ = ["WORDS", "language", "say"]

WORDS: dict[str, tuple[str, str]] = {
    # --- runs
    "nothing": ("nothing", "空目标"),
    "more": ("{shown} and {more} more", "{shown} 等另外 {more} 个"),
    "started": ("run of {names} started", "开始运行 {names}"),
    "started_with": ("run of {names} started with {params}", "开始运行 {names}，参数 {params}"),
    "goes_on": ("run of {names} goes on; steps recorded: {recorded}", "继续运行 {names}，已记录 {recorded} 步"),
    "succeeded": ("run succeeded in {seconds}", "运行成功，用时 {seconds}"),
    "parked": (
        "run parked after {seconds}, until {what}; a server goes on with it",
        "运行在 {seconds} 后暂停，等待 {what}；由服务继续",
    ),
    "a_signal": ("the signal {name}", "信号 {name}"),
    "cancelled": ("run cancelled after {seconds}", "运行在 {seconds} 后被取消"),
    "failed": ("run failed after {seconds}: {error}", "运行在 {seconds} 后失败：{error}"),
    "retrying": (
        "{task} failed (attempt {attempt} of {most}): {error}; again in {delay} s",
        "{task} 失败（第 {attempt} 次，共 {most} 次）：{error}；{delay} 秒后重试",
    ),
    "task_started": ("{task} started{entry}", "{task} 开始{entry}"),
    "task_finished": (
        "{task} {status}{error} after {seconds} s{entry}",
        "{task} {status}{error}，用时 {seconds} s{entry}",
    ),
    "task_skipped": ("{task} skipped: {reason}{entry}", "{task} 跳过：{reason}{entry}"),
    "connected": ("the connector is connected", "连接器已连接"),
    "disconnected": ("the connector is disconnected", "连接器已断开"),
    "iteration": (" (iteration {number})", "（第 {number} 次迭代）"),
    "status_Succeeded": ("succeeded", "成功"),
    "status_Failed": ("failed", "失败"),
    "status_Cancelled": ("cancelled", "已取消"),
    # --- states, in the words of the page (adapters/page/static/texts.js)
    "state_of_Enqueued": ("Enqueued", "已排队"),
    "state_of_Running": ("Running", "运行中"),
    "state_of_Parked": ("Parked", "已搁置"),
    "state_of_Handed back": ("Handed back", "已交还"),
    "state_of_Succeeded": ("Succeeded", "成功"),
    "state_of_Failed": ("Failed", "失败"),
    "state_of_Cancelled": ("Cancelled", "已取消"),
    "state_of_Skipped": ("Skipped", "已跳过"),
    "state_of_Begun": ("Begun", "已开始"),
    # --- servers
    "serving": (
        "serving {names}, from the queue {queue} of {state}",
        "正在服务 {names}，来自 {state} 的队列 {queue}",
    ),
    "serve_started": ("run {name} of {names} started", "开始运行 {name}（{names}）"),
    "serve_goes_on": (
        "run {name} of {names} goes on; steps recorded: {recorded}",
        "继续运行 {name}（{names}），已记录 {recorded} 步",
    ),
    "serve_succeeded": ("run {name} succeeded in {seconds}", "运行 {name} 成功，用时 {seconds}"),
    "serve_fired": ("it is time for {name}", "到时间了：{name}"),
    "serve_skipped": ("{name} is skipped: an earlier run of it has not ended", "跳过 {name}：上一次运行尚未结束"),
    "schedule_needs": (
        "{name} is run by the clock, and nobody gives it parameters: {error}; let each have a default",
        "{name} 按时间表运行，没有人给它参数：{error}；请为每个参数设置默认值",
    ),
    "serve_parked": ("run {name} parked after {seconds}, until {what}", "运行 {name} 在 {seconds} 后暂停，等待 {what}"),
    "serve_failed": ("run {name} failed after {seconds}: {error}", "运行 {name} 在 {seconds} 后失败：{error}"),
    "serve_cancelled": ("run {name} was cancelled after {seconds}", "运行 {name} 在 {seconds} 后被取消"),
    "serve_handed_back": ("run {name} was handed back after {seconds}", "运行 {name} 在 {seconds} 后交还队列"),
    "serve_refused": ("run {name} cannot go on: {error}", "运行 {name} 无法继续：{error}"),
    "serve_store_failed": ("{error}; it is tried again", "{error}；将重试"),
    "serve_ending": (
        "{signal}: nothing more is taken; what goes on ({count}) has {grace} s to end",
        "{signal}：不再接收新的运行；进行中的运行（{count} 个）有 {grace} 秒结束",
    ),
    "served": ("the server has ended", "服务已结束"),
    # --- progress
    "so_far": ("{names} has run for {seconds}: {what}", "{names} 已运行 {seconds}：{what}"),
    "nodes": ("{done} of {total} nodes", "{total} 个节点完成 {done} 个"),
    "entries": ("{count} entries", "{count} 次迭代"),
    "items": ("{count} items", "{count} 项"),
    "rate": ("{rate}/s", "{rate}/秒"),
    "items_failed": ("{count} failed", "{count} 项失败"),
    "running": ("running: {names}", "正在运行：{names}"),
    "in_channels": ("waiting in channels: {what}", "在通道中等待：{what}"),
    "waits_to_receive": ("{name} to receive from {channel!r}", "{name} 等待从 {channel!r} 接收"),
    "waits_to_send": ("{name} to send to {channel!r}", "{name} 等待向 {channel!r} 发送"),
    "more_running": ("and {count} more running", "另有 {count} 个正在运行"),
    "slow": ("slow: {names}", "较慢：{names}"),
    "counted": ("loops: {names}", "循环：{names}"),
    "about": ("{name} about {time}", "{name} 约 {time}"),
    "some_of": ("{name} {count} of {total}", "{name} {total} 项中的 {count} 项"),
    "maps_failed": ("items that failed: {names}", "失败的项：{names}"),
    # --- the command
    "no_file": ("there is no file {file}", "没有文件 {file}"),
    "no_module": ("there is neither a file nor a module {file}", "既没有文件也没有模块 {file}"),
    "a_folder": ("{file} is a folder; name a .py file in it", "{file} 是文件夹，请指定其中的 .py 文件"),
    "close": ("did you mean {names}?", "是不是 {names}？"),
    "file_raised": ("{file} raised an error while it was imported", "导入 {file} 时出错"),
    "no_targets": (
        "{file} has nothing to run: no lazy result, no container of them and no compiled flow at its top level; "
        "name a function that returns one: {file}:NAME",
        "{file} 中没有可以运行的目标：顶层没有惰性结果、其容器或已编译的流程；可以指定返回目标的函数：{file}:名称",
    ),
    "many_targets": (
        "{file} has {count} targets; name one of them:\n{names}",
        "{file} 中有 {count} 个目标，请指定其中之一：\n{names}",
    ),
    "no_target": ("{file} has no target {name!r}", "{file} 中没有目标 {name!r}"),
    "the_targets": ("its targets are: {names}", "可用的目标：{names}"),
    "not_a_target": (
        "{name!r} in {file} is {what}; a target is a lazy result, a container of them, a compiled flow, or a function "
        "without required arguments that returns one",
        "{file} 中的 {name!r} 是 {what}；目标应是惰性结果、其容器、已编译的流程，或返回它们且没有必需参数的函数",
    ),
    "not_called": (
        "{name!r} in {file} is a task; a target is what a call of it gives: write flow = {call} in {file}",
        "{file} 中的 {name!r} 是任务；目标是调用它的结果：请在 {file} 中写 flow = {call}",
    ),
    "no_targets_but_tasks": (
        "{file} has nothing to run: it has tasks ({names}), but keeps no result of calling one; "
        "write flow = {call} in {file}",
        "{file} 中没有可以运行的目标：有任务（{names}），但没有保留调用的结果；请在 {file} 中写 flow = {call}",
    ),
    "no_targets_but_makers": (
        "{file} has nothing to run: what its functions return needs arguments ({names}); "
        "write flow = {call} in {file}, or a function `flow` that needs none",
        "{file} 中没有可以运行的目标：其函数需要参数（{names}）；"
        "请在 {file} 中写 flow = {call}，或不需要参数的函数 flow",
    ),
    "legend": (
        "# odd(x), odd_f(x): if x is no value (a Jump, a TailCall, a coroutine), the interpreter goes on from there; "
        "so it does at deoptimize()",
        "# odd(x)、odd_f(x)：如果 x 不是普通值（Jump、TailCall、协程），由解释器从此处继续；deoptimize() 也是如此",
    ),
    "target_raised": ("{name!r} in {file} raised an error when it was called", "调用 {file} 中的 {name!r} 时出错"),
    "param_form": ("--param takes NAME=VALUE, not {given!r}", "--param 的格式是 名称=值，而不是 {given!r}"),
    "no_param": ("there is no parameter {name!r}", "没有参数 {name!r}"),
    "the_params": ("its parameters are: {names}", "可用的参数：{names}"),
    "no_params": ("it has no parameters", "它没有参数"),
    "params_missing": ("these parameters have no value: {names}", "这些参数没有值：{names}"),
    "one_of": ("{option} is one of {names}, not {given!r}", "{option} 只能是 {names}，而不是 {given!r}"),
    "more_than_0": ("--timeout is more than 0 seconds, not {given}", "--timeout 必须大于 0 秒，而不是 {given}"),
    "no_file_given": ("name a file: cascade {command} FILE[:TARGET]", "请指定文件：cascade {command} FILE[:TARGET]"),
    "file_first": (
        "name the FILE first: cascade {command} FILE {option} ...",
        "请先写文件：cascade {command} FILE {option} ...",
    ),
    "required": ("required", "必填"),
    "no_findings": ("no findings in {names}", "{names} 没有发现问题"),
    "findings": ("errors: {errors}, warnings: {warnings}", "{errors} 个错误，{warnings} 个警告"),
    "written": ("written to {file}", "已写入 {file}"),
    "drawn_more": ("... and {count} more; --format html shows all", "……另有 {count} 个；--format html 可查看全部"),
    "interrupted": ("interrupted", "已中断"),
    "cannot_write": ("{file} cannot be written: {error}", "无法写入 {file}：{error}"),
    "error": ("error", "错误"),
    "usage": ("Usage: ", "用法："),
    "try_help": ("Try '{command}' for help.", "用 '{command}' 查看帮助。"),
    "warning": ("warning", "警告"),
    # --- recorded runs
    "no_state": (
        "name the store of the runs: --state runs.db (a SQLite file), or put it into the environment: "
        "export {variable}=runs.db",
        "请指定保存运行的存储：--state runs.db（SQLite 文件），或写入环境变量：export {variable}=runs.db",
    ),
    "needs_state": (
        "{option} is for runs that are recorded: name the store as well, --state runs.db",
        "{option} 只用于有记录的运行，请同时指定存储：--state runs.db",
    ),
    "state_in_memory": (
        "a store in memory ends with this command; name a file: --state runs.db",
        "内存中的存储随命令结束而消失，请指定文件：--state runs.db",
    ),
    "no_store": ("there is no store of runs {file}", "没有保存运行的文件 {file}"),
    "no_run": ("there is no run {name!r} in this store", "存储中没有运行 {name!r}"),
    "latest_runs": ("the latest are: {names}", "最近的运行：{names}"),
    "no_runs": ("no runs there", "没有运行"),
    "more_runs": ("... and more; --limit shows more than {limit}", "……还有更多；--limit 可查看多于 {limit} 个"),
    "no_steps": ("no steps are recorded yet", "尚未记录任何步骤"),
    "empty_run_id": ("--run-id is a text that is not empty", "--run-id 不能为空"),
    "empty_name": ("the name of a message is a text that is not empty", "消息的名称不能为空"),
    "waits": ("no process goes on with it; cascade resume-run does", "没有进程在执行；可用 cascade resume-run 继续"),
    "waits_itself": (
        "no process goes on with it, and it names no program: it waits for its own, started with this id again "
        "(or cascade resume-run with FILE:TARGET)",
        "没有进程在执行，也没有记录程序：等待它自己的程序以此 id 再次启动（或 cascade resume-run 加 FILE:TARGET）",
    ),
    "recorded_as": ("recorded as {name} in {state}", "记录为 {name}，存储：{state}"),
    "go_on": ("to go on with it: {command}", "继续运行：{command}"),
    "go_on_itself": (
        "to go on with it, start the program again with {options}",
        "继续运行：再次启动程序，加上 {options}",
    ),
    "run_without_name": (
        "run {name!r} was recorded without the name of its program; give it: cascade resume-run {name} FILE:TARGET, "
        "or start its own program with this id again",
        "运行 {name!r} 没有记录程序，请指定：cascade resume-run {name} FILE:TARGET，或用此 id 再次启动它自己的程序",
    ),
    "run_moved": (
        "there is no file {file} any more, from where run {name!r} was started; say where it is now: "
        "cascade resume-run {name} FILE:TARGET",
        "启动运行 {name!r} 的文件 {file} 已不存在，请指定它现在的位置：cascade resume-run {name} FILE:TARGET",
    ),
    "run_elsewhere": (
        "run {name!r} is of {target}, but code is only taken from a file of yours: give it, "
        "cascade resume-run {name} FILE:TARGET",
        "运行 {name!r} 属于 {target}，但只从你自己的文件取代码，请指定：cascade resume-run {name} FILE:TARGET",
    ),
    "has_succeeded": (
        "{name} has succeeded already; nothing runs, and its value is",
        "{name} 已经成功；不再执行，其值为",
    ),
    "forgotten": ("forgot {name}", "已删除 {name}"),
    "sent": ("sent {name} to {run}", "已向 {run} 发送 {name}"),
    "title_id": ("RUN", "运行"),
    "title_status": ("STATUS", "状态"),
    "title_started": ("STARTED", "开始"),
    "title_took": ("TOOK", "用时"),
    "title_target": ("TARGET", "目标"),
    "title_step": ("STEP", "步骤"),
    "title_attempt": ("ATTEMPT", "次数"),
    "title_shown": ("VALUE OR ERROR", "值或错误"),
    # --- engines that are going on
    "no_engines": (
        "no engine is going on that can be steered: a run can be once it has lasted half a second (cs.run, cascade "
        "run), an engine of your own with cs.Engine(control=True); only the user that they run as sees them",
        "没有可以控制的引擎：运行满半秒后即可（cs.run、cascade run），自己的引擎需要 cs.Engine(control=True)；"
        "只有运行它们的用户能看到",
    ),
    "no_engines_there": (
        "no engine answers there: one does that has a connector to this broker and a run that is going on",
        "没有引擎响应：需有连接到此服务器的引擎，且有正在进行的运行",
    ),
    "no_answer": (
        "engine {name} does not answer; whether it did what was asked is not known",
        "引擎 {name} 没有响应；不知道它是否已执行",
    ),
    "no_engine": (
        "no engine {name} is going on; cascade ps lists those that are",
        "没有引擎 {name}；cascade ps 可列出",
    ),
    "many_engines": (
        "several engines are going on: name one with --engine, or take --all: {names}",
        "有多个引擎，请用 --engine 指定，或用 --all：{names}",
    ),
    "many_runs": ("several runs are going on; name one: {names}", "有多个运行，请指定：{names}"),
    "no_such_run": ("no run {name!r} is going on", "没有正在进行的运行 {name!r}"),
    "going_on": ("going on are: {names}", "正在进行：{names}"),
    "no_runs_going_on": ("no run is going on", "没有正在进行的运行"),
    "and_more": ("... and {count} more", "……另外 {count} 个"),
    "ui_is_there": (
        "open this address in a browser; it lets whoever has it in (Ctrl-C ends this)",
        "在浏览器中打开此地址；持有它的人都能进入（Ctrl-C 结束）",
    ),
    "ui_needs_token": (
        "--host lets other machines in, so it needs a token of yours, 16 letters or more: {variable}=... or --token",
        "--host 允许其他机器访问，因此需要自己的令牌，至少 16 个字符：{variable}=... 或 --token",
    ),
    "waits_for_run": (
        "no run is going on yet; waiting for one (Ctrl-C ends this)",
        "还没有运行，等待中（Ctrl-C 结束）",
    ),
    "is_gone": ("it has ended, or its process has", "已结束，或其进程已结束"),
    "loop_is_busy": (
        "its event loop does not answer: some code holds its thread",
        "事件循环没有响应：有代码占用了它的线程",
    ),
    "stands_pause": ("{scope} is paused", "{scope} 已暂停"),
    "stands_concurrency": ("{scope}: {count} at once", "{scope}：同时最多 {count} 个"),
    "stands_rate": ("{scope}: {rate}", "{scope}：{rate}"),
    "burst": ("{count} in a burst", "突发最多 {count} 个"),
    "ends_in": ("ends in {time}", "{time} 后结束"),
    "calls_wait": ("{count} calls wait: {reason}", "{count} 个调用在等待：{reason}"),
    "paused": (
        "{name}: {scope} is paused; cascade resume {scope}{how} ends it",
        "{name}：{scope} 已暂停；cascade resume {scope}{how} 可恢复",
    ),
    "resumed": ("{name}: {scope} is not paused any more", "{name}：{scope} 已恢复"),
    "limited": (
        "{name}: {scope} is limited; cascade clear-limit {scope}{how} ends it",
        "{name}：{scope} 已限制；cascade clear-limit {scope}{how} 可取消",
    ),
    "unlimited": ("{name}: {scope} is not limited any more", "{name}：{scope} 不再限制"),
    "cancels": ("{name} is being cancelled", "正在取消 {name}"),
    "no_limit_given": (
        "give --concurrency N, --rate RATE (such as 10/m), or both; cascade clear-limit takes both away",
        "请给出 --concurrency N、--rate RATE（例如 10/m）或两者；cascade clear-limit 可取消",
    ),
    "no_broker": ("no broker of MQTT answers at {broker}", "{broker} 没有 MQTT 服务器响应"),
    "no_broker_name": (
        "--mqtt takes HOST or HOST:PORT, not {given!r}",
        "--mqtt 的格式是 主机 或 主机:端口，而不是 {given!r}",
    ),
    "nothing_stands": ("nothing is paused or limited", "没有暂停或限制"),
    "title_engine": ("ENGINE", "引擎"),
    "title_program": ("PROGRAM", "程序"),
    # --- help
    "h_app": ("Run and look at Cascade workflows.", "运行和查看 Cascade 工作流。"),
    "h_run": ("Run a workflow and print its value.", "运行工作流并打印结果。"),
    "h_check": ("Look for mistakes without running anything.", "不运行，只查找错误。"),
    "h_show": ("Draw a workflow.", "绘制工作流。"),
    "h_explain": ("Print the Python that a workflow becomes.", "打印工作流变成的 Python 代码。"),
    "h_dry_run": ("Print the plan of a run without running it.", "打印运行计划而不运行。"),
    "h_file": ("FILE.py or a module, then :TARGET if it has several.", "FILE.py 或模块名；有多个目标时加 :TARGET。"),
    "h_param": ("A parameter, as NAME=VALUE; may be given often.", "参数，格式 名称=值，可重复。"),
    "h_param_only": ("The only way to give {names}.", "{names} 只能这样给出。"),
    "h_many": ("may be given often, or as JSON", "可重复，或写成 JSON"),
    "h_variables": ("Reads from the environment:", "读取的环境变量："),
    "h_json": ("Print JSON for machines to stdout.", "向标准输出打印 JSON。"),
    "h_log_level": ("DEBUG, INFO, WARNING, ERROR or SILENT.", "DEBUG、INFO、WARNING、ERROR 或 SILENT。"),
    "h_log_format": ("human, or json for one object a line on stderr.", "human，或 json：标准错误中每行一个对象。"),
    "h_timeout": ("How many seconds the run may take.", "运行时限（秒）。"),
    "h_state": (
        "Where runs are recorded: a SQLite file or a URL.",
        "保存运行的位置：SQLite 文件或 URL。",
    ),
    "h_run_id": ("What the run is called; a recorded one goes on.", "运行的名称；已有记录的会继续。"),
    "h_on_change": (
        "keep, rerun, adapt or error: what becomes of recorded steps where the program has changed.",
        "keep、rerun、adapt 或 error：程序已变时如何处理已记录的步骤。",
    ),
    "h_durability": (
        "each, group or exit: recorded before anybody reads, every 10 ms, or at the end.",
        "each、group 或 exit：读取之前、每 10 毫秒或结束时记录。",
    ),
    "h_record": (
        "Write a page (HTML) that shows what happened to this file.",
        "把显示运行经过的页面（HTML）写入此文件。",
    ),
    "h_runs": ("List the recorded runs, the latest first.", "列出有记录的运行，最近的在前。"),
    "h_history": ("List the recorded steps of a run.", "列出一个运行已记录的步骤。"),
    "h_resume_run": (
        "Go on with a recorded run: what is recorded is not run again.",
        "继续有记录的运行：已记录的步骤不会再次执行。",
    ),
    "h_serve": (
        "Take runs from a queue of a store, and carry them out, until Ctrl-C or SIGTERM.",
        "从存储的队列中接收运行并执行，直到 Ctrl-C 或 SIGTERM。",
    ),
    "h_serve_files": (
        "Files, or modules, whose targets it can run; no other code is loaded.",
        "可以运行其中目标的文件或模块；不会加载其他代码。",
    ),
    "h_queue": ("The queue to take runs from.", "接收运行的队列。"),
    "h_queue_concurrency": (
        "So many of the queue may go on at once, over all servers; by default any number.",
        "所有服务合计，该队列同时进行的运行数上限；默认不限。",
    ),
    "h_slots": ("So many runs may go on at once in this server.", "此服务同时进行的运行数上限。"),
    "h_grace": (
        "So long what goes on may take to end, once the server is to end; then it is handed back.",
        "服务结束时，进行中的运行还有这么多秒；之后交还队列。",
    ),
    "h_park_after": (
        "A run that does nothing but wait for so long gives up its place, and comes back when it is due.",
        "只在等待、且等待达到这么多秒的运行让出位置，到时再继续。",
    ),
    "h_max_takeovers": (
        "A run that has ended its process more often than this, without a step, is given up.",
        "若运行使其进程终止超过此次数且没有任何进展，则放弃。",
    ),
    "h_serve_exit": (
        "Exit codes: 0 it was ended by a signal, 1 the store cannot be used, 2 wrong use.",
        "退出码：0 被信号结束，1 存储无法使用，2 用法错误。",
    ),
    "empty_queue": ("a queue has a name that is not empty", "队列名不能为空"),
    "served_twice": (
        "two of the served files have a target called {name}; runs could not tell them apart: serve one of them, or "
        "rename it",
        "所服务的文件中有两个名为 {name} 的目标，运行无法区分；请只服务其中一个，或改名",
    ),
    "h_fork_run": (
        "Make a new run that begins again at a step.",
        "新建一个从某一步骤重新开始的运行。",
    ),
    "h_forget": ("Drop all that is recorded of a run.", "删除一个运行的全部记录。"),
    "h_signal": ("Send a message to a run.", "向运行发送消息。"),
    "h_ps": ("List the runs that are going on on this machine.", "列出本机正在进行的运行。"),
    "h_engine_status": (
        "Show how engines are: runs, pauses and limits, what waits.",
        "查看引擎：运行、暂停和限制、等待的调用。",
    ),
    "h_watch": ("Watch a run until it ends.", "观看一个运行直到结束。"),
    "h_watched": ("The id of a run, if there are several.", "运行的 id；有多个时需要。"),
    "h_ui": (
        "Show runs on a web page: those that go on on this machine, and with --state the recorded ones.",
        "在网页上显示运行：本机正在进行的，以及（用 --state）已记录的。",
    ),
    "h_ui_port": ("The port; by default a free one.", "端口；默认任选一个空闲的。"),
    "h_ui_host": (
        "The name or address for other machines; by default the page is for this machine alone. Needs --token.",
        "供其他机器访问的名称或地址；默认只供本机使用。需要 --token。",
    ),
    "h_ui_token": (
        "What lets a browser in, 16 letters or more, also as CASCADE_UI_TOKEN; by default a fresh one.",
        "浏览器凭此进入，至少 16 个字符，也可用 CASCADE_UI_TOKEN；默认新建一个。",
    ),
    "h_ui_open": ("Open it in the browser.", "在浏览器中打开。"),
    "h_pause": ("Let no call of a scope start.", "不让范围内的调用开始。"),
    "h_resume": ("End the pause of a scope.", "结束范围的暂停。"),
    "h_set_limit": ("Limit the calls of a scope.", "限制范围内的调用。"),
    "h_clear_limit": ("Take the limits of a scope away; a pause stays.", "取消范围的限制；暂停保留。"),
    "h_cancel": ("End a run.", "取消一个运行。"),
    "h_scope": ("global, or task:PATTERN for tasks by name.", "global，或 task:模式（按任务名）。"),
    "h_run_going_on": ("The id of a run; cascade ps lists them.", "运行的 id；cascade ps 可列出。"),
    "h_engine": (
        "The engine, or the pid of its process, as cascade ps shows.",
        "引擎，或其进程的 pid，见 cascade ps。",
    ),
    "h_mqtt": ("Over this broker of MQTT, for all that listen there.", "通过此 MQTT 服务器，对所有监听者。"),
    "h_all": ("All engines that are going on.", "所有引擎。"),
    "h_ttl": ("Ends by itself after so many seconds.", "多少秒后自动结束。"),
    "h_concurrency": ("So many calls at once.", "同时最多多少个调用。"),
    "h_rate": ("Calls in a time: 5/s, 10/m, 300/h.", "单位时间的调用数：5/s、10/m、300/h。"),
    "h_burst": ("So many of the rate may start at once.", "速率中可同时开始的个数。"),
    "h_run_of": ("The id of a run; cascade runs lists them.", "运行的 id；cascade runs 可列出。"),
    "h_step": ("The id of a node, as cascade history shows it: parse#3.", "节点的 id，见 cascade history：parse#3。"),
    "h_status": ("Only those of this status, such as Failed.", "只列出此状态，例如 Failed。"),
    "h_limit": ("So many at most.", "最多多少个。"),
    "h_resume_file": (
        "Its program, where the store does not name it, or may not.",
        "它的程序；存储没有或不能给出时需要。",
    ),
    "h_resume_param": (
        "A parameter that is not recorded, such as a secret one.",
        "没有记录的参数，例如机密参数。",
    ),
    "h_signal_name": ("What the run waits for.", "运行等待的名称。"),
    "h_signal_value": ("JSON, or else text.", "JSON，否则为文本。"),
    "h_signal_id": ("The same one twice counts once.", "相同的 id 只算一次。"),
    "h_format": ("terminal, dot, mermaid, svg or html.", "terminal、dot、mermaid、svg 或 html。"),
    "h_output": ("Write to this file instead of stdout.", "写入文件而不是标准输出。"),
    "h_version": ("Print the version.", "打印版本。"),
    "h_exit": (
        "Exit codes: 0 ok, 1 a workflow failed or check has errors, 2 wrong use, 130 Ctrl-C (SIGTERM 143, SIGHUP 129).",
        "退出码：0 正常，1 工作流失败或检查发现错误，2 用法错误，130 Ctrl-C，143 SIGTERM，129 SIGHUP。",
    ),
}
WORDS |= FIRST_WORDS | OTHER_WORDS
"""By key: in English, in Chinese."""


def language() -> str:
    """Return "zh" or "en": what CASCADE_LANG says, else the locale of the environment."""
    for name in ("CASCADE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        given = os.environ.get(name)
        if given:
            return "zh" if given.lower().startswith("zh") else "en"
    return "en"


def say(key: str, **values: object) -> str:
    """Return a message in the language of the user."""
    return WORDS[key][language() == "zh"].format(**values)
