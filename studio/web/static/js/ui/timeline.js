/** The lanes' common time: the playhead, clicks that seek, and drags that set a loop. */
import { useEffect, useRef } from "preact/hooks";
import { clock } from "./format.js";
import { html } from "./html.js";

/** Shorter drags are clicks. */
const MIN_DRAG_PX = 6;

/** @param {{ player: import("../audio/stem_player.js").StemPlayer, children: any }} properties */
export function Timeline({ player, children }) {
  const root = useRef(/** @type {HTMLElement | null} */ (null));

  useEffect(() => {
    let frame = 0;
    const tick = () => {
      player.followLoop();
      if (root.current) show(root.current, player);
      frame = requestAnimationFrame(tick);
    };
    tick();
    return () => cancelAnimationFrame(frame);
  }, [player]);

  const press = (/** @type {PointerEvent} */ down) => {
    const wave = down.target instanceof Element ? down.target.closest(".wave") : null;
    if (!wave || down.button !== 0) return;
    const secondsAt = (/** @type {number} */ x) => {
      const { left, width } = wave.getBoundingClientRect();
      return (Math.min(1, Math.max(0, (x - left) / width))) * player.durationS.value;
    };
    const release = (/** @type {PointerEvent} */ up) => {
      const [from, to] = [secondsAt(down.clientX), secondsAt(up.clientX)];
      if (Math.abs(up.clientX - down.clientX) < MIN_DRAG_PX) {
        player.seek(to);
        return;
      }
      player.mix.loopFrom.value = Math.min(from, to);
      player.mix.loopTo.value = Math.max(from, to);
      player.seek(Math.min(from, to));
    };
    addEventListener("pointerup", release, { once: true });
  };

  const { mix } = player;
  const share = (/** @type {number} */ seconds) => seconds / (player.durationS.value || 1);
  const loop = mix.hasLoop
    ? `--from: ${share(mix.loopFrom.value)}; --to: ${share(mix.loopTo.value)}`
    : null;
  return html`<ul class="lanes" ref=${root} onPointerDown=${press} style=${loop}>
    ${children}
    <li class="over" aria-hidden="true">
      ${loop && html`<span class="loop"></span>`}
      <span class="head"></span>
    </li>
  </ul>`;
}

/** @param {HTMLElement} root @param {import("../audio/stem_player.js").StemPlayer} player */
function show(root, player) {
  const position = player.positionS;
  root.style.setProperty("--at", String(position / (player.durationS.value || 1)));
  for (const meter of root.querySelectorAll("[data-meter]")) {
    const level = player.level(Number(/** @type {HTMLElement} */ (meter).dataset.meter));
    /** @type {HTMLElement} */ (meter).style.transform = `scaleX(${level.toFixed(3)})`;
  }
  const text = clock(position);
  for (const element of document.querySelectorAll("[data-clock]")) {
    if (element.textContent !== text) element.textContent = text;
  }
}
