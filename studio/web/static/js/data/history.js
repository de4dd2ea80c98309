/** A value whose changes can be undone. */
import { signal } from "@preact/signals";

const MAX_STEPS = 200;

/** @template T */
export class History {
  /** @param {T} value */
  constructor(value) {
    this.current = signal(value);
    this.canUndo = signal(false);
    this.canRedo = signal(false);
    /** @type {T[]} */
    this._before = [];
    /** @type {T[]} */
    this._after = [];
  }

  /** Start over. @param {T} value */
  reset(value) {
    this._before = [];
    this._after = [];
    this._show(value);
  }

  /** @param {T} value */
  change(value) {
    if (value === this.current.value) return;
    this._before = [...this._before, this.current.value].slice(-MAX_STEPS);
    this._after = [];
    this._show(value);
  }

  undo() {
    this._step(this._before, this._after);
  }

  redo() {
    this._step(this._after, this._before);
  }

  /** @param {T[]} from @param {T[]} to */
  _step(from, to) {
    if (from.length === 0) return;
    to.push(this.current.value);
    this._show(/** @type {T} */ (from.pop()));
  }

  /** @param {T} value */
  _show(value) {
    this.current.value = value;
    this.canUndo.value = this._before.length > 0;
    this.canRedo.value = this._after.length > 0;
  }
}
