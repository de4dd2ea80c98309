/** A long list, a part at a time, so that the page stays small. */
import { useState } from "preact/hooks";
import { t } from "../words.js";
import { html } from "./html.js";

const STEP = 50;

/**
 * @param {{ items: any[], render: (item: any) => any, onMore?: (() => void) | null }} properties
 *   `onMore` gets more items than there are; null if there are none.
 */
export function More({ items, render, onMore = null }) {
  const [count, setCount] = useState(STEP);
  const more = () => {
    if (count + STEP > items.length) onMore?.();
    setCount(count + STEP);
  };
  return html`<ul class="list">
      ${items.slice(0, count).map(render)}
    </ul>
    ${(items.length > count || onMore) && html`<p><button onClick=${more}>${t("songs.more")}</button></p>`}`;
}
