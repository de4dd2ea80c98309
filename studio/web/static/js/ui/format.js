/** Numbers for people. */
import { language, named, t } from "../words.js";

/** @param {number} seconds as m:ss or h:mm:ss */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const minutes = h > 0 ? `${h}:${String(m).padStart(2, "0")}` : String(m);
  return `${minutes}:${String(s).padStart(2, "0")}`;
}

/** @param {number} seconds roughly, in words */
export function roughly(seconds) {
  if (seconds >= 90) return t("time.minutes", { count: Math.round(seconds / 60) });
  return t("time.seconds", { count: Math.max(1, Math.round(seconds)) });
}

/** @param {number} bytesPerS */
export function speed(bytesPerS) {
  const [unit, scale] = bytesPerS >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
  const digits = bytesPerS >= 1e6 ? 1 : 0;
  return `${number(bytesPerS / scale, digits)} ${unit}/s`;
}

/** A key such as `F# minor`, in the language of the page. @param {string} name */
export function musicalKey(name) {
  const [tonic = "", mode = ""] = name.split(" ");
  return `${chord(tonic)} ${named("mode", mode)}`;
}

/** A chord or tone such as `F#m` or `Bb`, with the signs of music. @param {string} name */
export function chord(name) {
  return name === "N" ? "–" : name.replace("#", "♯").replace(/^([A-G])b/, "$1♭");
}

/** @param {number} value @param {number} digits */
export function number(value, digits = 0) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language.value, options).format(value);
}

/** The name of a track. @param {string} name */
export const trackName = (name) => named("track", name);

/** @param {number} count */
export function bytes(count) {
  const [unit, scale] = count >= 1e9 ? ["GB", 1e9] : ["MB", 1e6];
  return `${number(count / scale, count >= 1e9 ? 1 : 0)} ${unit}`;
}
