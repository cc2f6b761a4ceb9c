// Figures over time answer to pointer and keyboard: a drag zooms in, pointing tells the value.

import { format } from "./times.js";

const SHORTEST = 2_000;
const TOUCHED = 6;

/** Makes the figures below `root` answer; `go(from, to)` shows another range, in ms, and `back()` the first one. */
export function attach(root, go, back) {
  for (const figure of root.querySelectorAll("figure.timeline")) answer(figure, go, back);
}

function answer(figure, go, back) {
  const plane = figure.querySelector(".plane");
  const from = Date.parse(figure.dataset.from);
  const to = Date.parse(figure.dataset.to);
  const chart = plane.querySelector("svg.chart");
  const values = chart ? chart.dataset.values.split(",") : [];
  const step = chart ? Number(chart.dataset.step) : 0;
  const first = chart ? Number(chart.dataset.first) : 0;
  plane.tabIndex = 0;
  plane.setAttribute("role", "group");
  plane.setAttribute("aria-label", "Chart: arrows move, plus and minus zoom, 0 goes back");
  const add = (name) => {
    const element = document.createElement("div");
    element.className = name;
    element.hidden = true;
    plane.append(element);
    return element;
  };
  const [cursor, tip, chosen] = [add("cursor"), add("tip"), add("chosen")];
  let begun = null;

  const share = (event) => {
    const box = plane.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  const at = (part) => from + part * (to - from);

  function point(part) {
    const time = at(part);
    const value = step ? values[Math.floor((time - first) / step)] : undefined;
    cursor.style.left = `${part * 100}%`;
    tip.style.left = `${Math.max(12, Math.min(88, part * 100))}%`;
    const words = value === undefined || value === "" ? "" : `${value.replace("-", "\u2212")} · `;
    tip.textContent = words + format(time);
    cursor.hidden = tip.hidden = false;
  }

  function hide() {
    cursor.hidden = tip.hidden = chosen.hidden = true;
    begun = null;
  }

  plane.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    begun = { part: share(event), x: event.clientX };
    plane.setPointerCapture(event.pointerId);
  });
  plane.addEventListener("pointermove", (event) => {
    const part = share(event);
    point(part);
    if (!begun) return;
    chosen.style.left = `${Math.min(part, begun.part) * 100}%`;
    chosen.style.width = `${Math.abs(part - begun.part) * 100}%`;
    chosen.hidden = Math.abs(event.clientX - begun.x) < TOUCHED;
  });
  plane.addEventListener("pointerup", (event) => {
    const start = begun;
    const part = share(event);
    hide();
    if (!start || Math.abs(event.clientX - start.x) < TOUCHED) return;
    const [left, right] = [at(Math.min(part, start.part)), at(Math.max(part, start.part))];
    go(left, Math.max(right, left + SHORTEST));
  });
  plane.addEventListener("pointercancel", hide);
  plane.addEventListener("pointerleave", () => { if (!begun) hide(); });
  plane.addEventListener("dragstart", (event) => event.preventDefault());
  plane.addEventListener("dblclick", () => back());
  plane.addEventListener("keydown", (event) => {
    const length = to - from;
    const moves = {
      ArrowLeft: () => go(from - length / 4, to - length / 4),
      ArrowRight: () => go(from + length / 4, to + length / 4),
      "+": () => zoom(0.5),
      "=": () => zoom(0.5),
      "-": () => zoom(2),
      0: () => back(),
    };
    const zoom = (factor) => {
      const half = Math.max(SHORTEST, length * factor) / 2;
      const middle = (from + to) / 2;
      go(middle - half, middle + half);
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
}
