// The views come whole from the server. This keeps the one that is shown up to date without a
// reload: the sidecar says when something has changed, and the content is fetched anew.

const PATIENCE_MS = 8000;
const CALM_MS = 1000; // between two refreshes, however much happens

const byId = (id) => document.getElementById(id);
const content = byId("content");

// ---------------------------------------------------------------- what must survive a refresh

/** What a person has opened, typed, scrolled to. */
function remember() {
  const opened = [...content.querySelectorAll("details")].map((one) => one.open);
  const fields = [...content.querySelectorAll("input:not([type=hidden]), select, textarea")].map((one) => one.value);
  const scrolled = [...content.querySelectorAll(".wide")].map((one) => [one.scrollLeft, one.scrollTop]);
  const focused = document.activeElement;
  const all = [...content.querySelectorAll("a, input, button, select, summary, [tabindex]")];
  return { opened, fields, scrolled, at: all.indexOf(focused), marks: focused?.selectionStart ?? null };
}

function restore(known) {
  [...content.querySelectorAll("details")].forEach((one, at) => { if (known.opened[at] !== undefined) one.open = known.opened[at]; });
  [...content.querySelectorAll("input:not([type=hidden]), select, textarea")].forEach((one, at) => {
    if (known.fields[at] !== undefined) one.value = known.fields[at];
  });
  [...content.querySelectorAll(".wide")].forEach((one, at) => {
    if (known.scrolled[at]) [one.scrollLeft, one.scrollTop] = known.scrolled[at];
  });
  if (known.at >= 0) {
    const all = [...content.querySelectorAll("a, input, button, select, summary, [tabindex]")];
    all[known.at]?.focus({ preventScroll: true });
    if (known.marks !== null) try { all[known.at].setSelectionRange(known.marks, known.marks); } catch { /* not a text */ }
  }
}

// ---------------------------------------------------------------- live

let lastGood = Date.now();
let turn = 0;

function lost(gone) {
  byId("lost").hidden = !gone;
  byId("lost-at").textContent = `${new Date(lastGood).toISOString().slice(11, 19)} UTC`;
  document.body.classList.toggle("stale", gone);
}

/** Whether somebody is in the middle of typing something that is not stored anywhere. */
const typing = () => document.activeElement?.matches("form[method=post] input, form[method=post] select");

async function refresh() {
  const mine = ++turn;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok && answer.status !== 404) throw new Error(`it answers ${answer.status}`);
    const said = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== turn) return;
    lastGood = Date.now();
    lost(false);
    const fresh = said.getElementById("content");
    if (!fresh || typing()) return;
    show(fresh, said);
  } catch {
    if (mine === turn) lost(true);
  }
}

function show(fresh, said) {
  const before = new Set([...content.querySelectorAll("[data-key]")].map((one) => one.dataset.key));
  const headline = content.querySelector(".headline")?.textContent;
  const known = remember();
  content.replaceChildren(...fresh.childNodes);
  restore(known);
  document.title = said.title;
  document.querySelector(".keys time").textContent = said.querySelector(".keys time")?.textContent ?? "";
  for (const one of content.querySelectorAll("[data-key]")) {
    if (!before.has(one.dataset.key)) one.classList.add("new");
  }
  const now = content.querySelector(".headline")?.textContent;
  if (now && now !== headline) byId("news").textContent = now;
  filter();
}

let waiting = 0;
function soon() {
  if (document.hidden || waiting) return;
  waiting = setTimeout(() => { waiting = 0; refresh(); }, CALM_MS);
}

let stream = null;
function listen() {
  if (content.dataset.live !== "yes" || document.hidden) return;
  stream?.close();
  stream = new EventSource("/api/v1/events");
  stream.addEventListener("changed", soon);
  stream.addEventListener("open", () => { if (document.body.classList.contains("stale")) refresh(); });
  stream.addEventListener("error", () => {
    lost(true);
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stream?.close(); stream = null; } else { listen(); refresh(); }
});
addEventListener("pagehide", () => stream?.close());

// ---------------------------------------------------------------- records: filter, and mark from the picture

function filter() {
  const field = content.querySelector("[data-filter]");
  const wanted = field?.value.trim().toLowerCase() ?? "";
  for (const row of content.querySelectorAll("#records tbody tr")) {
    row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
  }
}

content.addEventListener("input", (event) => { if (event.target.matches("[data-filter]")) filter(); });
content.addEventListener("submit", (event) => { if (event.target.matches(".filter")) event.preventDefault(); });
content.addEventListener("click", (event) => {
  const mark = event.target.closest?.("[data-seq]");
  const row = mark && byId(`r${mark.dataset.seq}`);
  if (!row) return;
  content.querySelector("tr.picked")?.classList.remove("picked");
  row.hidden = false;
  row.classList.add("picked");
  row.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
});

// ---------------------------------------------------------------- keys

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target.matches?.("input, select, textarea");
  if (event.key === "/" && !writing) {
    event.preventDefault();
    byId("wanted").select();
  } else if (event.key === "Escape" && writing) {
    event.target.blur();
  } else if (event.key === "o" && !writing) {
    location.href = "/";
  }
});

listen();
