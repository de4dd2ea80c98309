/** Requests to the server, and its errors. */
import { signal } from "@preact/signals";
import { t } from "../words.js";

/** True while the server wants an API key. */
export const needsKey = signal(false);
/** True while the server cannot be reached. */
export const isOffline = signal(false);

/** An error that the server described; `message` is its sentence. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {number} retryAfterS
   */
  constructor(status, code, message, retryAfterS = 0) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request may succeed later. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * @param {number} status
 * @param {string} text the body
 * @param {string | null} retryAfter
 */
export function errorOf(status, text, retryAfter = null) {
  try {
    const problem = JSON.parse(text);
    return new ApiError(status, problem.code, problem.error, Number(retryAfter) || 0);
  } catch {
    return new ApiError(status, "unknown", t("answer.unknown", { status }), Number(retryAfter) || 0);
  }
}

/**
 * What the server sends; throws ApiError, with the code `offline`, if it cannot be reached or breaks off.
 * @template T
 * @param {Promise<T>} answer
 * @param {AbortSignal | null} [signal] of the request
 */
export async function received(answer, signal) {
  try {
    return await answer;
  } catch (error) {
    if (signal?.aborted) throw error;
    isOffline.value = true;
    throw new ApiError(0, "offline", t("answer.none"));
  }
}

/**
 * The response to a request; throws ApiError, with the code `offline` if there is no response.
 * @param {string} path
 * @param {RequestInit} [init]
 */
export async function request(path, init = {}) {
  const answer = await received(fetch(path, { credentials: "same-origin", ...init }), init.signal);
  isOffline.value = answer.status === 502 || answer.status === 504;
  if (isOffline.value) throw new ApiError(answer.status, "offline", t("answer.none"));
  if (answer.ok || answer.status === 304) return answer;
  const text = await received(answer.text(), init.signal);
  const error = errorOf(answer.status, text, answer.headers.get("Retry-After"));
  if (error.status === 401) needsKey.value = true;
  throw error;
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
export async function json(path, init) {
  const answer = await request(path, init);
  return received(answer.json(), init?.signal);
}

/**
 * As `json`, and once more if the server is busy.
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
export async function jsonWhenFree(path, init) {
  try {
    return await json(path, init);
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 429 && error.status !== 503)) throw error;
    const waitMs = 1000 * Math.max(1, error.retryAfterS);
    await new Promise((resolve) => {
      setTimeout(resolve, waitMs);
      init?.signal?.addEventListener("abort", resolve, { once: true });
    });
    return json(path, init);
  }
}

/**
 * @param {string} path
 * @param {unknown} body
 * @param {string} [method]
 */
export function send(path, body, method = "POST") {
  const headers = { "Content-Type": "application/json" };
  return json(path, { method, headers, body: JSON.stringify(body) });
}

/** Delete a file that nothing refers to. @param {string} id */
export function cleanUp(id) {
  void request(`/cleanup/${id}`, { method: "DELETE" }).catch(() => {});
}
