/** A model of the server, for a page that needs it. */
import { useSignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../data/api.js";
import { returns } from "../data/connection.js";
import { modelOf } from "../data/models.js";

/**
 * The model, or null until the server has sent it; the variant that is chosen; and why there is no model.
 * @param {string} name
 */
export function useModel(name) {
  const [model, setModel] = useState(/** @type {import("../data/models.js").Model | null} */ (null));
  const [error, setError] = useState("");
  const variant = useSignal("");
  useEffect(() => {
    if (model !== null) return;
    modelOf(name).then(
      (found) => {
        variant.value = found.default;
        setModel(found);
        setError("");
      },
      (problem) => {
        if (!(problem instanceof ApiError)) throw problem;
        setError(problem.message);
      },
    );
  }, [name, returns.value]);
  return { model, variant, error };
}
