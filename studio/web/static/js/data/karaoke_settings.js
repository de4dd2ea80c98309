/** How a song is sung along to: in the address, but for the offset, which is kept for the song. */
import { signal } from "@preact/signals";
import { followInAddress } from "../route.js";
import { KEYS, Mix } from "./mix.js";
import { offsetKey, store, stored } from "./stored.js";

export const MAX_GUIDE = 0.3;
export const OFFSET_STEP_MS = 50;
const MAX_OFFSET_MS = 2000;

export class KaraokeSettings {
  /** @param {string} id of the file @param {string[]} names of the stems */
  constructor(id, names) {
    const query = new URLSearchParams(location.search);
    const guide = Math.min(MAX_GUIDE, Math.max(0, Number(query.get("guide")) / 100 || 0));
    const initial = new URLSearchParams({ "volume.vocals": String(guide) });
    for (const name of ["key", "speed"]) if (query.has(name)) initial.set(name, query.get(name) ?? "");
    this.mix = new Mix(names, initial);
    const vocals = this.mix.stems.find((stem) => stem.name === "vocals");
    /** The level of the vocals, 0 to 0.3. */
    this.guide = vocals?.volume ?? signal(0);
    this._key = offsetKey(id);
    /** How much later the words are shown. */
    this.offsetMs = signal(Number(stored(this._key)) || 0);
    /** No longer keep the settings in the address. */
    this.close = followInAddress(() => this._state());
  }

  /** @param {1 | -1} steps */
  shift(steps) {
    const shifted = this.offsetMs.value + steps * OFFSET_STEP_MS;
    this.offsetMs.value = Math.min(MAX_OFFSET_MS, Math.max(-MAX_OFFSET_MS, shifted));
    store(this._key, String(this.offsetMs.value));
  }

  /** @param {1 | -1} semitones */
  transpose(semitones) {
    this.mix.key.value = Math.min(KEYS.most, Math.max(KEYS.least, this.mix.key.value + semitones));
  }

  /** The query of a video that sounds and looks like this page. */
  video() {
    const { key, speed } = this.mix;
    return new URLSearchParams({
      vocals: String(this.guide.value),
      key: String(key.value),
      tempo: String(speed.value),
      offset_ms: String(this.offsetMs.value),
    });
  }

  _state() {
    const percent = Math.round(this.guide.value * 100);
    const { key = null, speed = null } = this.mix.state();
    return { guide: percent > 0 ? String(percent) : null, key, speed };
  }
}
