// Cards that follow their sensors: one stream of events for the page.

import { Scroll } from "./scroll.js";
import { ago, serverNow } from "./times.js";

const WORDS = { live: "Live", late: "Late", silent: "Silent", never: "Never heard" };
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const cards = new Map();

for (const card of document.querySelectorAll("[data-sensor]")) {
  const canvas = card.querySelector("canvas.scroll");
  cards.set(card.dataset.sensor, {
    card,
    scroll: canvas && new Scroll(canvas, still),
    silence: card.querySelector(".still-screen"),
    number: card.querySelector("[data-level]"),
    bar: card.querySelector(".bar"),
    fill: card.querySelector(".fill"),
    newest: 0,
  });
  const known = card.querySelector("[data-level]").textContent.trim() !== "–";
  if (known) show(cards.get(card.dataset.sensor), parseFloat(card.querySelector(".bar").getAttribute("aria-valuenow")));
}

function show(entry, level) {
  if (!Number.isFinite(level)) return;
  const least = parseFloat(entry.bar.getAttribute("aria-valuemin"));
  const most = parseFloat(entry.bar.getAttribute("aria-valuemax"));
  const unit = entry.card.querySelector(".unit").textContent;
  entry.number.textContent = level.toFixed(1).replace("-", "\u2212");
  entry.bar.setAttribute("aria-valuenow", level.toFixed(1));
  entry.bar.setAttribute("aria-valuetext", `${level.toFixed(1)} ${unit}`);
  const share = Math.max(0, Math.min(1, (level - least) / (most - least)));
  entry.fill.setAttribute("width", `${(share * 100).toFixed(2)}%`);
}

function bytes(text) {
  const binary = atob(text);
  const found = new Uint8Array(binary.length);
  for (let place = 0; place < binary.length; place++) found[place] = binary.charCodeAt(place);
  return found;
}

function onSecond(event) {
  const second = JSON.parse(event.data);
  const entry = cards.get(second.sensor);
  if (!entry) return;
  const begin = Date.parse(second.time);
  const isPast = !("coverage" in second);
  if (second.rows && entry.scroll) entry.scroll.add(begin, bytes(second.rows), second.mask, isPast);
  // A second that is told again because of a later one is no news.
  if (begin >= entry.newest) {
    entry.newest = begin;
    show(entry, second.level);
  }
}

function onHealth(event) {
  for (const sensor of JSON.parse(event.data).sensors) {
    const entry = cards.get(sensor.id);
    if (!entry) continue;
    for (const badge of document.querySelectorAll(".badge[data-status]")) {
      if (!entry.card.contains(badge) && !badge.closest(".headline")) continue;
      badge.dataset.status = sensor.status;
      badge.textContent = WORDS[sensor.status] ?? sensor.status;
    }
    entry.card.dataset.status = sensor.status;
    const fact = (name) => entry.card.querySelector(`[data-fact=${name}]`);
    fact("gaps_today").textContent = sensor.gaps_today.toLocaleString("en");
    const hours = Math.floor(sensor.seconds_today / 3600);
    const minutes = Math.round((sensor.seconds_today % 3600) / 60);
    if (sensor.seconds_today >= 60) fact("seconds_today").textContent = hours ? `${hours} h ${minutes} min` : `${minutes} min`;
    const heard = entry.card.querySelector("[data-fact=last_heard] time[data-ago]");
    if (heard && sensor.last_heard) {
      heard.dateTime = sensor.last_heard;
      heard.textContent = ago(serverNow() - Date.parse(sensor.last_heard));
    }
  }
}

function onPipeline(event) {
  const figures = JSON.parse(event.data);
  const put = (name, text) => {
    const place = document.querySelector(`[data-figure=${name}]`);
    if (place) place.textContent = text;
  };
  put("waiting", figures.waiting.toLocaleString("en"));
  put("in_work", figures.in_work.toLocaleString("en"));
  put("oldest", `${figures.oldest.toFixed(1)} s`);
  put("accepted", figures.accepted.toLocaleString("en"));
  const words = document.getElementById("pipeline-words");
  if (words) {
    const rate = figures.rate ? ` ${figures.rate.toFixed(1)} recordings arrive a second.` : "";
    words.textContent = (figures.waiting === 0
      ? "Nothing waits: what arrives is analysed at once."
      : "What waits is analysed in its turn; nothing of it is lost.") + rate;
  }
}

let pause = 1_000;
let source = null;

function follow() {
  const asked = [...cards.keys()].map((sensor) => `sensor=${encodeURIComponent(sensor)}`).join("&");
  source = new EventSource(`/live?${asked}`);
  source.addEventListener("second", onSecond);
  source.addEventListener("health", onHealth);
  source.addEventListener("pipeline", onPipeline);
  source.onopen = () => { pause = 1_000; };
  source.onerror = async () => {
    dispatchEvent(new Event("antiphon-lost"));
    if (source.readyState !== EventSource.CLOSED) return;
    // The browser gives up on answers that are no stream. One leads to signing in: then the page does.
    setTimeout(follow, pause);
    pause = Math.min(pause * 2, 15_000);
    const stop = new AbortController();
    const answer = await fetch(`/live?${asked}`, { redirect: "manual", signal: stop.signal }).catch(() => null);
    const wantsKey = answer?.type === "opaqueredirect";
    stop.abort();
    if (wantsKey) location.reload();
  };
}

if (cards.size || document.getElementById("pipeline")) {
  follow();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
  let last = 0;
  const frame = (now) => {
    requestAnimationFrame(frame);
    // Still pictures move once a second.
    if (now - last < (still ? 1_000 : 90)) return;
    last = now;
    for (const { scroll, silence } of cards.values()) {
      scroll?.paint();
      // Until the past is told, what the server said of it holds.
      if (silence && scroll.painted >= 0) silence.hidden = scroll.isHeard();
    }
  };
  requestAnimationFrame(frame);
}
