// The play head: everything found in a song, in step with what is heard.

const player = document.getElementById("player");
const stack = document.getElementById("stack");
const head = document.getElementById("head");

if (player && stack) {
  const duration = Number(stack.dataset.duration);
  const lanes = [...stack.querySelectorAll(".lane[data-values]")].map((lane) => ({
    values: lane.dataset.values.split(","),
    now: lane.querySelector(".now"),
  }));
  let last = -1;

  const show = () => {
    const time = Math.min(player.currentTime, duration);
    head.hidden = false;
    head.style.left = `${(time / duration) * 100}%`;
    const second = Math.floor(time);
    if (second === last) return;
    last = second;
    for (const { values, now } of lanes) {
      const value = values[Math.min(values.length - 1, Math.floor((time / duration) * values.length))];
      now.textContent = value ? value.replace("-", "\u2212") : "";
    }
  };
  const run = () => {
    show();
    if (!player.paused) requestAnimationFrame(run);
  };
  const seek = (event) => {
    const box = stack.getBoundingClientRect();
    player.currentTime = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * duration;
    show();
  };

  player.addEventListener("play", run);
  player.addEventListener("seeked", show);
  player.addEventListener("timeupdate", show);
  stack.addEventListener("click", (event) => {
    seek(event);
    player.play().catch(() => {});
  });
  stack.tabIndex = 0;
  stack.setAttribute("role", "group");
  stack.setAttribute("aria-label", "The song over time: space starts and stops, arrows move by five seconds");
  stack.addEventListener("keydown", (event) => {
    const moves = {
      " ": () => (player.paused ? player.play().catch(() => {}) : player.pause()),
      ArrowLeft: () => { player.currentTime = Math.max(0, player.currentTime - 5); },
      ArrowRight: () => { player.currentTime = Math.min(duration, player.currentTime + 5); },
      Home: () => { player.currentTime = 0; },
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
}
