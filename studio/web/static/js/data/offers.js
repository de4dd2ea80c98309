/** What this server can do beyond the first version of its API, by its OpenAPI document. */
import { ApiError, json } from "./api.js";

/**
 * @typedef {object} Offers
 * @property {boolean} takesLyrics whether known lyrics can be put in time
 * @property {Set<string> | null} video query parameters of karaoke videos; null if there are none
 */

/** @type {Promise<Offers> | null} */
let asked = null;

/** @returns {Promise<Offers>} */
export function offers() {
  asked ??= json("/openapi.json").then(read, (error) => {
    if (!(error instanceof ApiError)) throw error;
    asked = null;
    return { takesLyrics: false, video: null };
  });
  return asked;
}

/** @param {any} document @returns {Offers} */
function read({ paths, components }) {
  const body = paths["/process/whisper/{file_id}"]?.post?.requestBody?.content?.["application/json"]?.schema;
  const options = components.schemas[body?.$ref?.split("/").at(-1)] ?? body;
  const video = paths["/download/{file_id}/karaoke.mp4"]?.get;
  /** @type {{ in: string, name: string }[]} */
  const parameters = video?.parameters ?? [];
  return {
    takesLyrics: options?.properties?.lyrics !== undefined,
    video: video ? new Set(parameters.filter((one) => one.in === "query").map((one) => one.name)) : null,
  };
}
