/** Requests to the server, and its errors. */
import { signal } from "@preact/signals";

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
    return new ApiError(status, "unknown", `The server answered ${status}.`, Number(retryAfter) || 0);
  }
}

/**
 * The response to a request; throws ApiError, with the code `offline` if there is no response.
 * @param {string} path
 * @param {RequestInit} [init]
 */
export async function request(path, init = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    isOffline.value = true;
    throw new ApiError(0, "offline", "The server cannot be reached.");
  }
  isOffline.value = answer.status === 502 || answer.status === 504;
  if (isOffline.value) throw new ApiError(answer.status, "offline", "The server cannot be reached.");
  if (answer.ok || answer.status === 304) return answer;
  const error = errorOf(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  if (error.status === 401) needsKey.value = true;
  throw error;
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
export async function json(path, init) {
  return (await request(path, init)).json();
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
