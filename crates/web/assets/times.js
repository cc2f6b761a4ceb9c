// Times by the reader's clock. The server writes them in the zone of the cookie, which only a script can know.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const body = document.body;
const ahead = Date.parse(body.dataset.now) - Date.now();

const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
export const zone = "choseUtc" in body.dataset ? "UTC" : own;

/** Whether the page was written for another zone than the reader's. */
export const zoneIsNew = zone !== body.dataset.zone;

/** Now by the server's clock, in ms. */
export const serverNow = () => Date.now() + ahead;

const parts = new Intl.DateTimeFormat("en-GB", {
  timeZone: zone, hourCycle: "h23",
  year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** `1 May 2026, 02:00:01` */
export function format(ms) {
  const found = Object.fromEntries(parts.formatToParts(ms).map((part) => [part.type, part.value]));
  return `${found.day} ${MONTHS[found.month - 1]} ${found.year}, ${found.hour}:${found.minute}:${found.second}`;
}

/** `12 s ago`, as the server says it. */
export function ago(ms) {
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.round(seconds / 60);
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (minutes < 60) return `${minutes} min ago`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min ago` : `${minutes / 60} h ago`;
}

/** Rewrites the times below an element. */
export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-ago])")) {
    time.textContent = format(Date.parse(time.dateTime)) + (zone === "UTC" ? " UTC" : "");
  }
}

/** Tells how long ago what is below an element was. */
export function age(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    time.textContent = ago(serverNow() - Date.parse(time.dateTime));
  }
}

if (own !== "UTC" || document.cookie.includes("antiphon-zone=")) {
  document.cookie = `antiphon-zone=${encodeURIComponent(own)}; path=/; max-age=31536000; samesite=lax`;
}
