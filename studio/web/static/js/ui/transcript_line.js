/** A line of a transcript: its words, or the field in which they are edited. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { beforeEnd } from "../data/leaving.js";
import { isDoubtful, wordsOf } from "../data/transcript.js";
import { t } from "../words.js";
import { clock, number } from "./format.js";
import { html } from "./html.js";

/** @typedef {import("../data/transcript.js").Line} Line */
/** @typedef {import("../data/transcript.js").Word} Word */

/** @typedef {import("./transcript_cursor.js").TranscriptCursor} TranscriptCursor */

/**
 * @param {{ line: Line, n: number, focused: number, editing: { caret: number } | null,
 *   search: string, cursor: TranscriptCursor }} properties `focused` is a word or -1
 */
export function TranscriptLine({ line, n, focused, editing, search, cursor }) {
  const { language } = cursor.store.file;
  const row = useRef(/** @type {HTMLLIElement | null} */ (null));
  const [isSeen, setSeen] = useState(n < 30);
  // Hours of speech have more words than a page can hold as elements.
  useEffect(() => {
    if (isSeen || !row.current) return undefined;
    const seen = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
      },
      { rootMargin: "600px" },
    );
    seen.observe(row.current);
    return () => seen.disconnect();
  }, [isSeen]);

  const words = useMemo(
    () => (isSeen || focused >= 0 ? drawn(wordsOf(line), focused, search) : line.text.trim()),
    [line, isSeen, focused, search],
  );
  const time = clock(line.start_s);
  return html`<li class="line" ref=${row} data-line=${n}>
    <button class="quiet time" tabindex="-1" data-hear aria-label=${t("line.hear", { time })}>${time}</button>
    ${editing === null
      ? html`<p class="line-words" dir="auto" lang=${language}>${words}</p>
          <button class="quiet" tabindex="-1" data-edit aria-label=${t("line.edit", { time })} title=${t("line.edit.title")}>
            ✎
          </button>`
      : html`<${Field} text=${line.text.trim()} editing=${editing} label=${t("line.text", { time })}
          cursor=${cursor} />`}
  </li>`;
}

/** @param {Word[]} words @param {number} focused @param {string} search */
function drawn(words, focused, search) {
  const hits = hitsIn(words, search);
  return words.map((word, w) => {
    const text = word.text.trim();
    const doubt = isDoubtful(word) ? t("word.doubtful", { percent: number(word.probability * 100) }) : null;
    return html`${/^\s/.test(word.text) ? " " : ""}<span
        class=${["word", doubt && "doubtful", hits.has(w) && "hit"].filter(Boolean).join(" ")}
        role="button"
        tabindex=${w === focused ? 0 : -1}
        data-word=${w}
        title=${doubt}
        aria-label=${doubt && `${text}, ${doubt}`}
        >${text}</span
      >`;
  });
}

/** The words that a search finds, also across words. @param {Word[]} words @param {string} search */
function hitsIn(words, search) {
  /** @type {Set<number>} */
  const hits = new Set();
  if (!search) return hits;
  const texts = words.map((word) => word.text.toLocaleLowerCase());
  const whole = texts.join("");
  for (let from = whole.indexOf(search); from >= 0; from = whole.indexOf(search, from + search.length)) {
    let at = 0;
    texts.forEach((text, w) => {
      if (at < from + search.length && at + text.length > from) hits.add(w);
      at += text.length;
    });
  }
  return hits;
}

/** @param {{ text: string, editing: { caret: number }, label: string, cursor: TranscriptCursor }} properties */
function Field({ text, editing, label, cursor }) {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  // Leaving the field ends the edit, unless a key has done so already.
  const isDone = useRef(false);
  useLayoutEffect(() => {
    const target = field.current;
    if (!target) return undefined;
    isDone.current = false;
    target.value = text;
    target.focus();
    target.setSelectionRange(editing.caret, editing.caret);
    fit(target);
    const left = () => cursor.end(target.value, false);
    // Before the text is kept in this browser, which happens at the same event.
    const stop = beforeEnd(() => leave(left), true);
    return () => {
      stop();
      // Firefox and Safari send no blur event for a field that is removed.
      if (!isDone.current && cursor.editing.value === editing) leave(left);
    };
  }, [editing]);

  const leave = (/** @type {() => void} */ act) => {
    isDone.current = true;
    act();
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLTextAreaElement} */ (event.currentTarget);
    const { value, selectionStart: from, selectionEnd: to } = target;
    // Safari ends a composition before the key that ends it, which has this code.
    if (event.isComposing || event.keyCode === 229) return;
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey;
    /** @type {(() => void) | undefined} */
    let act;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) cursor.hearAt(value, from);
    else if (event.key === "Enter") act = () => cursor.split(value.slice(0, from), value.slice(to));
    else if (event.key === "Escape") act = () => cursor.end(value, true);
    else if (!isPlain || from !== to) return;
    else if (event.key === "Backspace" && from === 0) act = () => cursor.join(value, -1);
    else if (event.key === "Delete" && from === value.length) act = () => cursor.join(value, 1);
    else if (event.key === "ArrowUp" && from === 0) act = () => cursor.go(value, -1);
    else if (event.key === "ArrowDown" && from === value.length) act = () => cursor.go(value, 1);
    else return;
    event.preventDefault();
    if (act) leave(act);
  };
  return html`<textarea
    ref=${field}
    class="line-field"
    rows="1"
    dir="auto"
    lang=${cursor.store.file.language}
    aria-label=${label}
    onKeyDown=${pressed}
    onInput=${(/** @type {any} */ event) => fit(event.currentTarget)}
    onBlur=${(/** @type {any} */ event) => {
      const { value } = event.currentTarget;
      if (!isDone.current) leave(() => cursor.end(value, false));
    }}
  ></textarea>`;
}

/** Make a field as high as its text. @param {HTMLTextAreaElement} field */
function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}
