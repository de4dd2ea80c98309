/** A long list, a part at a time, so that the page stays small. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../words.js";
import { html } from "./html.js";

export const STEP = 50;

/**
 * @param {{ items: any[], render: (item: any) => any, count: import("@preact/signals").Signal<number>,
 *   onMore?: (() => void) | null }} properties
 *   `count` of the page outlives it, for those who come back; `onMore` gets more items than there are; null if there
 *   are none.
 */
export function More({ items, render, count, onMore = null }) {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  /** The first item that the button added. */
  const first = useRef(/** @type {number | null} */ (null));
  const hasMore = items.length > count.value || onMore !== null;
  const more = () => {
    first.current = Math.min(count.value, items.length);
    if (count.value + STEP > items.length) onMore?.();
    count.value += STEP;
  };
  useLayoutEffect(() => {
    if (first.current === null) return;
    const added = /** @type {HTMLElement | undefined} */ (list.current?.children[first.current]);
    if (added || !hasMore) first.current = null;
    // The focus was on the button, which is gone.
    if (!added || hasMore || document.activeElement !== document.body) return;
    added.tabIndex = -1;
    added.focus();
  });
  return html`<ul class="list" ref=${list}>
      ${items.slice(0, count.value).map(render)}
    </ul>
    ${hasMore && html`<p><button onClick=${more}>${t("songs.more")}</button></p>`}`;
}
