// The range of a sensor's page changes without the page: its part is fetched and exchanged.

import { attach } from "./chart.js";
import { localise, zoneIsNew } from "./times.js";

const REFRESH = 20_000;

const root = document.getElementById("range");
const path = root.dataset.path;
const first = location.search;
let asked = new AbortController();

async function load(search, remember) {
  asked.abort();
  asked = new AbortController();
  const focused = root.contains(document.activeElement) ? [...root.querySelectorAll(".plane")].indexOf(document.activeElement) : -1;
  root.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`${path}/chart${search}`, { signal: asked.signal, headers: { accept: "text/html" } });
    if (answer.redirected || !answer.ok) {
      // Signing in, or a page that says what is wrong.
      location.assign(path + search);
      return;
    }
    const text = await answer.text();
    root.innerHTML = text;
    if (remember) history.pushState(null, "", path + search);
    ready();
    if (focused >= 0) root.querySelectorAll(".plane")[focused]?.focus({ preventScroll: true });
  } catch (error) {
    if (error.name === "AbortError") return;
    dispatchEvent(new Event("antiphon-lost"));
  }
  root.removeAttribute("aria-busy");
}

function choice() {
  const kept = new URLSearchParams(location.search);
  const wanted = new URLSearchParams();
  for (const name of ["feature", "stat"]) if (kept.get(name)) wanted.set(name, kept.get(name));
  return wanted;
}

function go(from, to) {
  const wanted = choice();
  wanted.set("from", new Date(Math.round(from)).toISOString());
  wanted.set("to", new Date(Math.round(to)).toISOString());
  load(`?${wanted}`, true);
}

function ready() {
  attach(root, go, () => load(first, true));
  for (const hint of root.querySelectorAll(".scripted")) hint.hidden = false;
  if (zoneIsNew) localise(root);
}

root.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-range]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  load(new URL(link.href).search, true);
});
root.addEventListener("submit", (event) => {
  if (!event.target.matches("form.range")) return;
  event.preventDefault();
  const wanted = new URLSearchParams(new FormData(event.target));
  if (!wanted.get("stat")) wanted.delete("stat");
  load(`?${wanted}`, true);
});
root.addEventListener("change", (event) => {
  if (event.target.id !== "feature" && event.target.id !== "stat") return;
  const wanted = new URLSearchParams(location.search);
  wanted.set(event.target.id, event.target.value);
  // Another feature has other statistics.
  if (event.target.id === "feature" || !event.target.value) wanted.delete("stat");
  load(`?${wanted}`, true);
});
addEventListener("popstate", () => load(location.search, false));
addEventListener("antiphon-back", () => load(location.search, false));

// A short range that ends now moves on, unless somebody is busy with it.
setInterval(() => {
  const last = new URLSearchParams(location.search).get("last");
  if ((last === "10m" || last === "1h") && !document.hidden && !root.matches(":hover, :focus-within")) load(location.search, false);
}, REFRESH);

ready();
// The first page was written before the reader's zone was known.
if (zoneIsNew) load(location.search, false);
