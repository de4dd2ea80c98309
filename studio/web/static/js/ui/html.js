/** Templates: `html` makes elements of Preact from tagged template strings. */
import htm from "htm";
import { h } from "preact";

export const html = htm.bind(h);
