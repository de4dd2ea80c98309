/** Asks for an API key, which the server turns into a session cookie. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, needsKey, request } from "../data/api.js";
import { returns } from "../data/connection.js";
import { reconnect } from "../data/jobs_socket.js";
import { wouldLose } from "../data/leaving.js";
import { resumeRefused, uploads } from "../data/uploads.js";
import { t } from "../words.js";
import { html } from "./html.js";

export function KeyDialog() {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [error, setError] = useState("");
  const isOpen = needsKey.value;

  useEffect(() => {
    if (isOpen) dialog.current?.showModal();
    else dialog.current?.close();
  }, [isOpen]);

  const enter = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const key = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("key");
    try {
      // Keys are ASCII without spaces, and headers cannot carry anything else.
      const sent = String(key).trim().replace(/[^!-~]/g, "?");
      const headers = { Authorization: `Bearer ${sent}` };
      await request("/session", { method: "POST", headers });
      signedIn();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      setError(problem.message);
    }
  };

  const closed = () => {
    needsKey.value = false;
    setError("");
  };
  return html`<dialog ref=${dialog} aria-labelledby="key-title" onClose=${closed}>
    <form onSubmit=${enter}>
      <h2 id="key-title">${t("key.title")}</h2>
      <p>${t("key.hint")}</p>
      <label>
        <span class="hidden-text">${t("key.title")}</span>
        <input type="password" name="key" required autocomplete="current-password" />
      </label>
      ${error && html`<p class="notice error" role="alert">${error}</p>`}
      <button class="primary">${t("key.enter")}</button>
    </form>
  </dialog>`;
}

/** Begin anew, as whoever the key belongs to, unless something would be lost. */
function signedIn() {
  if (uploads.value.length === 0 && !wouldLose()) {
    location.reload();
    return;
  }
  needsKey.value = false;
  reconnect();
  returns.value += 1;
  resumeRefused();
}
