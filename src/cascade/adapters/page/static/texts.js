// What the page says, in English and in Chinese.
export const TEXTS = {
  runs: ["Runs", "运行"],
  engines: ["Engines", "引擎"],
  search: ["Search by id, target or error", "按 id、目标或错误搜索"],
  search_steps: ["Search steps", "搜索步骤"],
  search_logs: ["Search the log", "搜索日志"],
  all: ["All", "全部"],
  Running: ["Running", "运行中"],
  Waiting: ["Waiting", "等待中"],
  Succeeded: ["Succeeded", "成功"],
  Failed: ["Failed", "失败"],
  Cancelled: ["Cancelled", "已取消"],
  Skipped: ["Skipped", "已跳过"],
  Enqueued: ["Enqueued", "已排队"],
  Parked: ["Parked", "已搁置"],
  "Handed back": ["Handed back", "已交还"],
  None: ["Not yet", "尚未"],
  state: ["State", "状态"],
  run: ["Run", "运行"],
  target: ["Target", "目标"],
  began: ["Began", "开始"],
  took: ["Took", "用时"],
  steps: ["Steps", "步骤"],
  engine: ["Engine", "引擎"],
  store: ["store", "存储"],
  no_runs: ["No runs yet.", "还没有运行。"],
  no_runs_how: ["Start one in another terminal; after half a second it is here:", "在另一个终端启动一个，半秒后即出现在此："],
  nothing_found: ["Nothing matches the filter.", "没有符合筛选条件的内容。"],
  more_kept: ["There are more; search to find older ones.", "还有更多，请搜索更早的内容。"],
  picture: ["Picture", "图"],
  line: ["Time line", "时间线"],
  nodes: ["Nodes", "节点"],
  log: ["Log", "日志"],
  node: ["Node", "节点"],
  calls: ["Calls", "调用"],
  busy: ["At work", "耗时合计"],
  retries: ["Retries", "重试"],
  attempt: ["Attempt", "尝试"],
  iteration: ["Iteration", "迭代"],
  result: ["Result", "结果"],
  error: ["Error", "错误"],
  traceback: ["Traceback", "回溯"],
  arguments: ["Arguments", "参数"],
  params: ["Parameters", "运行参数"],
  ended: ["Ended", "结束"],
  reason: ["Because", "原因"],
  waits_for: ["Waits for", "等待"],
  signal: ["the message", "消息"],
  critical: ["Critical path", "关键路径"],
  critical_long: ["{n} nodes decided how long it took: {names}", "决定总用时的 {n} 个节点：{names}"],
  of_node: ["Steps of {name}", "{name} 的步骤"],
  all_steps: ["all steps", "所有步骤"],
  close: ["Close", "关闭"],
  back: ["Back", "返回"],
  whole: ["Whole picture", "整图"],
  no_picture: ["There is no picture of this run: its program is not known here.", "没有此运行的图：这里不知道它的程序。"],
  no_steps: ["No steps yet.", "还没有步骤。"],
  no_log: ["Nothing was logged while somebody looked on.", "观看期间没有日志。"],
  no_log_store: ["Logs are not recorded; they are shown of runs that go on.", "日志不被记录，仅对进行中的运行显示。"],
  counting: ["counting …", "统计中……"],
  seen_since: ["What ran before this page looked on is not listed; --state records all of it.", "此页面打开之前的步骤未列出；--state 会记录全部。"],
  kept: ["{kept} of {all} steps are listed: the latest, and those that failed or go on.", "共 {all} 步，列出 {kept} 步：最近的，以及失败或进行中的。"],
  only_counted: ["Too many calls a second to list: they are counted.", "每秒调用过多，只计数不列出。"],
  missed: ["For a time there were too many calls a second: those are neither listed nor in the sums.", "有一段时间每秒调用过多，那些调用未列出，也未计入合计。"],
  no_results: ["Many calls a second: results are not shown.", "每秒调用很多，不显示结果。"],
  pause: ["Pause", "暂停"],
  resume: ["Resume", "恢复"],
  paused: ["Paused", "已暂停"],
  cancel: ["Cancel run", "取消运行"],
  cancel_sure: ["End this run now? What is running is cancelled; this cannot be undone.", "现在结束此运行？正在运行的会被取消，无法撤销。"],
  yes_cancel: ["End it", "结束"],
  no: ["Leave it", "保留"],
  done_cancel: ["The run is being cancelled.", "正在取消运行。"],
  done_pause: ["No further task starts.", "不再启动新任务。"],
  done_resume: ["Tasks start again.", "任务重新启动。"],
  done_limit: ["The limit stands.", "限制已生效。"],
  done_clear: ["The limit is gone.", "限制已移除。"],
  done_signal: ["The message was sent.", "消息已发送。"],
  limits: ["Limits", "限制"],
  no_limits: ["No pauses and no limits stand.", "没有暂停或限制。"],
  add_limit: ["Set a limit", "设置限制"],
  scope: ["Scope", "范围"],
  scope_help: ["global, or task:<pattern> such as task:fetch*", "global，或 task:<模式>，如 task:fetch*"],
  concurrency: ["At once", "同时"],
  rate: ["Rate", "速率"],
  rate_help: ["such as 5/s, 30/m", "如 5/s、30/m"],
  ttl: ["For seconds", "秒数"],
  set: ["Set", "设置"],
  clear: ["Remove", "移除"],
  expires: ["ends in {seconds}", "{seconds} 后结束"],
  answer: ["Answer", "回复"],
  send: ["Send", "发送"],
  send_signal: ["Send a message", "发送消息"],
  name: ["Name", "名称"],
  value: ["Value", "值"],
  value_json: ["Value, as JSON", "值（JSON）"],
  value_type: ["Value of {type}, as JSON", "{type} 的值（JSON）"],
  not_json: ["That is no JSON; a text stands in quotes.", "不是 JSON；文本需加引号。"],
  not_number: ["That is no number.", "不是数字。"],
  yes_value: ["Yes", "是"],
  no_value: ["No", "否"],
  go_on: ["Go on with it", "继续运行"],
  fork: ["Fork from here", "从此处分叉"],
  no_server: ["No server takes up runs here, so type this in a terminal:", "这里没有接管运行的服务器，请在终端输入："],
  copy: ["Copy", "复制"],
  copied: ["Copied.", "已复制。"],
  live: ["live", "实时"],
  lost: ["no connection", "连接断开"],
  closed: ["The page is closed: its engine or `cascade ui` has ended.", "页面已关闭：其引擎或 `cascade ui` 已结束。"],
  gone: ["This run is not known any more.", "此运行已不可用。"],
  no_token: ["This page needs its token", "此页面需要令牌"],
  no_token_how: ["Open the whole address that the terminal printed, with #token= at its end. It is asked for once in each browser.", "请打开终端打印的完整地址（以 #token= 结尾）。每个浏览器只需一次。"],
  wrong_token: ["That token is not the one of this page: it was started anew. Open the address that the terminal printed last.", "令牌不属于此页面：它已重新启动。请打开终端最后打印的地址。"],
  program: ["Program", "程序"],
  folder: ["Folder", "文件夹"],
  up_for: ["Up for", "已运行"],
  no_engines: ["No engine of yours is going on on this machine.", "本机没有您正在运行的引擎。"],
  waiting: ["Waiting calls", "等待的调用"],
  loop_busy: ["Its event loop is busy: some code holds the thread.", "事件循环正忙：有代码占用线程。"],
  theme_auto: ["Colours of the system", "系统配色"],
  theme_light: ["Light", "浅色"],
  theme_dark: ["Dark", "深色"],
  skip_to: ["To the content", "跳到内容"],
  starts: ["starts: {n}", "启动次数：{n}"],
  warnings: ["Warnings", "警告"],
  level: ["Level", "级别"],
  of_step: ["log of this step", "此步骤的日志"],
  more_rows: ["{n} more nodes", "另有 {n} 个节点"],
  ago: ["{time} ago", "{time}前"],
  compare: ["Compare", "比较"],
  compare_with: ["Compare with", "与之比较"],
  difference: ["B took longer by", "B 多用时"],
  not_there: ["not there", "没有"],
};

const KEPT = "cascade-language";
let language = (() => {
  const kept = localStorage.getItem(KEPT);
  return kept === "en" || kept === "zh" ? kept : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
})();
document.documentElement.lang = language;

export const spoken = () => language;
export function speak(wanted) {
  language = wanted;
  localStorage.setItem(KEPT, wanted);
  document.documentElement.lang = wanted;
}
export function say(key, values = {}) {
  const text = TEXTS[key]?.[language === "zh" ? 1 : 0] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// Times and numbers as people read them.
export function spelled(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.001) return `${Math.max(0, Math.round(seconds * 1e6))} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
export const number = (value) => (value ?? 0).toLocaleString(language === "zh" ? "zh-CN" : "en-US");
export function clock(at) {
  if (!at) return "";
  const date = new Date(at * 1000);
  const today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString(language === "zh" ? "zh-CN" : "en-GB");
  return today ? time : `${date.toLocaleDateString(language === "zh" ? "zh-CN" : "en-CA")} ${time}`;
}
export const whole = (at) => (at ? new Date(at * 1000).toLocaleString(language === "zh" ? "zh-CN" : "en-GB", { timeZoneName: "short" }) : "");
