"""What `cascade new` and `cascade doctor` say, and what stands in the project that the first of them writes."""

from __future__ import annotations

__all__ = ["FIRST_WORDS"]

README_EN = """\
# {name}

A workflow made with Cascade: it asks for the temperature of some cities, all at once, and says which is the warmest.

| file | what it is |
|---|---|
| `flow.py` | the tasks, and `flow`, what they come to |
| `test_flow.py` | tests; pauses take no time in them |

Run it, with other cities, or once more where the line was busy:

    cascade run flow.py
    cascade run flow.py --cities Nuuk --cities Cusco
    cascade run flow.py --help

Look at it without running it:

    cascade show flow.py
    cascade check flow.py
    cascade dry-run flow.py

Record a run, so that it goes on where it was after whatever ended its process:

    cascade run flow.py --state runs.db --run-id monday
    cascade resume-run monday --state runs.db

Test it (pip install pytest):

    python -m pytest

`cascade doctor` says what is installed.
"""

README_ZH = """\
# {name}

用 Cascade 写的工作流：同时询问几个城市的气温，然后说出哪里最暖和。

| 文件 | 内容 |
|---|---|
| `flow.py` | 任务，以及由它们得到的 `flow` |
| `test_flow.py` | 测试；其中的等待不花时间 |

运行，或换几个城市：

    cascade run flow.py
    cascade run flow.py --cities Nuuk --cities Cusco
    cascade run flow.py --help

不运行，只查看：

    cascade show flow.py
    cascade check flow.py
    cascade dry-run flow.py

记录一次运行；无论进程因何结束，它都能从原处继续：

    cascade run flow.py --state runs.db --run-id monday
    cascade resume-run monday --state runs.db

测试（pip install pytest）：

    python -m pytest

`cascade doctor` 会列出已安装的内容。
"""

FIRST_WORDS: dict[str, tuple[str, str]] = {
    # --- new
    "h_new": (
        "Write a small project to start from: a flow, its tests, a README.",
        "写一个可以由此开始的小项目：流程、测试和 README。",
    ),
    "h_new_name": ("The folder to make for it; by default the current one.", "要新建的文件夹；默认为当前文件夹。"),
    "new_is_file": ("{name} is a file; name a folder", "{name} 是文件，请指定文件夹"),
    "new_is_there": (
        "{files} would be overwritten; name a new folder: cascade new NAME",
        "{files} 会被覆盖；请指定新文件夹：cascade new 名称",
    ),
    "new_written": ("written: {files}", "已写入：{files}"),
    "new_next": ("type next:", "接下来输入："),
    "new_readme": (README_EN, README_ZH),
    "new_flow_doc": (
        "Which city is the warmest? `cascade run flow.py` says.",
        "哪个城市最暖和？cascade run flow.py 会回答。",
    ),
    "new_task_doc": ("Ask for the temperature of a city, in °C.", "询问一个城市的气温（°C）。"),
    "new_request": ("a request, in real life", "现实中这里是一次网络请求"),
    "new_warmest_doc": ("Say which city is the warmest.", "说出最暖和的城市。"),
    "new_param": ("the cities to ask for", "要询问的城市"),
    "new_retry": (
        "a line that is busy is asked again: after 1 s, then 2 s",
        "线路忙时再次询问：1 秒后，然后 2 秒后",
    ),
    "new_test_doc": (
        "Tests of the flow. By a virtual clock pauses take no time, and Faults make calls fail on purpose.",
        "流程的测试。在虚拟时钟下等待不花时间，Faults 让调用按计划失败。",
    ),
    # --- doctor
    "h_doctor": (
        "Say which versions are here, which extras, and what is missing for what.",
        "列出版本、已安装的附加包，以及缺少的附加包各有何用。",
    ),
    "h_doctor_exit": (
        "Exit codes: 0 ok (extras may be missing), 1 something that is installed is too old or damaged, 2 wrong use.",
        "退出码：0 正常（可以缺少附加包），1 已安装的包过旧或损坏，2 用法错误。",
    ),
    "doctor_unknown": (
        "this Cascade runs from its source and is not installed, so its extras are not known; install the checkout: "
        "pip install -e .",
        "此 Cascade 直接从源码运行，没有安装，因此无法得知附加包；请安装：pip install -e .",
    ),
    "doctor_language": ("language", "语言"),
    "doctor_output": ("output", "输出"),
    "doctor_state": ("store", "存储"),
    "doctor_no_state": ("none (CASCADE_STATE is not set)", "无（未设置 CASCADE_STATE）"),
    "doctor_there": ("installed", "已安装"),
    "doctor_missing": ("missing", "缺少"),
    "doctor_old": ("too old", "过旧"),
    "doctor_broken": ("damaged", "损坏"),
    "doctor_install": ("to install one: {command}", "安装方法：{command}"),
    "title_extra": ("EXTRA", "附加包"),
    "title_packages": ("PACKAGES", "包"),
    "title_use": ("WHAT FOR", "用途"),
    "x_cli": ("the cascade command; live progress", "cascade 命令；实时进度"),
    "x_cron": ("programs that are run by the clock, cs.schedule", "按时间表运行的程序，cs.schedule"),
    "x_csp": ("CSPSolver: plans within capacities", "CSPSolver：在容量之内安排次序"),
    "x_dask": ("DaskExecutor: workers of a Dask cluster", "DaskExecutor：Dask 集群"),
    "x_http": ("cs.http: requests", "cs.http：网络请求"),
    "x_mqtt": ("MqttConnector; cascade watch --mqtt", "MqttConnector：通过 MQTT 控制；cascade watch --mqtt"),
    "x_otel": ("cs.instrument: traces for OpenTelemetry", "cs.instrument：OpenTelemetry 追踪"),
    "x_postgres": ("runs recorded in PostgreSQL", "在 PostgreSQL 中记录运行"),
    "x_process": ('mode="process": tasks in processes', 'mode="process"：在进程中运行任务'),
    "x_pydantic": ("parameters of pydantic models", "pydantic 模型的参数"),
    "x_redis": ("runs, caches and queues in Redis", "在 Redis 中记录运行、缓存和队列"),
    "x_ray": ("RayExecutor: workers of a Ray cluster", "RayExecutor：Ray 集群"),
    "x_s3": ("cs.s3: objects in S3", "cs.s3：S3 中的对象"),
    "x_sql": ("cs.sql: databases", "cs.sql：数据库"),
    "x_template": ("cs.template: texts by Jinja", "cs.template：Jinja 文本"),
    "x_ui": ("cascade ui, engine.ui(): the web page", "cascade ui、engine.ui()：网页"),
    "x_yaml": ("cs.load_yaml: YAML files", "cs.load_yaml：YAML 文件"),
}
"""By key: in English, in Chinese."""
