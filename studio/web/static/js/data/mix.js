/** How a song is mixed: its stems' levels, speed, key and loop. The address holds all of it. */
import { batch, computed, signal } from "@preact/signals";

/** @typedef {import("@preact/signals").Signal<number>} NumberSignal */
/**
 * @typedef {object} Stem
 * @property {string} name
 * @property {number} index of its pair of channels
 * @property {NumberSignal} volume 0 to 2
 * @property {NumberSignal} pan -1 to 1
 * @property {import("@preact/signals").Signal<boolean>} isMuted
 * @property {import("@preact/signals").Signal<boolean>} isSolo
 */

export const SPEEDS = { least: 0.5, most: 1.5, step: 0.05 };
export const KEYS = { least: -12, most: 12, step: 1 };

export class Mix {
  /**
   * @param {string[]} names of the stems
   * @param {URLSearchParams} query
   */
  constructor(names, query) {
    const muted = listed(query, "mute");
    const solo = listed(query, "solo");
    /** @type {Stem[]} */
    this.stems = names.map((name, index) => ({
      name,
      index,
      volume: signal(numberOf(query, `volume.${name}`, 1, 0, 2)),
      pan: signal(numberOf(query, `pan.${name}`, 0, -1, 1)),
      isMuted: signal(muted.has(name)),
      isSolo: signal(solo.has(name)),
    }));
    this.speed = signal(numberOf(query, "speed", 1, SPEEDS.least, SPEEDS.most));
    this.key = signal(numberOf(query, "key", 0, KEYS.least, KEYS.most));
    /** The level of the metronome, 0 to 2. */
    this.click = signal(numberOf(query, "click", 0, 0, 2));
    /** The loop in seconds; NaN where it is open. */
    this.loopFrom = signal(numberOf(query, "from", NaN, 0, Infinity));
    this.loopTo = signal(numberOf(query, "to", NaN, 0, Infinity));
    this.hasSolo = computed(() => this.stems.some((stem) => stem.isSolo.value));
  }

  /** The gain that a stem is heard with. @param {Stem} stem */
  gain(stem) {
    const isHeard = !stem.isMuted.value && (!this.hasSolo.value || stem.isSolo.value);
    return isHeard ? stem.volume.value : 0;
  }

  get hasLoop() {
    return this.loopTo.value > this.loopFrom.value;
  }

  toggleClick() {
    this.click.value = this.click.value > 0 ? 0 : 1;
  }

  /** The loop between two times in any order. @param {number} oneS @param {number} otherS */
  setLoop(oneS, otherS) {
    batch(() => {
      this.loopFrom.value = Math.min(oneS, otherS);
      this.loopTo.value = Math.max(oneS, otherS);
    });
  }

  /** Whether exactly the stems of a preset are heard, at their own level. @param {(name: string) => boolean} isHeard */
  isPreset(isHeard) {
    return this.stems.every((stem) => this.gain(stem) === (isHeard(stem.name) ? 1 : 0));
  }

  /** The parameters with which the server makes this mix. */
  query() {
    const query = new URLSearchParams();
    const lanes = this.stems.map((stem) => ({ name: stem.name, gain: this.gain(stem), pan: stem.pan.value }));
    for (const { name, gain, pan } of lanes) {
      if (gain !== 1) query.set(name, String(rounded(gain)));
      if (gain !== 0 && pan !== 0) query.set(`${name}.pan`, String(rounded(pan)));
    }
    if (this.key.value !== 0) query.set("key", String(this.key.value));
    if (this.speed.value !== 1) query.set("tempo", String(rounded(this.speed.value)));
    if (this.click.value > 0) query.set("click", String(rounded(this.click.value)));
    const isLouder = this.click.value > 0 || lanes.some(({ gain, pan }) => gain > 1 || pan !== 0);
    if (isLouder) query.set("peak_safe", "true");
    return query;
  }

  /** @param {(name: string) => boolean} isHeard */
  preset(isHeard) {
    batch(() => {
      for (const stem of this.stems) {
        stem.isMuted.value = !isHeard(stem.name);
        stem.isSolo.value = false;
        stem.volume.value = 1;
      }
    });
  }

  /**
   * The state for the query of the address; null for values that are the usual ones.
   * @returns {Record<string, string | null>}
   */
  state() {
    const names = (/** @type {(stem: Stem) => boolean} */ matches) =>
      this.stems.filter(matches).map((stem) => stem.name).join(",") || null;
    /** @type {Record<string, string | null>} */
    const values = {
      mute: names((stem) => stem.isMuted.value),
      solo: names((stem) => stem.isSolo.value),
      speed: written(this.speed.value, 1),
      key: written(this.key.value, 0),
      click: written(this.click.value, 0),
      from: this.hasLoop ? written(this.loopFrom.value, NaN) : null,
      to: this.hasLoop ? written(this.loopTo.value, NaN) : null,
    };
    for (const stem of this.stems) {
      values[`volume.${stem.name}`] = written(stem.volume.value, 1);
      values[`pan.${stem.name}`] = written(stem.pan.value, 0);
    }
    return values;
  }
}

/** The names of the stems in a file with all of them, each of which has two channels. @param {any} stems */
export function stemNames(stems) {
  return stems.channels.filter((/** @type {string} */ _, /** @type {number} */ n) => n % 2 === 0);
}

/** @param {URLSearchParams} query @param {string} name */
function listed(query, name) {
  return new Set((query.get(name) ?? "").split(",").filter(Boolean));
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {number} usual
 * @param {number} least
 * @param {number} most
 */
function numberOf(query, name, usual, least, most) {
  const text = query.get(name);
  const value = Number(text);
  return text === null || Number.isNaN(value) ? usual : Math.min(most, Math.max(least, value));
}

/** @param {number} value @param {number} usual */
function written(value, usual) {
  return value === usual ? null : String(rounded(value));
}

/** @param {number} value */
function rounded(value) {
  return Math.round(value * 1000) / 1000;
}
