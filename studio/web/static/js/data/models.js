/** The models of the server and their variants, asked for once. */
import { jsonWhenFree } from "./api.js";

/**
 * @typedef {object} Variant
 * @property {string} name
 * @property {string} purpose
 * @property {"bundled" | "local" | "downloaded" | "available"} weights
 * @property {number | null} size_bytes
 * @property {string} licence
 * @property {boolean} [takes_melody]
 * @property {string[] | null} [words] all words that it knows; null if it knows any
 */

/** @typedef {{ default: string, variants: Variant[] }} Model */

/** @type {Promise<any> | null} */
let asked = null;

/** Throws ApiError. @param {string} name @returns {Promise<Model>} */
export async function modelOf(name) {
  asked ??= jsonWhenFree("/models");
  try {
    const model = (await asked).models[name];
    const variants = Object.entries(model.variants).map(([key, about]) => ({
      name: key,
      .../** @type {any} */ (about),
    }));
    return { default: model.default, variants };
  } catch (error) {
    asked = null;
    throw error;
  }
}
