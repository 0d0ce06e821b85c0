// The views come whole from the server. This keeps the one that is shown up to date without a
// reload: the sidecar says when something has changed, and the content is fetched anew.

const PATIENCE_MS = 8000;
const CALM_MS = 1000; // between two refreshes, however much happens
const STORY_MS = 10000;

const byId = (id) => document.getElementById(id);
const content = byId("content");

// ---------------------------------------------------------------- what must survive a refresh

/** What a details element is of: the record, the switch, the part of the page. */
function nameOf(one) {
  const of = one.closest("tr[id], [data-key]");
  return of ? of.id || of.dataset.key : one.className || one.querySelector("summary")?.textContent || "";
}

/** What a person has opened, filtered, scrolled to; forms that are begun keep a refresh away. */
function remember() {
  const opened = new Map([...content.querySelectorAll("details")].map((one) => [nameOf(one), one.open]));
  const scrolled = new Map([...content.querySelectorAll(".wide")].map((one) => [one.ariaLabel, [one.scrollLeft, one.scrollTop]]));
  const field = content.querySelector("[data-filter]");
  const link = document.activeElement?.closest?.("#content a")?.getAttribute("href") ?? null;
  return { opened, scrolled, link, wanted: field?.value ?? "", filtering: field === document.activeElement, at: field?.selectionStart ?? 0 };
}

function restore(known) {
  for (const one of content.querySelectorAll("details")) {
    const open = known.opened.get(nameOf(one));
    if (open !== undefined) one.open = open;
  }
  for (const one of content.querySelectorAll(".wide")) {
    const place = known.scrolled.get(one.ariaLabel);
    if (place) [one.scrollLeft, one.scrollTop] = place;
  }
  const field = content.querySelector("[data-filter]");
  if (field) {
    field.value = known.wanted;
    if (known.filtering) { field.focus({ preventScroll: true }); field.setSelectionRange(known.at, known.at); }
  }
  if (known.link !== null) content.querySelector(`a[href="${CSS.escape(known.link)}"]`)?.focus({ preventScroll: true });
}

/** Whether somebody is in the middle of something: a form that is begun, text that is marked. */
function busy() {
  if (!getSelection().isCollapsed && content.contains(getSelection().anchorNode)) return true;
  return [...content.querySelectorAll("form:not(.filter)")].some((form) => form.contains(document.activeElement)
    || [...form.querySelectorAll("input")].some((one) => one.value !== one.defaultValue)
    || [...form.querySelectorAll("option")].some((one) => one.selected !== one.defaultSelected && one.closest("select").selectedIndex > 0));
}

// ---------------------------------------------------------------- live

let lastGood = Date.now();
let asking = false;
let again = false;

function lost(gone) {
  byId("lost").hidden = !gone;
  byId("lost-at").textContent = `${new Date(lastGood).toISOString().slice(11, 19)} UTC`;
  document.body.classList.toggle("stale", gone);
}

async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok && answer.status !== 404) throw new Error(`it answers ${answer.status}`);
    const said = new DOMParser().parseFromString(await answer.text(), "text/html");
    lastGood = Date.now();
    lost(false);
    const fresh = said.getElementById("content");
    if (busy()) again = true;
    else if (fresh) show(fresh, said);
  } catch {
    lost(true);
  } finally {
    asking = false;
    if (again) { again = false; soon(); }
  }
}

function show(fresh, said) {
  const before = new Set([...content.querySelectorAll("[data-key]")].map((one) => one.dataset.key));
  const headline = content.querySelector(".headline")?.textContent;
  const known = remember();
  content.replaceChildren(...fresh.childNodes);
  content.dataset.live = fresh.dataset.live;
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
  if (document.hidden || waiting || content.dataset.live === "no") return;
  // a story is read from all that is kept: not more often than it can be followed
  const calm = content.dataset.live === "figures" ? CALM_MS : STORY_MS;
  waiting = setTimeout(() => { waiting = 0; refresh(); }, Math.max(CALM_MS, lastGood + calm - Date.now()));
}

let stream = null;
function listen() {
  if (content.dataset.live === "no" || document.hidden) return;
  stream?.close();
  stream = new EventSource("/api/v1/events");
  stream.addEventListener("changed", soon);
  stream.addEventListener("figures", () => { if (content.dataset.live === "figures") soon(); });
  stream.addEventListener("open", () => { if (document.body.classList.contains("stale")) refresh(); });
  stream.addEventListener("error", () => {
    lost(true);
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stream?.close(); stream = null; } else if (content.dataset.live !== "no") { listen(); refresh(); }
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
  for (const one of content.querySelectorAll(".picked, .tl-lit")) one.classList.remove("picked", "tl-lit");
  row.hidden = false;
  row.classList.add("picked");
  mark.classList.add("tl-lit");
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
