// The page: what was found, and the two stories of one task or request.
// Whatever it shows was written by those who are watched: it goes in as text, never as markup.

const EVERY_MS = 2000;
const PATIENCE_MS = 8000;
const MOST_LISTED = 200;
const MOST_ROWS = 1000;
const ORDER = ["confirmed", "suspected", "unknown", "resolved", "retracted"];
const SEVERITIES = ["critical", "warning", "info"];
const AGENT_PHASES = ["accepted", "started", "heartbeat", "finished", "reported"];

const byId = (id) => document.getElementById(id);
const plural = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

/** Return value as text in which nothing is invisible or turns the line around. */
function plain(value, longest = 600) {
  const text = value === null || value === undefined ? "" : String(value);
  const shown = text.slice(0, longest).replace(
    /[^\P{C}\n\t]/gu,
    (char) => `⟨U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
  const cut = text.length - longest;
  return cut > 0 ? `${shown} … (and ${plural(cut, "more character")})` : shown;
}

/** Return a new element: make("p", {class: "what"}, "text", child). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

function span(seconds) {
  for (const [limit, divisor, unit] of [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"]]) {
    const value = seconds / divisor;
    if (Math.abs(seconds) < limit) return `${value.toFixed(Math.abs(value) < 9.95 ? 1 : 0)} ${unit}`;
  }
  return `${(seconds / 86400).toFixed(1)} d`;
}

// ---------------------------------------------------------------- asking

const token = {
  get: () => { try { return sessionStorage.getItem("token"); } catch { return null; } },
  set: (value) => { try { sessionStorage.setItem("token", value); } catch { /* kept nowhere, then */ } },
};

class Locked extends Error {}
class Refused extends Error {}

async function ask(path) {
  const secret = token.get();
  const answer = await fetch(`api/v1/${path}`, {
    headers: secret ? { Authorization: `Bearer ${secret}` } : {},
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (answer.status === 401 || answer.status === 403) throw new Locked();
  if (!answer.ok && answer.status !== 404) throw new Refused(`It answers ${answer.status} ${answer.statusText}.`);
  return answer.text();
}

const timelinePath = (kind, id) => `${kind === "task" ? "tasks" : "requests"}/${encodeURIComponent(id)}`;

async function askTimeline(kind, id) {
  const text = await ask(timelinePath(kind, id));
  return { text, said: JSON.parse(text) };
}

// ---------------------------------------------------------------- state

const urgency = (one) => {
  const at = (list, value) => (list.indexOf(value) + list.length + 1) % (list.length + 1);
  return [at(ORDER, one.verdict), at(SEVERITIES, one.severity), -Date.parse(one.since) || 0];
};

function byUrgency(one, other) {
  const [left, right] = [urgency(one), urgency(other)];
  const at = left.findIndex((value, index) => value !== right[index]);
  return at < 0 ? one.id - other.id : left[at] - right[at];
}

function summary(open, heard) {
  const count = (verdict) => open.filter((one) => one.verdict === verdict && one.severity !== "info").length;
  const confirmed = count("confirmed");
  const doubts = count("suspected") + count("unknown");
  const notes = open.length - confirmed - doubts;
  const rest = [
    doubts && confirmed ? `${count("suspected")} suspected, ${count("unknown")} unknown` : "",
    notes ? `${plural(notes, "note")}` : "",
  ].filter(Boolean);
  if (confirmed) {
    const kinds = new Map();
    for (const one of open) {
      if (one.verdict === "confirmed" && one.severity !== "info") kinds.set(one.detector, (kinds.get(one.detector) || 0) + 1);
    }
    const detail = [...kinds].sort((a, b) => b[1] - a[1]).slice(0, 6).map(([name, many]) => `${many} × ${words(name)}`);
    return ["bad", String(confirmed), `${plural(confirmed, "disagreement")} confirmed`, [...detail, ...rest].join("  ·  ")];
  }
  if (doubts) {
    const detail = [`${count("suspected")} suspected, ${count("unknown")} unknown`, ...rest.filter((text) => !text.includes("suspected"))];
    return ["doubt", String(doubts), "Something may be wrong", detail.join("  ·  ")];
  }
  if (heard === 0) return ["waiting", "…", "Nothing heard yet", "No dispatcher and no agent has sent anything."];
  return ["calm", "✓", "All is well", ["Both sides tell the same story", ...rest].join("  ·  ")];
}

const words = (name) => plain(name, 80).replaceAll("_", " ");

function showState([state, mark, headline, detail]) {
  document.body.classList.toggle("stale", state === "lost");
  const section = byId("state");
  if (section.dataset.state !== state) section.dataset.state = state;
  setText(section.querySelector(".mark"), mark);
  setText(section.querySelector(".headline"), headline);
  setText(section.querySelector(".detail"), detail);
  const number = state === "bad" || state === "doubt" ? `(${mark}) ` : state === "lost" ? "(?) " : "";
  setText(document.querySelector("title"), `${number}zombiewatch`);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---------------------------------------------------------------- the list

let known = null;
let spoken = "";

function showFindings(open, ended, now) {
  fill(byId("open"), open.slice(0, MOST_LISTED), now, open.length - MOST_LISTED);
  fill(byId("ended"), ended, now, 0);
  byId("ended-part").hidden = ended.length === 0;
  announce(open, ended);
}

/** Make the list show the findings, touching only what changed: focus and selection stay. */
function fill(list, findings, now, more) {
  const rows = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const wanted = findings.map((one) => {
    const key = String(one.id);
    const row = rows.get(key) || newRow(one, key, list.id === "open" && known !== null);
    updateRow(row, one, now);
    return row;
  });
  if (more > 0) {
    const row = rows.get("more") || make("li", { "data-key": "more" }, make("p", {}, make("span", { class: "what" })));
    setText(row.querySelector(".what"), `and ${more.toLocaleString("en")} more, which weigh less`);
    wanted.push(row);
  }
  const focused = document.activeElement;
  for (const row of rows.values()) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] || null);
  });
  if (focused && focused !== document.activeElement && list.contains(focused)) focused.focus();
}

function newRow(one, key, fresh) {
  const parts = ["verdict", "about", "age", "what"].map((name) => make("span", { class: name }));
  return make("li", { "data-key": key, class: fresh ? "new" : null }, make("a", { href: linkOf(one) }, ...parts));
}

function linkOf(one) {
  if (one.task) return `#/task/${encodeURIComponent(one.task)}`;
  if (one.request_id) return `#/request/${encodeURIComponent(one.request_id)}`;
  return `#/finding/${encodeURIComponent(one.id)}`;
}

function updateRow(row, one, now) {
  const [verdict, about, age, what] = row.firstChild.children;
  row.dataset.verdict = one.verdict;
  row.dataset.severity = one.severity;
  const shown = JSON.stringify([one.verdict, one.severity, one.detector, one.subject, one.name, one.service, one.queue, one.summary]);
  if (row.shown !== shown) {
    row.shown = shown;
    verdict.replaceChildren(plain(one.verdict, 40), make("small", {}, ` ${plain(one.severity, 40)}`));
    const where = [one.name, one.service, one.queue && `queue ${one.queue}`].filter(Boolean).map((text) => plain(text, 80));
    about.replaceChildren(
      make("b", {}, words(one.detector)),
      make("bdi", { class: "mono" }, plain(one.subject, 120)),
      make("small", {}, where.join("  ·  ")),
    );
    what.replaceChildren(make("bdi", {}, plain(one.summary)));
  }
  const until = one.ended_at ? Date.parse(one.ended_at) : now;
  setText(age, Number.isFinite(until - Date.parse(one.since)) ? span(Math.max(0, until - Date.parse(one.since)) / 1000) : "");
  age.title = one.ended_at ? `from ${plain(one.since)} to ${plain(one.ended_at)}` : `since ${plain(one.since)}`;
}

/** Say aloud what is new: a few by name, many by number. */
function announce(open, ended) {
  const state = byId("state").dataset.state;
  const before = known;
  known = new Map([...open, ...ended].map((one) => [one.id, one.verdict]));
  if (before === null) {
    spoken = state;
    return;
  }
  const news = [...open, ...ended].filter((one) => before.get(one.id) !== one.verdict && (before.has(one.id) || !one.ended_at));
  const named = news.slice(0, 3).map((one) => `${words(one.detector)} ${plain(one.subject, 80)} ${one.verdict}`);
  if (news.length > 3) named.push(`and ${news.length - 3} more changes`);
  if (state !== spoken) named.push(byId("state").querySelector(".headline").textContent);
  spoken = state;
  if (named.length) setText(byId("news"), named.join(", "));
}

// ---------------------------------------------------------------- one story

const story = byId("story");
let drawn = "";

function showStory(text, said, kind, id) {
  if (drawn === text) return;
  drawn = text;
  const unfolded = new Set([...story.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  const focused = story.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : null;
  const [sub, ...tale] = said.entries?.length ? drawTale(said) : ["", nothing(kind, id)];
  story.replaceChildren(...[
    make("p", {}, make("a", { href: "#/" }, "← all findings")),
    make("h1", { id: "story-title", tabindex: -1 }, `${kind} `, make("bdi", { class: "mono" }, plain(id, 300))),
    sub ? make("p", { class: "sub" }, sub) : null,
    make("div", { class: "cards" }, ...[...(said.findings || [])].sort(byUrgency).map(card)),
    ...tale,
  ].filter(Boolean));
  for (const one of story.querySelectorAll("details")) one.open = unfolded.has(one.dataset.key);
  if (focused) story.querySelector(`[data-key="${CSS.escape(focused)}"] summary`)?.focus();
}

function nothing(kind, id) {
  return make("p", { class: "nothing" }, `Nothing is known of ${kind} `, make("bdi", {}, plain(id, 300)),
    ": neither side has said a word of it. Is the ID spelled as the scheduler spells it? What is older than the retention is gone.");
}

function card(one) {
  const evidence = Object.entries(one.evidence || {}).filter(([, value]) => value !== null)
    .map(([name, value]) => `${plain(name, 40)}=${plain(value, 120)}`).join("  ");
  return make("article", { class: "card", "data-verdict": one.verdict },
    make("h2", {}, words(one.detector), " ", make("bdi", { class: "mono" }, plain(one.subject, 120)), " ",
      make("span", { class: "verdict" }, `${plain(one.verdict, 40)}, ${plain(one.severity, 40)}`)),
    make("p", {}, plain(one.summary)),
    one.reason ? make("p", {}, make("b", {}, "Why not sure: "), plain(one.reason)) : null,
    one.fix ? make("p", {}, make("b", {}, "Do: "), plain(one.fix)) : null,
    evidence ? make("p", { class: "evidence" }, evidence) : null);
}

function drawTale(said) {
  const agents = agentLanes(said);
  const rows = chosen(folded(said.entries.flatMap((entry) => rowsOf(entry, agents.has(entry.lane)))
    .sort((one, other) => one.at - other.at)));
  const parts = (said.parts || []).map((part) => ({ at: part.at_us, part }));
  const all = [...rows.shown, ...parts].sort((one, other) => one.at - other.at || (one.part ? 1 : 0) - (other.part ? 1 : 0));
  const zero = all[0].at;
  const items = [];
  let before = zero;
  for (const one of all) {
    const gap = (one.at - before) / 1e6;
    if (gap >= 10) items.push(make("li", { class: "gap" }, make("span", {}, `… ${span(gap)} later`)));
    items.push(one.part ? drawPart(one.part, zero) : drawRow(one, zero));
    before = one.until ?? one.at;
  }
  const begin = new Date(zero / 1000);
  const left = rows.leftOut ? `, ${plural(rows.leftOut, "record")} that say less left out` : "";
  const sub = Number.isNaN(begin.getTime()) ? "" : `from ${begin.toISOString()}, over ${span((before - zero) / 1e6)}${left}`;
  return [sub, make("div", { class: "tale" }, drawHead(said, agents), make("ol", {}, ...items))];
}

/** Return the lanes of the agents' story; who does not say its side is judged by what it says. */
function agentLanes(said) {
  const sides = new Map((said.lanes || []).map((lane) => [lane.id, lane.side]));
  for (const entry of said.entries) {
    if (!sides.get(entry.lane)) sides.set(entry.lane, entry.side || (AGENT_PHASES.includes(entry.phase) ? "agent" : null));
  }
  return new Set([...sides].filter(([, side]) => side === "agent").map(([lane]) => lane));
}

/** Return one row, or for a span that lasted two: where it begins, and where it ends. */
function rowsOf(entry, right) {
  const phase = entry.phase || "";
  const title = phase || entry.name || entry.kind || "record";
  const alarming = entry.severity >= 17 || phase === "call.gave_up";
  const base = { entry, right, telling: Boolean(phase) || alarming };
  const about = [
    phase && !(entry.name || "").includes(phase) ? entry.name : "",
    entry.attempt > 1 ? `attempt ${entry.attempt}` : "",
  ];
  const outcome = entry.outcome ? `→ ${entry.outcome}` : "";
  if (!(entry.end_us > entry.at_us)) {
    const late = (entry.arrived_us - entry.at_us) / 1e6;
    const arrived = late > 5 ? `(arrived ${span(late)} later)` : "";
    return [{ ...base, at: entry.at_us, title, alarming, words: [...about, entry.body, outcome, arrived], key: `${entry.seq}` }];
  }
  const first = /^call\.(ok|failed|gave_up)$/.test(phase) ? "call.sent"
    : /^call\.(committed|errored)$/.test(phase) ? "call.received" : `${title} begins`;
  const lasted = `after ${span((entry.end_us - entry.at_us) / 1e6)}`;
  return [
    { ...base, at: entry.at_us, title: first, alarming: false, words: about, key: `${entry.seq}-` },
    { ...base, at: entry.end_us, title: phase ? title : `${title} ends`, alarming, words: [lasted, entry.body, outcome], key: `${entry.seq}` },
  ];
}

/** Join runs of one lane's heartbeats. */
function folded(rows) {
  const joined = [];
  for (const row of rows) {
    const last = joined.at(-1);
    if (row.entry.phase === "heartbeat" && last?.run && last.entry.lane === row.entry.lane) {
      last.run += 1;
      last.until = row.at;
      last.words = [`${last.run} times in ${span((row.at - last.at) / 1e6)}`];
    } else {
      joined.push({ ...row, run: row.entry.phase === "heartbeat" ? 1 : 0 });
    }
  }
  return joined;
}

function chosen(rows) {
  if (rows.length <= MOST_ROWS) return { shown: rows, leftOut: 0 };
  const some = rows.filter((row) => row.telling);
  const telling = some.length ? some : rows;
  const half = MOST_ROWS / 2;
  const shown = telling.length <= MOST_ROWS ? telling : [...telling.slice(0, half), ...telling.slice(-half)];
  return { shown, leftOut: rows.length - shown.length };
}

function drawHead(said, agents) {
  const lanes = [...new Set(said.entries.map((entry) => entry.lane))];
  const title = (name, right) => {
    const mine = lanes.filter((lane) => agents.has(lane) === right);
    const who = mine.length ? make("small", {}, mine.slice(0, 8).map((lane) => plain(lane, 120)).join(", "), mine.length > 8 ? " …" : "")
      : make("small", { class: "silent" }, "nothing heard");
    return make("h2", { class: right ? "right" : null }, name, who);
  };
  return make("div", { class: "tale-head" }, make("span", { class: "at" }, "seconds"), title("Dispatcher", false), title("Agents", true));
}

const relative = (at, zero) => `+${((at - zero) / 1e6).toFixed(3)}`;

function drawPart(part, zero) {
  return make("li", { class: "part" }, make("span", { class: "at" }, relative(part.at_us, zero)),
    make("p", {}, make("span", { class: "unseen" }, "Here the stories part: "), plain(part.text), " ", make("small", {}, words(part.finding || ""))));
}

function drawRow(row, zero) {
  const { entry } = row;
  const kind = `entry${row.right ? " right" : ""}${row.alarming ? " alarming" : ""}${row.telling ? "" : " aside"}`;
  const text = row.words.filter(Boolean).map((word) => plain(word)).join("  ");
  const line = [
    make("span", { class: "side" }, entry.side ? plain(entry.side, 20) : "?"),
    make("b", {}, plain(row.title, 120)), " ",
    make("bdi", { class: "text" }, text), " ",
    make("small", {}, plain(entry.lane, 120)),
  ];
  const raw = { request: entry.request_id, trace: entry.trace_id, ...entry.raw };
  const pairs = Object.entries(raw).filter(([, value]) => value !== null && value !== undefined && value !== "").slice(0, 100);
  const body = pairs.length ? make("details", { "data-key": row.key },
    make("summary", {}, ...line),
    make("dl", {}, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, plain(name, 120)), make("dd", {}, plain(value, 4000))))),
  ) : make("div", {}, ...line);
  return make("li", {}, make("time", { title: plain(entry.at, 40) }, relative(row.at, zero)), make("div", { class: kind }, body));
}

// ---------------------------------------------------------------- where we are

let findings = [];

function route() {
  const [, kind, ...rest] = location.hash.split("/");
  let id = rest.join("/");
  try { id = decodeURIComponent(id); } catch { /* as it stands, then */ }
  return ["task", "request", "finding", "find"].includes(kind) && id ? { kind, id } : { kind: "list", id: "" };
}

async function showRoute() {
  const { kind, id } = route();
  const reading = kind !== "list";
  document.body.classList.toggle("reading", reading);
  byId("list").hidden = reading;
  story.hidden = !reading;
  if (kind === "find") {
    const { said } = await askTimeline("task", id);
    const found = said.found ? "task" : (await askTimeline("request", id)).said.found ? "request" : "task";
    if (route().id === id) location.replace(`#/${found}/${encodeURIComponent(id)}`);
  } else if (kind === "finding") {
    const one = findings.find((other) => String(other.id) === id);
    const said = { findings: one ? [one] : [] };
    if (known !== null) showStory(JSON.stringify(one) ?? id, said, "finding", id);
    story.querySelector(".nothing")?.toggleAttribute("hidden", Boolean(one));
  } else if (reading) {
    const { text, said } = await askTimeline(kind, id);
    const now = route();
    if (now.kind === kind && now.id === id) showStory(`${kind} ${id} ${text}`, said, kind, id);
  }
}

async function arrive() {
  drawn = "";
  story.replaceChildren();
  const { kind, id } = route();
  if (kind === "task" || kind === "request" || kind === "find") byId("wanted").value = id;
  try { await showRoute(); } catch (error) { trouble(error); }
  scrollTo(0, 0);
  (kind === "list" ? byId("content") : story.querySelector("h1"))?.focus({ preventScroll: true });
}

// ---------------------------------------------------------------- again and again

let lastHeard = null;
let heard = null;
let turn = 0;

function trouble(error) {
  byId("unlock").hidden = !(error instanceof Locked);
  if (error instanceof Locked) {
    showState(["lost", "?", "Locked", "A token is needed to see what was found."]);
    return;
  }
  const old = lastHeard ? `What you see is ${span((Date.now() - lastHeard) / 1000)} old.` : "Is it running?";
  const why = error.name === "TimeoutError" ? "It does not answer in time." : error instanceof Refused ? error.message : "";
  showState(["lost", "?", "No word from zombiewatch", `${old} ${why}`.trim()]);
}

async function refresh() {
  const [open, ended] = await Promise.all(["open&limit=1000", "closed&limit=30"].map((state) => ask(`findings?state=${state}`)));
  if (turn % 5 === 0) {
    heard = await ask("sources").then((text) => JSON.parse(text).sources?.length ?? null).catch(() => null);
  }
  turn += 1;
  const said = JSON.parse(open);
  const now = Date.parse(said.now) || Date.now();
  const sorted = said.findings.sort(byUrgency);
  const past = JSON.parse(ended).findings.sort((one, other) => Date.parse(other.ended_at) - Date.parse(one.ended_at));
  findings = [...sorted, ...past];
  byId("unlock").hidden = true;
  lastHeard = Date.now();
  showState(summary(sorted, heard));
  showFindings(sorted, past, now);
  setText(document.querySelector(".when"), `as of ${new Date(now).toISOString().slice(11, 19)} UTC`);
  await showRoute();
}

let timer = 0;

async function tick() {
  clearTimeout(timer);
  timer = 0;
  try { await refresh(); } catch (error) { trouble(error); }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(tick, EVERY_MS);
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = byId("wanted").value.trim();
  if (id) location.hash = `#/find/${encodeURIComponent(id)}`;
});

byId("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(byId("token").value);
  byId("token").value = "";
  tick();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    byId("wanted").select();
  } else if (event.key === "Escape" && (typing ? !event.target.value : route().kind !== "list")) {
    location.hash = "#/";
  }
});

document.addEventListener("visibilitychange", () => { if (!document.hidden && !timer) tick(); });
addEventListener("hashchange", arrive);
tick();
