// What every page does: times by the reader's clock, and saying when the server is away.

import { age, localise, zone, zoneIsNew } from "./times.js";

const LOOK_EVERY = 15_000;
const LOOK_AGAIN = 3_000;

const banner = document.getElementById("lost");
let isLost = false;
let timer = 0;

function tell(lost) {
  if (lost === isLost) return;
  isLost = lost;
  if (lost) {
    banner.textContent = "The server does not answer. This page goes on by itself as soon as it does.";
    banner.hidden = false;
  } else {
    banner.hidden = true;
    banner.textContent = "";
    dispatchEvent(new Event("antiphon-back"));
  }
}

async function look() {
  clearTimeout(timer);
  try {
    const answer = await fetch("/livez", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    tell(!answer.ok);
  } catch {
    tell(true);
  }
  timer = setTimeout(look, isLost ? LOOK_AGAIN : LOOK_EVERY);
}

addEventListener("antiphon-lost", () => { if (!isLost) look(); });
addEventListener("offline", look);
addEventListener("online", look);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else look();
});
timer = setTimeout(look, LOOK_EVERY);

for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;
if (zoneIsNew) {
  localise(document);
  const name = document.querySelector("#zone strong");
  if (name) name.textContent = zone.replaceAll("_", " ");
}
setInterval(() => age(document), 1_000);
