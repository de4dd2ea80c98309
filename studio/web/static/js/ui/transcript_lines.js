/** All lines of a transcript: what is played is marked, words are chosen, heard and edited. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { begunAt, wordsOf } from "../data/transcript.js";
import { useFrames } from "./frames.js";
import { html } from "./html.js";
import { EARLY_S } from "./transcript_cursor.js";
import { TranscriptLine } from "./transcript_line.js";

/** @typedef {import("./transcript_cursor.js").TranscriptCursor} TranscriptCursor */

/** @param {{ cursor: TranscriptCursor, search: string }} properties */
export function TranscriptLines({ cursor, search }) {
  const { store, player, place, editing } = cursor;
  const list = useRef(/** @type {HTMLOListElement | null} */ (null));
  const wasPlaying = useRef(false);

  useFrames(() => {
    if (!list.current) return;
    const before = list.current.querySelector(".line.now");
    const row = mark(list.current, store.lines, player);
    const isPlaying = player.isPlaying.value;
    const hasBegun = isPlaying && !wasPlaying.current;
    wasPlaying.current = isPlaying;
    // Whoever has scrolled elsewhere reads there.
    const isFollowed = () => isPlaying && row !== before && isSeen(before ?? list.current?.firstElementChild);
    if ((!hasBegun && !isFollowed()) || list.current.querySelector("textarea")) return;
    row?.scrollIntoView({ block: "nearest" });
  }, [player, store]);
  useLayoutEffect(() => {
    if (!cursor.wantsFocus || editing.value) return;
    cursor.wantsFocus = false;
    /** @type {HTMLElement | null | undefined} */
    const word = list.current?.querySelector('.word[tabindex="0"]');
    word?.focus();
  });

  return html`<ol
    class="lines"
    ref=${list}
    onClick=${(/** @type {MouseEvent} */ event) => click(cursor, event)}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => press(cursor, event)}
  >
    ${store.lines.map(
      (line, n) => html`<${TranscriptLine}
        key=${n}
        line=${line}
        n=${n}
        focused=${n === place.line ? place.word : -1}
        editing=${editing.value?.line === n ? editing.value : null}
        search=${search}
        cursor=${cursor}
      />`,
    )}
  </ol>`;
}

/** @param {TranscriptCursor} cursor @param {MouseEvent} event */
function click(cursor, event) {
  const target = /** @type {Element} */ (event.target);
  /** @type {HTMLElement | null} */
  const row = target.closest("[data-line]");
  /** @type {HTMLElement | null} */
  const word = target.closest("[data-word]");
  const line = Number(row?.dataset.line);
  if (word) {
    const place = { line, word: Number(word.dataset.word) };
    cursor.choose(place);
    if (event.detail === 2) cursor.edit(place);
    else cursor.hear(place);
  } else if (target.closest("[data-edit]")) cursor.edit({ line, word: Infinity });
  else if (target.closest("[data-hear]")) cursor.hear({ line, word: 0 });
}

/** @param {TranscriptCursor} cursor @param {KeyboardEvent} event */
function press(cursor, event) {
  const target = /** @type {Element} */ (event.target);
  if (!target.matches(".word") || event.ctrlKey || event.metaKey || event.altKey) return;
  const { place } = cursor;
  const right = getComputedStyle(target).direction === "rtl" ? -1 : 1;
  /** @type {Record<string, () => void>} */
  const actions = {
    Enter: () => cursor.hear(place),
    F2: () => cursor.edit(place),
    e: () => cursor.edit(place),
    c: () => cursor.confirm(),
    ArrowRight: () => cursor.step(right),
    ArrowLeft: () => cursor.step(right === 1 ? -1 : 1),
    ArrowDown: () => cursor.choose({ line: place.line + 1, word: 0 }),
    ArrowUp: () => cursor.choose({ line: place.line - 1, word: 0 }),
    Home: () => cursor.choose({ line: place.line, word: 0 }),
    End: () => cursor.choose({ line: place.line, word: Infinity }),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

/**
 * Mark what is played; its row.
 * @param {Element} list
 * @param {import("../data/transcript.js").Line[]} lines
 * @param {import("../audio/media_player.js").MediaPlayer} player
 */
function mark(list, lines, player) {
  const atS = player.positionS + EARLY_S;
  const n = begunAt(lines, atS);
  const line = lines[n];
  const w = line ? begunAt(wordsOf(line), atS) : -1;
  const row = list.children[n] ?? null;
  const word = row?.querySelector(`[data-word="${w}"]`) ?? null;
  const wordBefore = list.querySelector(".word[aria-current]");
  if (wordBefore !== word) {
    wordBefore?.removeAttribute("aria-current");
    word?.setAttribute("aria-current", "true");
  }
  const rowBefore = list.querySelector(".line.now");
  if (rowBefore !== row) {
    rowBefore?.classList.remove("now");
    row?.classList.add("now");
  }
  return row;
}

/** @param {Element | null | undefined} row */
function isSeen(row) {
  if (!row) return false;
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}
