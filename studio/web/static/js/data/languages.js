/** The languages of Whisper. */
import { language } from "../words.js";

const CODES = `af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht
  hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa
  sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh`.split(/\s+/);
/** Javanese has another code in browsers. */
const IN_BROWSERS = /** @type {Record<string, string>} */ ({ jw: "jv" });

/** Codes and names in the language of the page, by name. @returns {{ code: string, name: string }[]} */
export function languages() {
  const names = new Intl.DisplayNames(language.value, { type: "language" });
  return CODES.map((code) => ({ code, name: names.of(IN_BROWSERS[code] ?? code) ?? code })).sort((a, b) =>
    a.name.localeCompare(b.name, language.value),
  );
}
