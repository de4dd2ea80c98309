/** A list that this browser stores and that all its tabs show. */
import { signal } from "@preact/signals";
import { store, stored } from "./stored.js";

/** @template Item */
export class KeptList {
  /**
   * @param {string} key
   * @param {object} kind
   * @param {(item: Item) => string} kind.idOf
   * @param {(record: any) => Item} kind.made an item from what is stored
   * @param {(item: Item) => any} kind.recordOf what is stored of an item
   */
  constructor(key, { idOf, made, recordOf }) {
    this.key = key;
    this.idOf = idOf;
    this.made = made;
    this.recordOf = recordOf;
    /** @type {import("@preact/signals").Signal<Item[]>} */
    this.items = signal(this._stored(new Map()));
    /** Whether this browser stores the list. */
    this.isStored = signal(true);
    addEventListener("storage", (event) => {
      if (event.key === key) this._read();
    });
    // Pages in the back-forward cache get no events of other tabs.
    addEventListener("pageshow", (event) => {
      if (event.persisted) this._read();
    });
  }

  /** @param {Map<string, Item>} known items that stay the same objects @returns {Item[]} */
  _stored(known) {
    try {
      /** @type {Item[]} */
      const items = JSON.parse(stored(this.key) ?? "[]").map(this.made);
      return items.map((item) => known.get(this.idOf(item)) ?? item);
    } catch {
      return [];
    }
  }

  /** Take over what other tabs have changed. */
  _read() {
    if (!this.isStored.value) return;
    this.items.value = this._stored(new Map(this.items.value.map((item) => [this.idOf(item), item])));
  }

  /** Change the list, with the changes of other tabs. @param {(items: Item[]) => Item[]} change */
  change(change) {
    this._read();
    this.items.value = change(this.items.value);
    this.isStored.value = store(this.key, JSON.stringify(this.items.value.map(this.recordOf)));
  }
}
