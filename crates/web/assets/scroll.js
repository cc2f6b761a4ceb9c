// A spectrogram that scrolls: a ring of the newest rows, painted ten times a second. Its memory does not grow.

import { SHADES } from "./colours.js";
import { serverNow } from "./times.js";

const BANDS = 64;
const COLUMNS = 400;
const ROWS_A_SECOND = 10;
// How late seconds come until the first one tells, in ms.
const USUAL_DELAY = 3_000;
// What is quietest and loudest of what is shown, as shares of all values; and the least that lies between, in steps of
// half a decibel, so that silence is not blown up to noise.
const DARKEST = 0.05;
const LIGHTEST = 0.998;
const SPAN = 60;
// What was not heard is grey, as nothing that was heard is.
const GAP = [72, 78, 84];

export class Scroll {
  constructor(canvas, isStill) {
    this.canvas = canvas;
    this.isStill = isStill;
    canvas.width = COLUMNS;
    canvas.height = BANDS;
    canvas.hidden = false;
    this.context = canvas.getContext("2d", { alpha: false });
    this.image = this.context.createImageData(COLUMNS, BANDS);
    this.image.data.fill(255);
    this.data = new Uint8Array(COLUMNS * BANDS);
    this.stamps = new Float64Array(COLUMNS).fill(-1);
    this.counts = new Uint32Array(256);
    this.first = null;
    this.newest = -1;
    this.delay = null;
    this.range = [80, 160];
    this.painted = -1;
  }

  /** Takes the rows of the second that begins at `ms`. */
  add(ms, rows, mask, isPast) {
    const begin = Math.round(ms / 100);
    for (let row = 0; row < ROWS_A_SECOND; row++) {
      if (!(mask & (1 << row))) continue;
      const place = (begin + row) % COLUMNS;
      this.stamps[place] = begin + row;
      this.newest = Math.max(this.newest, begin + row);
      this.data.set(rows.subarray(row * BANDS, (row + 1) * BANDS), place * BANDS);
    }
    this.first = this.first === null ? begin : Math.min(this.first, begin);
    this.adapt();
    if (isPast) return;
    // How late seconds come, as the latest do: rows appear one after the other instead of ten at once.
    const delay = Date.now() - ms;
    this.delay = this.delay === null ? delay : Math.max(delay, this.delay - 20);
  }

  adapt() {
    this.counts.fill(0);
    let all = 0;
    for (let place = 0; place < COLUMNS; place++) {
      if (this.stamps[place] < 0) continue;
      for (let band = 0; band < BANDS; band++) this.counts[this.data[place * BANDS + band]]++;
      all += BANDS;
    }
    const at = (share) => {
      let left = all * share;
      for (let value = 0; value < 256; value++) {
        left -= this.counts[value];
        if (left <= 0) return value;
      }
      return 255;
    };
    const light = at(LIGHTEST);
    const dark = Math.min(at(DARKEST), light - SPAN);
    // Slowly, so that one bang does not make everything dark at once.
    this.range = this.painted < 0 ? [dark, light] : [
      this.range[0] + (dark - this.range[0]) * 0.2, this.range[1] + (light - this.range[1]) * 0.2,
    ];
  }

  /** Whether anything that was heard is in the picture. */
  isHeard() {
    return this.newest >= 0 && this.newest > this.painted - COLUMNS;
  }

  paint() {
    if (this.first === null) return;
    const delay = this.delay ?? Date.now() - serverNow() + USUAL_DELAY;
    const now = Math.floor((Date.now() - delay) / 100) + 1;
    if (now === this.painted) return;
    this.painted = now;
    const pixels = this.image.data;
    const [dark, light] = this.range;
    const scale = (SHADES.length - 1) / Math.max(1, light - dark);
    for (let x = 0; x < COLUMNS; x++) {
      // Scrolling moves everything; still, only the place that is written moves.
      const stamp = this.isStill ? now - ((now - x) % COLUMNS + COLUMNS) % COLUMNS : now - COLUMNS + 1 + x;
      const place = ((stamp % COLUMNS) + COLUMNS) % COLUMNS;
      const heard = this.stamps[place] === stamp;
      const before = stamp < this.first;
      for (let band = 0; band < BANDS; band++) {
        let colour = before ? SHADES[0] : GAP;
        if (heard) {
          const shade = Math.round((this.data[place * BANDS + band] - dark) * scale);
          colour = SHADES[Math.max(0, Math.min(SHADES.length - 1, shade))];
        }
        const pixel = ((BANDS - 1 - band) * COLUMNS + x) * 4;
        pixels[pixel] = colour[0];
        pixels[pixel + 1] = colour[1];
        pixels[pixel + 2] = colour[2];
      }
      if (this.isStill && stamp === now) {
        for (let band = 0; band < BANDS; band++) pixels.fill(255, (band * COLUMNS + x) * 4, (band * COLUMNS + x) * 4 + 3);
      }
    }
    this.context.putImageData(this.image, 0, 0);
  }
}
